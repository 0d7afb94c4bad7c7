"""From what was seen to `build/bench.json` and a table."""

from __future__ import annotations

from statistics import median
from typing import Any, Final

from rich.console import Console
from rich.table import Table

PARTS: Final = ("floor_embedded", "floor_production", "embedded", "production", "glue")
RATES: Final = (50, 300)
RATIOS: Final = {
    "embedded_to_floor": ("embedded", "floor_embedded"),
    "production_to_floor": ("production", "floor_production"),
    "production_to_glue": ("production", "glue"),
}
WIDTH: Final = 160
"""Columns where nobody tells how many there are."""
KEPT_UP: Final = 0.97
"""Share of the asked rate below which a paced run is said not to have kept up."""

Run = dict[str, Any]


def summary(runs: list[Run], machine: dict[str, Any], versions: dict[str, str]) -> dict[str, Any]:
    """Return all that is written: the parts that are compared, their ratios, every single run."""
    names = dict.fromkeys([*PARTS, *(run["part"] for run in runs)])
    parts = {name: _part([run for run in runs if run["part"] == name]) for name in names}
    return {
        **parts,
        **{ratio: _ratio(parts, *pair) for ratio, pair in RATIOS.items()},
        "machine": machine,
        "versions": versions,
        "runs": runs,
    }


def _part(runs: list[Run]) -> dict[str, Any] | None:
    """Return the figures of a part at its first kind and size; None when it was not measured."""
    if not runs:
        return None
    first = runs[0]
    same = [run for run in runs if (run["kind"], run["size"]) == (first["kind"], first["size"])]
    full = [run for run in same if run["load"] == "saturate"]
    paced = {run["rate"]: run for run in same if run["load"] == "pace"}
    rates = [run["exchanges_per_s"] for run in full]
    return {
        "exchanges_per_s": round(median(rates), 1),
        "exchanges_per_s_range": [round(min(rates), 1), round(max(rates), 1)],
        "cpu_us_per_exchange": round(median(run["cpu_us"][run["process"]] for run in full), 1),
        **{name: {str(rate): paced[rate].get(name) for rate in paced} for name in ("p50_ms", "p95_ms", "p99_ms")},
        "kept_up": {str(rate): _kept_up(run) for rate, run in paced.items()},
        "rss_mb": max(run["rss_mb"][run["process"]] for run in same),
    }


def _kept_up(run: Run) -> bool:
    """Tell whether as many ended in the window as were begun; one more or less is where the window happened to open."""
    return bool(run["exchanges"] + 1 >= KEPT_UP * run["rate"] * run["seconds"])


def _ratio(parts: dict[str, Any], one: str, other: str) -> float | None:
    """Return how many exchanges a second one part does for each of another's."""
    if parts[one] is None or parts[other] is None:
        return None
    return round(parts[one]["exchanges_per_s"] / parts[other]["exchanges_per_s"], 3)


def show(found: dict[str, Any], titles: dict[str, str]) -> None:
    """Print the parts and their ratios, then every kind of run."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    console.print(_machine_line(found))
    console.print(_parts_table(found, titles))
    console.print(_runs_table(found["runs"], titles))
    if found["lookups"]:
        console.print(_lookups_table(found["lookups"]))
    if found["log"]:
        console.print(_log_line(found["log"]))
    for ratio in RATIOS:
        value = found[ratio]
        console.print(f"{ratio}: {'not measured' if value is None else f'{value:.2f}'}")


def _machine_line(found: dict[str, Any]) -> str:
    machine, versions = found["machine"], found["versions"]
    hardware = f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB, {machine['kernel']}"
    return hardware + "; " + ", ".join(f"{name} {version}" for name, version in versions.items())


def _parts_table(found: dict[str, Any], titles: dict[str, str]) -> Table:
    table = Table(title="1 KB, one exchange: sent, receipted, delivered, acked by signature, settled; all durable")
    for column in ("part", "exchanges/s", "min-max", "CPU µs", "RSS MB"):
        table.add_column(column, justify="left" if column == "part" else "right")
    for rate in RATES:
        table.add_column(f"p50/p95/p99 ms at {rate}/s", justify="right")
    for name, title in titles.items():
        part = found.get(name)
        if part is not None:
            low, high = part["exchanges_per_s_range"]
            figures = [f"{part['exchanges_per_s']:.0f}", f"{low:.0f}-{high:.0f}"]
            figures += [f"{part['cpu_us_per_exchange']:.0f}", f"{part['rss_mb']:.0f}"]
            table.add_row(title, *figures, *(_latencies(part, str(rate)) for rate in RATES))
    return table


def _lookups_table(found: dict[str, Any]) -> Table:
    table = Table(title="Look-ups of one system, SQLite, on an idle bus and beside another system")
    for column in ("", "p50/p95/p99 ms", "p99 to idle", "of the other, /s"):
        table.add_column(column, justify="right" if column else "left")
    for name, seen in found.items():
        figures = " / ".join(f"{seen[each]:.1f}" for each in ("p50_ms", "p95_ms", "p99_ms"))
        others = f"{seen['others_per_s']:.0f}" if "others_per_s" in seen else ""
        table.add_row(name.replace("_", " "), figures, f"{seen['p99_to_idle']:.2f}", others)
    return table


def _log_line(found: dict[str, Any]) -> str:
    return (
        f"a log of {found['entries']} entries, SQLite: {found['verified_per_s']:.0f} entries a second in the check of all of it, "
        f"a proof in {found['proof_ms']:.2f} ms, a start's check in {found['start_ms']:.0f} ms, "
        f"{found['searched_per_s']:.0f} entries a second in a search without an index, {found['found_ms']:.1f} ms for those of one envelope, "
        f"{found['catalogued_per_s']:.0f} catalogued a second, "
        f"the uses of one person in {found['usages_ms']:.1f} ms"
    )


def _latencies(part: dict[str, Any], rate: str) -> str:
    values = [part[name].get(rate) for name in ("p50_ms", "p95_ms", "p99_ms")]
    if None in values:
        return "-"
    text = " / ".join(f"{value:.1f}" for value in values)
    return text if part["kept_up"][rate] else f"{text} (fell behind)"


def _runs_table(runs: list[Run], titles: dict[str, str]) -> Table:
    table = Table(title="Every run at full load: processor time in µs for each exchange")
    for column in ("part", "kind", "bytes", "exchanges/s"):
        table.add_column(column)
    processes = list(dict.fromkeys(name for run in runs for name in run["cpu_us"]))
    for name in processes:
        table.add_column(name, justify="right")
    for run in runs:
        if run["load"] == "saturate":
            shares = [f"{run['cpu_us'][name]:.0f}" if name in run["cpu_us"] else "" for name in processes]
            figures = [run["kind"], str(run["size"]), f"{run['exchanges_per_s']:.0f}"]
            table.add_row(titles[run["part"]], *figures, *shares)
    return table
