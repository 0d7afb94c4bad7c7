"""Fuzz one target for a while, guided by coverage: `python -m tests.fuzz TARGET SECONDS`.

New finds are kept in `build/fuzz/TARGET` for the next run, beside the input of a failure; the corpus in the repository is only read.
"""

import sys
from pathlib import Path

import atheris

FOLDER = Path(__file__).parent
LARGEST = 4096
"""Bytes of an input."""

with atheris.instrument_imports(include=["lgsp"]):
    from tests.fuzz.targets import TARGETS


def main():
    name, seconds = sys.argv[1:]
    found = FOLDER.parents[1] / "build" / "fuzz" / name
    found.mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={LARGEST}",
        "-timeout=20",
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
        f"-artifact_prefix={found.parent}/{name}-",
    ]
    atheris.Setup([sys.argv[0], *options, str(found), str(FOLDER / "corpus" / name)], TARGETS[name])
    atheris.Fuzz()


main()
