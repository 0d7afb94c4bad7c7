"""`lgsp adapter`: run a department's adapter, a process of its own."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final

import typer
import uvloop

from lgsp import logs
from lgsp.cli.options import System
from lgsp.errors import Unusable
from lgsp.machine import spare_collector
from lgsp.sdk.runner import run_adapter

MANIFEST: Final = "adapter.toml"

commands = typer.Typer(
    no_args_is_help=True, help="Adapters of departments' systems | bộ chuyển hệ thống của các cơ quan"
)


@commands.callback()
def group() -> None:
    """Adapters of departments' systems | bộ chuyển hệ thống của các cơ quan."""


@commands.command()
def run(
    adapter: Annotated[
        str,
        typer.Argument(
            metavar="NAME|DIR",
            help="An adapter that ships with the project, or a folder with adapter.toml | tên hoặc thư mục",
        ),
    ],
    system: System,
) -> None:
    """Run an adapter until it is told to stop | chạy bộ chuyển cho đến khi được yêu cầu dừng."""
    manifest = find_manifest(adapter)
    logs.configure()
    spare_collector()
    uvloop.run(run_adapter(manifest, system))


def find_manifest(adapter: str) -> Path:
    """Return the manifest of an adapter given by folder or by name; refuse (`adapter_invalid`) what has none."""
    for folder in (Path(adapter), *_shipped(adapter)):
        if (folder / MANIFEST).is_file():
            return folder / MANIFEST
    raise Unusable(
        "adapter_invalid", f"{adapter}: neither a folder with {MANIFEST} nor one of {', '.join(shipped_names())}"
    )


def _shipped(adapter: str) -> list[Path]:
    name = adapter.replace("-", "_")
    return [root / name for root in _roots() if name.isidentifier()]


def shipped_names() -> list[str]:
    """Return the names of the adapters that ship with the project."""
    return sorted(path.parent.name for root in _roots() for path in root.glob(f"*/{MANIFEST}"))


def _roots() -> list[Path]:
    spec = find_spec("adapters")
    return [] if spec is None else [Path(place) for place in spec.submodule_search_locations or ()]
