"""`lgsp demo`: the main job, on the embedded default or on the engines of a larger bus, from nothing to a verified log."""

from __future__ import annotations

import asyncio
import json
import signal
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer
import uvloop
from rich.console import Console

from lgsp.cli.demo.engines import engines_of
from lgsp.cli.demo.screen import Stage, as_json
from lgsp.cli.demo.story import Outcome, Plan, clear, lookups_beside, tell
from lgsp.cli.voice import voice_of
from lgsp.errors import Ending

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def demo(
    context: typer.Context,
    data: Annotated[
        Path | None, typer.Option(envvar="LGSP_DATA", metavar="DIR", help="Keep the files there | giữ lại các tệp")
    ] = None,
    vessels: Annotated[
        int, typer.Option(envvar="LGSP_DEMO_VESSELS", min=1, max=50_000, help="Vessels | số tàu cá")
    ] = 10_026,
    seed: Annotated[
        int, typer.Option(envvar="LGSP_DEMO_SEED", help="Seed of the made-up data | hạt giống dữ liệu")
    ] = 20_261_122,
    lookups: Annotated[
        int | None,
        typer.Option(
            envvar="LGSP_DEMO_LOOKUPS",
            min=4,
            max=10_000,
            help="Applicants looked up, a quarter of them before the sync; by the vessels when not given | "
            "lượt tra cứu của một cửa; tính theo số tàu khi không nêu",
        ),
    ] = None,
    engines: Annotated[
        str,
        typer.Option(
            envvar="LGSP_DEMO_ENGINES",
            metavar="NAMES",
            help="What runs beside the gateway: embedded (nothing), rabbitmq, or postgresql (and rabbitmq) | "
            "chạy cùng cổng: embedded (không gì), rabbitmq, hoặc postgresql (và rabbitmq)",
        ),
    ] = "embedded",
    *,
    serve: Annotated[bool, typer.Option("--serve", help="Stay up afterwards | giữ hệ thống chạy")] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="One JSON object instead of tables | kết quả dạng JSON")
    ] = False,
) -> None:
    """Run the whole story on made-up data and verify its log | chạy trọn câu chuyện mẫu và kiểm chứng nhật ký."""
    voice = voice_of(context)
    chosen = engines_of(engines)
    stage = Stage(language=voice.language)
    kept = data is not None
    root = data or Path(tempfile.mkdtemp(prefix="lgsp-demo-"))
    plan = Plan(
        data=root if kept else root / "data",
        vessels=vessels,
        seed=seed,
        lookups=lookups_beside(vessels) if lookups is None else lookups,
        language=voice.language,
        engines=chosen,
        kept=kept,
    )
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            outcome = runner.run(_run(plan, stage, serve=serve))
    except asyncio.CancelledError:
        voice.tell("interrupted: every program is stopped", "đã ngắt: mọi chương trình đã dừng")
        raise typer.Exit(Ending.INTERRUPTED) from None
    finally:
        if not kept:
            clear(root)
    if json_output:
        voice.give(json.dumps(as_json(outcome), ensure_ascii=False))
    else:
        stage.present(outcome, Console())
    if not outcome.sound:
        raise typer.Exit(Ending.NOT_DONE)


async def _run(plan: Plan, stage: Stage, *, serve: bool) -> Outcome:
    """Tell the story; a signal calls it off, or ends the staying up."""
    telling = asyncio.current_task()
    assert telling is not None
    interruption = Interruption(act=telling.cancel)
    for number in SIGNALS:
        if number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
            continue  # started by nohup: it is to outlive its terminal
        asyncio.get_running_loop().add_signal_handler(number, interruption.arrive)
    with stage.lit():
        return await tell(plan, stage, stay=interruption.wait if serve else None)


@dataclass(slots=True, kw_only=True)
class Interruption:
    """What a signal does: while somebody waits for it, it ends the waiting; else it calls the telling off, once.

    A second one changes nothing: it would break off the stopping of the programs and leave some behind.
    """

    act: Callable[[], object]
    _awaited: asyncio.Event | None = None
    _is_over: bool = False

    def arrive(self) -> None:
        """Take a signal."""
        if self._awaited is not None:
            self._awaited.set()
        elif not self._is_over:
            self._is_over = True
            self.act()

    async def wait(self) -> None:
        """Wait for a signal; those that follow change nothing: what is left to do takes a moment."""
        self._awaited = asyncio.Event()
        await self._awaited.wait()
