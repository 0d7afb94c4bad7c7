#!/usr/bin/env python
"""Says what each part of the product reaches of its statements and branches, and fails where that is too little: `make coverage`.

Reads the report that `coverage json` writes; measuring is left to `.ci/coverage`.
"""

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BOUNDS = {
    "lgsp/domain": 100,
    "lgsp/sdk": 100,
    "lgsp/ports": 90,
    "lgsp/bus": 90,
    "lgsp/http": 90,
    "lgsp/backends": 90,
    "lgsp/cli": 90,
    "lgsp/testing": 90,
    "lgsp": 90,
    "adapters": 90,
}
"""Per cent of statements and branches together that each part reaches at least; a file counts for the narrowest part that holds it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was run of a part, and what there is to run."""

    statements_run: int = 0
    statements: int = 0
    branches_run: int = 0
    branches: int = 0

    def plus(self, summary: Mapping[str, int]) -> "Figures":
        """Add one file, by its summary in the report."""
        return Figures(
            statements_run=self.statements_run + summary["covered_lines"],
            statements=self.statements + summary["num_statements"],
            branches_run=self.branches_run + summary["covered_branches"],
            branches=self.branches + summary["num_branches"],
        )

    @property
    def tenths(self) -> int:
        """Tenths of a per cent, rounded down: 1000 only where nothing is missing, 0 where nothing was measured."""
        there = self.statements + self.branches
        return 1000 * (self.statements_run + self.branches_run) // there if there else 0


def part_of(path: str) -> str:
    """Return the narrowest part that holds a file; raise `ValueError` for one outside the product."""
    return max((part for part in BOUNDS if path.startswith(f"{part}/")), key=len)


def by_part(report: Mapping[str, Any]) -> dict[str, Figures]:
    """Sum the report of coverage by part; a part of which it holds no file has reached nothing."""
    found = dict.fromkeys(BOUNDS, Figures())
    for path, file in report["files"].items():
        part = part_of(path)
        found[part] = found[part].plus(file["summary"])
    return found


def falls_short(part: str, figures: Figures) -> bool:
    """Tell whether a part stays below its bound."""
    return figures.tenths < 10 * BOUNDS[part]


def table(found: Mapping[str, Figures]) -> Iterable[str]:
    """Yield the lines of the table."""
    yield f"{'part':<16}{'statements':>16}{'branches':>16}{'reached':>10}{'bound':>8}"
    for part, figures in found.items():
        name = "rest of lgsp" if part == "lgsp" else part
        statements = f"{figures.statements_run}/{figures.statements}"
        branches = f"{figures.branches_run}/{figures.branches}"
        verdict = "  too little" if falls_short(part, figures) else ""
        yield f"{name:<16}{statements:>16}{branches:>16}{figures.tenths / 10:>9.1f}%{BOUNDS[part]:>7}%{verdict}"


def main(path: str) -> int:
    """Print the table; return 1 if a part falls short."""
    found = by_part(json.loads(Path(path).read_text(encoding="utf-8")))
    sys.stdout.writelines(f"{line}\n" for line in table(found))
    return int(any(falls_short(part, figures) for part, figures in found.items()))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
