"""`lgsp evidence verify`: check a bundle with the bus's public keys alone, say each check in plain words, and write the page for the file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lgsp.cli.evidence import words
from lgsp.cli.evidence.reasons import reason
from lgsp.cli.evidence.report import Checked, page
from lgsp.cli.files import read_bytes, write_text
from lgsp.cli.options import DEFAULT_TRUST, TrustFile
from lgsp.cli.voice import Voice, voice_of
from lgsp.datafolder import read_trust
from lgsp.domain import evidence_checks, jws
from lgsp.domain.evidence import BUNDLE_MAX
from lgsp.domain.evidence_checks import Pins, Verdict
from lgsp.errors import Ending, Unusable
from lgsp.machine import SystemClock

commands = typer.Typer(no_args_is_help=True, help="Check evidence | kiểm tra bộ chứng cứ")


@commands.callback()
def _evidence() -> None:
    """Check evidence without bus, database or network | kiểm tra bộ chứng cứ, không cần trục hay mạng."""


@commands.command()
def verify(
    context: typer.Context,
    bundle: Annotated[Path, typer.Argument(metavar="FILE", help="What lgsp audit prove wrote | tệp bộ chứng cứ")],
    trust: TrustFile = DEFAULT_TRUST,
    report: Annotated[
        Path | None,
        typer.Option(
            envvar="LGSP_REPORT", metavar="FILE", help="Write a page to print, HTML | ghi trang báo cáo để in, HTML"
        ),
    ] = None,
) -> None:
    """Check a bundle of evidence; exit code 3 at the first check that fails | kiểm tra một bộ chứng cứ."""
    voice = voice_of(context)
    pinned = read_trust(trust)
    data = read_bytes(bundle, most=BUNDLE_MAX)
    pins = Pins(bus=pinned.bus, registrar=pinned.registrar, log=pinned.log, witnesses=pinned.witnesses)
    verdict = evidence_checks.verify(data, pins)
    _tell(voice, verdict)
    if report is not None:
        checked = Checked(file=bundle.name, hash=jws.hash_of(data), at=SystemClock().now())
        write_text(report, page(verdict, checked, voice.language))
        voice.tell(f"wrote {report}", f"đã ghi {report}")
    if verdict.failure is not None:
        failure = verdict.failure
        where = words.title(failure.name, failure.part, voice.language)
        raise Unusable("evidence_invalid", f"{where}: {reason(failure.words, voice.language)}", exit_code=Ending.BROKEN)


def _tell(voice: Voice, verdict: Verdict) -> None:
    for check in verdict.checks:
        voice.give(f"✓ {words.title(check.name, check.part, voice.language)}: {words.said(check, voice.language)}")
    if verdict.failure is not None:
        failure = verdict.failure
        where = words.title(failure.name, failure.part, voice.language)
        voice.give(f"✗ {where}: {reason(failure.words, voice.language)}")
    else:
        voice.give(voice.choose("every check holds", "mọi bước kiểm tra đều đạt"))
