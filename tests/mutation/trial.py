"""One trial of a module of the domain: each of its mutants against the tests that concern it, in a copy of the project.

A mutant is the module with one thing changed: `<` to `<=`, `and` to `or`, an argument to None, the letters of a text. mutmut makes and runs them.
What a survivor means is left to `survivors.toml`, what is asked of a trial to `test_mutation`.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = {
    "policy": ("unit/test_policy.py", "unit/test_replies.py"),
    "admission": ("unit/test_admission.py", "unit/test_replies.py"),
    "jws": ("unit/test_jws.py", "unit/test_admission.py"),
    "merkle": ("unit/test_merkle.py", "property/test_merkle_properties.py"),
}
"""By module of `lgsp.domain`. The tests of a function are those that call it; a module has few files, so that a survivor costs seconds."""
PROCESSES = os.environ.get("LGSP_MUTATION_PROCESSES", str(os.cpu_count() or 1))
MINUTES = 30
"""For one module; on two cores it takes a few."""

SETTINGS = """
[tool.mutmut]
source_paths = ["lgsp"]
only_mutate = ["lgsp/domain/{module}.py"]
also_copy = ["schemas", "keys"]
pytest_add_cli_args = ["-p", "no:cacheprovider", "--timeout", "10", "--timeout-method", "thread"] # a loop without end ends its process
pytest_add_cli_args_test_selection = {tests}
timeout_multiplier = 10.0 # times what its tests take, should that loop not let another thread run
timeout_constant = 5.0
use_git_change_detection = false
"""
CONFTEST = """
import resource

from hypothesis import settings

# A verdict is to be the same in every run, and on a slow machine too; a mutant that never stops collecting is to run out of memory alone.
settings.register_profile("mutation", derandomize=True, database=None, deadline=None)
settings.load_profile("mutation")
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
"""
NOTICED = {"killed", "timeout", "segfault"}
"""mutmut's words for a test that failed, a loop without end, a process that died; every other word is looked into."""
KEY = re.compile(r" *(?P<key>lgsp\S+?\.x(?:_|ǁ)(?P<name>\S+)__mutmut_\d+): (?P<status>[a-z ]+)")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Mutant:
    """A change of one function: its lines before and after, without indentation."""

    function: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """What became of the mutants of one module: how many there are by mutmut's word for it, and those that no test noticed."""

    counts: dict[str, int]
    survivors: tuple[Mutant, ...]


def put_to_trial(module: str, folder: Path) -> Verdicts:
    """Copy what is needed into an empty folder, change the copy, run its tests on each mutant, and return what became of them."""
    _copy(module, folder)
    _mutmut(folder, "run", "--max-children", PROCESSES)
    counts: dict[str, int] = {}
    survivors = []
    for found in map(KEY.fullmatch, _mutmut(folder, "results", "--all", "true").splitlines()):
        assert found is not None
        counts[found["status"]] = counts.get(found["status"], 0) + 1
        if found["status"] not in NOTICED:
            survivors.append(_mutant(found["name"], _mutmut(folder, "show", found["key"])))
    return Verdicts(counts=counts, survivors=tuple(sorted(survivors)))


def _copy(module: str, folder: Path) -> None:
    for name in ("lgsp", "schemas", "keys"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in TESTS[module]:
        target = folder / "tests" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "tests" / name, target)
    (folder / "tests" / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    changed = folder / "lgsp" / "domain" / f"{module}.py"
    changed.write_text(laid_open(changed.read_text(encoding="utf-8")), encoding="utf-8")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    settings = SETTINGS.format(module=module, tests=[f"tests/{name}" for name in TESTS[module]])
    (folder / "pyproject.toml").write_text(project + settings, encoding="utf-8")


def laid_open(source: str) -> str:
    """Return a module whose properties and cached functions are plain ones, for mutmut leaves alone what is decorated.

    A property is made after its function is defined. A cache is left out: filled before a mutant is tried, it would hide it.
    """
    lines = source.splitlines(keepends=True)
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    for function in sorted(functions, key=lambda function: function.lineno, reverse=True):
        for decorator in function.decorator_list:
            kind = ast.unparse(decorator)
            if kind == "property":
                lines.insert(
                    function.end_lineno or 0,
                    f"{' ' * function.col_offset}{function.name} = property({function.name})\n",
                )
            elif not kind.startswith("lru_cache("):
                assert kind in {"classmethod", "staticmethod"}, f"{function.name} would not be changed: @{kind}"
                continue
            del lines[decorator.lineno - 1]
    return "".join(lines)


def _mutmut(folder: Path, *arguments: str) -> str:
    """Run a command of mutmut on the copy and return what it prints."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [str(Path(sys.executable).parent / "mutmut"), *arguments],
        cwd=folder,
        env=environment | {"PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        timeout=MINUTES * 60,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def _mutant(name: str, shown: str) -> Mutant:
    changes = [line for line in shown.splitlines() if line[:1] in {"-", "+"} and line[:3] not in {"---", "+++"}]
    before, after = ("\n".join(line[1:].strip() for line in changes if line[0] == sign) for sign in "-+")
    return Mutant(function=name.strip("ǁ").replace("ǁ", "."), before=before, after=after)
