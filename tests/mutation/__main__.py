"""`.venv/bin/python -m tests.mutation policy`: one trial, its figures, and its survivors in the form of `survivors.toml`."""

import json
import sys
import tempfile
from pathlib import Path

from tests.mutation.trial import TESTS, put_to_trial


def main(module: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        verdicts = put_to_trial(module, Path(folder))
    sys.stdout.write(f"{verdicts.counts}\n")
    for each in verdicts.survivors:
        texts = {"function": each.function, "before": each.before, "after": each.after, "reason": ""}
        lines = [f"[[{module}]]", *(f"{name} = {json.dumps(text)}" for name, text in texts.items())]
        sys.stdout.write("\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    if sys.argv[1:] and set(sys.argv[1:]) <= TESTS.keys():
        for module in sys.argv[1:]:
            main(module)
    else:
        sys.exit(f"{__doc__}\nmodules: {', '.join(TESTS)}")
