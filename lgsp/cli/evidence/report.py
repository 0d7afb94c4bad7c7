"""One printable page on a bundle of evidence: who, what, when, under which grant, and each check. Plain HTML: no script, nothing fetched.

Of a bundle that does not hold the page tells the checks alone: what it states is nobody's word.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Any, Final

from lgsp.cli.evidence import words
from lgsp.cli.evidence.reasons import reason
from lgsp.domain import base64url, envelope, names
from lgsp.domain.directory import ZONE, Directory
from lgsp.domain.evidence_checks import Proven, ProvenPart, Verdict
from lgsp.errors import Language

STYLE: Final = """
@page { size: A4; margin: 16mm }
body { font: 10.5pt/1.45 "Noto Sans", "DejaVu Sans", Arial, sans-serif; color: #1a1a1a; max-width: 178mm; margin: 8mm auto; padding: 0 4mm }
h1 { font-size: 17pt; margin: 0 0 3mm } h2 { font-size: 12.5pt; margin: 7mm 0 2mm; border-bottom: 1px solid #888 }
h3 { font-size: 11pt; margin: 4mm 0 1.5mm }
p { margin: 1.5mm 0 } .verdict { padding: 2.5mm 4mm; border: 2px solid; font-weight: bold }
.sound { border-color: #1b6e3c; color: #14532d } .broken { border-color: #a11d1d; color: #7f1d1d }
table { width: 100%; border-collapse: collapse; page-break-inside: auto } tr { page-break-inside: avoid }
th, td { text-align: left; vertical-align: top; padding: 1mm 2mm; border-bottom: 1px solid #ccc; overflow-wrap: anywhere }
th { width: 32%; font-weight: 600 } thead th { width: auto; border-bottom: 1px solid #555 }
ol { padding-left: 7mm; margin: 1mm 0 } li { margin: 0.8mm 0; overflow-wrap: anywhere } li.broken { font-weight: bold }
.log th, .log td { width: auto } .log td:first-child, .log th:first-child { white-space: nowrap }
.fine { color: #444; font-size: 9pt; overflow-wrap: anywhere }
"""

Row = tuple[str, str]
"""What a line is about, and what it says; both are escaped where they are written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """Which file was checked, and when."""

    file: str
    hash: str
    at: datetime


def page(verdict: Verdict, checked: Checked, language: Language) -> str:
    """Return the whole page in one language."""
    writer = _Writer(language=language)
    parts = [writer.heading(verdict)]
    if verdict.proven is not None:
        parts += [writer.story(verdict.proven), writer.log(verdict.proven)]
    parts += [writer.checks(verdict), writer.meaning(verdict), writer.foot(verdict, checked)]
    title = escape(writer.choose("Evidence of an exchange", "Chứng cứ về một trao đổi"))
    return (
        f'<!DOCTYPE html>\n<html lang="{language}">\n<head>\n<meta charset="utf-8">\n'
        f"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{''.join(parts)}</body>\n</html>\n"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Writer:
    """Writes the parts of the page in one language."""

    language: Language

    def choose(self, en: str, vi: str) -> str:
        return words.chosen((en, vi), self.language)

    def heading(self, verdict: Verdict) -> str:
        title = self.choose(
            "Evidence of an exchange on the data-sharing bus", "Chứng cứ về một trao đổi qua trục chia sẻ dữ liệu"
        )
        if verdict.failure is None:
            result = self.choose("Every check holds.", "Mọi bước kiểm tra đều đạt.")
        else:
            where = words.title(verdict.failure.name, verdict.failure.part, self.language)
            result = self.choose(
                f"This file proves nothing: the check “{where}” does not hold.",
                f"Tệp này không chứng minh được gì: bước kiểm tra “{where}” không đạt.",
            )
        kind = "sound" if verdict.failure is None else "broken"
        return f'<h1>{escape(title)}</h1>\n<p class="verdict {kind}">{escape(result)}</p>\n'

    def story(self, proven: Proven) -> str:
        title = self.choose("Who, what, when, under which grant", "Ai, việc gì, lúc nào, theo quyền nào")
        parts = [f"<h2>{escape(title)}</h2>\n", self._part(proven.message, self.choose("Message", "Thông điệp"))]
        if proven.reply is not None:
            parts.append(self._part(proven.reply, self.choose("Reply", "Trả lời")))
        return "".join(parts)

    def _part(self, part: ProvenPart, title: str) -> str:
        return f"<h3>{escape(title)}</h3>\n{_table([*self._who(part), *self._what(part), *self._when(part)])}"

    def _who(self, part: ProvenPart) -> Iterable[Row]:
        manifest, held = part.manifest, part.directory
        yield self.choose("From", "Bên gửi"), self._named(held, manifest.source)
        if part.signer != manifest.source:
            yield self.choose("Signed on its behalf by", "Được ký thay bởi"), self._named(held, part.signer)
        yield self.choose("To", "Bên nhận"), self._named(held, manifest.audience)
        for ack in part.acks:
            end = self.choose("took it over", "đã nhận")
            if ack.outcome == "rejected":
                end = self.choose("rejected it", "từ chối nhận") + (f" ({ack.code})" if ack.code else "")
            yield (
                self.choose("Acknowledged by", "Xác nhận của"),
                f"{self._named(held, ack.to)}: {end}, {self._time(ack.at)}",
            )
        if officer := manifest.text("authid"):
            yield self.choose("Officer (pseudonym)", "Cán bộ (bí danh)"), officer

    def _what(self, part: ProvenPart) -> Iterable[Row]:
        manifest, service = part.manifest, part.service
        name = self._name(service.name, service.name_vi)
        yield self.choose("Message type", "Loại thông điệp"), f"{name} ({manifest.type})" if name else manifest.type
        stated = {
            "purpose": ("Purpose", "Mục đích"),
            "legalbasis": ("Legal basis", "Căn cứ pháp lý"),
            "procedure": ("Procedure", "Thủ tục"),
            "casefile": ("Case file", "Hồ sơ"),
        }
        for attribute, label in stated.items():
            if value := manifest.text(attribute):
                yield self.choose(*label), value
        if part.grant is not None:
            yield self.choose("Grant", "Quyền"), f"{part.grant.id}: {part.grant.basis}"
        else:
            yield (
                self.choose("Grant", "Quyền"),
                self.choose("the request that it answers", "theo yêu cầu mà nó trả lời"),
            )
        kept = (
            self.choose("not in the file", "không có trong tệp")
            if part.body is None
            else self.choose("in the file", "có trong tệp")
        )
        yield self.choose("Body", "Nội dung"), f"{manifest.body_size} bytes, {manifest.body_hash}, {kept}"

    def _when(self, part: ProvenPart) -> Iterable[Row]:
        happened = envelope.parse_time(part.manifest.text("time"))
        yield self.choose("Happened", "Sự việc lúc"), self._time(happened)
        yield self.choose("Signed", "Ký lúc"), self._time(part.manifest.recorded)
        where = self.choose(f"entry {part.index}", f"mục {part.index}")
        yield self.choose("Accepted", "Tiếp nhận lúc"), f"{self._time(part.accepted_at)}, {part.receipt.iss}, {where}"
        version = part.directory.version
        yield self.choose("Directory version", "Phiên bản danh bạ"), f"{version}, {self._time(part.directory.at)}"
        yield self.choose("Env hash", "Mã băm phong bì"), part.env

    def _named(self, held: Directory, urn: str) -> str:
        system, agency = held.systems.get(urn), held.agencies.get(names.agency_of(urn))
        own = self._name(system.name, system.name_vi) if system else ""
        of = self._name(agency.name, agency.name_vi) if agency else ""
        told = ", ".join(text for text in (own, of) if text)
        return f"{told} ({urn})" if told else urn

    def _name(self, en: str | None, vi: str | None) -> str:
        return self.choose(en or vi or "", vi or en or "")

    def _time(self, moment: datetime) -> str:
        here, utc = moment.astimezone(ZONE), moment.astimezone(UTC)
        zone = self.choose("Viet Nam time", "giờ Việt Nam")
        return f"{here:%d/%m/%Y %H:%M:%S} {zone} ({utc:%Y-%m-%dT%H:%M:%SZ})"

    def log(self, proven: Proven) -> str:
        title = self.choose("What the log says of it", "Nhật ký ghi về trao đổi này")
        head = (
            self.choose("Entry", "Mục"),
            self.choose("Time", "Thời điểm"),
            self.choose("Event", "Sự kiện"),
            self.choose("System", "Hệ thống"),
        )
        rows = "".join(_row(self._entry(entry, proven)) for entry in proven.entries)
        head_row = _row(head, cell="th")
        table = f'<table class="log">\n<thead>{head_row}</thead>\n<tbody>\n{rows}</tbody>\n</table>\n'
        return f"<h2>{escape(title)}</h2>\n{table}"

    def _entry(self, entry: Mapping[str, Any], proven: Proven) -> tuple[str, ...]:
        event = str(entry["ev"])
        told = words.chosen(words.EVENTS[event], self.language) if event in words.EVENTS else event
        is_reply = proven.reply is not None and entry["env"] == proven.reply.env
        of = words.chosen(words.PARTS["reply" if is_reply else "message"], self.language)
        code = f" ({entry['code']})" if "code" in entry else ""
        at = self._time(envelope.parse_time(str(entry["ts"])))
        return (
            str(entry["seq"]),
            at,
            f"{of}: {told}{code}",
            str(entry.get("to") or entry.get("src") or entry.get("by", "")),
        )

    def checks(self, verdict: Verdict) -> str:
        title = self.choose("Each check", "Từng bước kiểm tra")
        items = [
            f"<li>{escape(words.title(each.name, each.part, self.language))}: {escape(words.said(each, self.language))}</li>\n"
            for each in verdict.checks
        ]
        if verdict.failure is not None:
            failure = verdict.failure
            where = escape(words.title(failure.name, failure.part, self.language))
            failed, why = self.choose("FAILED", "KHÔNG ĐẠT"), escape(reason(failure.words, self.language))
            items.append(f'<li class="broken">{where}: {failed}: {why}</li>\n')
        return f"<h2>{escape(title)}</h2>\n<ol>\n{''.join(items)}</ol>\n"

    def meaning(self, verdict: Verdict) -> str:
        if verdict.failure is not None:
            return ""
        title = self.choose("What this means", "Ý nghĩa")
        text = self.choose(
            "These very envelopes were signed by the named keys, accepted under the named grant and entered in this log, which its key "
            "holder signed. It does not say that what a body states is true, nor that the log is the only one that was signed: for that, "
            "compare the checkpoint with one that somebody else has kept.",
            "Đúng các phong bì này đã được ký bằng các khóa nêu trên, được tiếp nhận theo quyền nêu trên và được ghi vào nhật ký có chữ ký của "
            "người giữ khóa nhật ký. Kết quả này không khẳng định điều ghi trong nội dung là đúng sự thật, cũng không khẳng định chỉ có một nhật ký "
            "được ký: muốn biết, hãy so điểm chốt với điểm chốt do bên khác lưu giữ.",
        )
        return f"<h2>{escape(title)}</h2>\n<p>{escape(text)}</p>\n"

    def foot(self, verdict: Verdict, checked: Checked) -> str:
        lines = [
            self.choose("File", "Tệp") + f": {checked.file}, {checked.hash}",
            self.choose("Checked", "Kiểm tra lúc") + f": {self._time(checked.at)}",
        ]
        if verdict.proven is not None:
            head = verdict.proven.checkpoint
            lines.append(
                self.choose("Checkpoint", "Điểm chốt") + f": {head.origin}, {head.size}, {base64url.encode(head.root)}"
            )
        return "".join(f'<p class="fine">{escape(line)}</p>\n' for line in lines)


def _table(rows: Iterable[Row]) -> str:
    lines = "".join(f"<tr><th>{escape(label)}</th><td>{escape(text)}</td></tr>\n" for label, text in rows)
    return f"<table>\n{lines}</table>\n"


def _row(cells: Iterable[str], *, cell: str = "td") -> str:
    return "<tr>" + "".join(f"<{cell}>{escape(text)}</{cell}>" for text in cells) + "</tr>\n"
