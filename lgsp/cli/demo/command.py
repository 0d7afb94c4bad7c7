"""`lgsp demo`: the main job on the embedded default, from nothing to a verified log."""

from __future__ import annotations

import asyncio
import json
import signal
import tempfile
from pathlib import Path
from typing import Annotated, Final

import typer
import uvloop
from rich.console import Console

from lgsp.cli.demo.screen import Stage, as_json
from lgsp.cli.demo.story import Outcome, Plan, clear, tell
from lgsp.cli.voice import voice_of

UNSOUND: Final = 1
"""What the command ends with when something was not as it had to be."""


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
    *,
    serve: Annotated[bool, typer.Option("--serve", help="Stay up afterwards | giữ hệ thống chạy")] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="One JSON object instead of tables | kết quả dạng JSON")
    ] = False,
) -> None:
    """Run the whole story on made-up data and verify its log | chạy trọn câu chuyện mẫu và kiểm chứng nhật ký."""
    voice = voice_of(context)
    stage = Stage(language=voice.language)
    kept = data is not None
    root = data or Path(tempfile.mkdtemp(prefix="lgsp-demo-"))
    plan = Plan(data=root if kept else root / "data", vessels=vessels, seed=seed, language=voice.language)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            outcome = runner.run(_run(plan, stage, serve=serve))
    finally:
        if not kept:
            clear(root)
    if json_output:
        voice.give(json.dumps(as_json(outcome), ensure_ascii=False))
    else:
        stage.present(outcome, Console())
    if not outcome.sound:
        raise typer.Exit(UNSOUND)


async def _run(plan: Plan, stage: Stage, *, serve: bool) -> Outcome:
    stay: asyncio.Event | None = None
    if serve:
        stay = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stay.set)
    with stage.lit():
        return await tell(plan, stage, stay=stay)
