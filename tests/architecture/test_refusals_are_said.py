"""The running program is seen to refuse with each code of the catalogue: `tests/refusals.toml` names the test for each.

The quick tests hold the list against the catalogue and the tests. The long one shows that each of these tests looks at what the program says: it
fails when the program says another code.
"""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from lgsp.errors import catalogue

RUNNING = ("acceptance", "adapters", "attacks", "integration")
"""Folders of tests that run the program, and not a part of it."""
OUTCOMES = {"withdrawn", "log_rolled_back", "body_erased"}
"""Codes whose tests see them told as what became of an envelope; muting what is raised does not reach them."""
SECONDS = 1_500


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One row of the list."""

    code: str
    file: str
    test: str
    """The test's name, with its case where it has several."""

    @property
    def function(self) -> str:
        return self.test.partition("[")[0]

    @property
    def case(self) -> str:
        return f"{self.file}::{self.test}"


@pytest.fixture(scope="module")
def rows(root):
    listed = tomllib.loads((root / "tests/refusals.toml").read_text(encoding="utf-8"))
    return [Said(code=code, file=file, test=test) for file, tests in listed.items() for code, test in tests.items()]


def words_of(source: str, function: str) -> Iterator[ast.AST]:
    """Yield all that a test consists of, with the tables and functions of its module that it uses."""
    body = ast.parse(source).body
    made = {node.name: node for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    made |= {name: node for node in body for name in assigned(node)}
    used, waiting = set(), [function]
    while waiting:
        name = waiting.pop()
        if name in made and name not in used:
            used.add(name)
            found = list(ast.walk(made[name]))
            yield from found
            waiting += [node.id for node in found if isinstance(node, ast.Name)]


def assigned(node: ast.stmt) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def faults(said: Said, source: str) -> Iterator[str]:
    """Yield what is wrong with a row."""
    words = list(words_of(source, said.function))
    if not words:
        yield "there is no such test"
        return
    texts = [node.value for node in words if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    if not any(re.search(rf"\b{said.code}\b", text) for text in texts):
        yield "the test does not speak of the code"
    if any(makes(node, said.code) for node in words):
        yield "the test makes the refusal itself"


def makes(node: ast.AST, code: str) -> bool:
    """Tell whether this makes a refusal with the code."""
    if not isinstance(node, ast.Call) or not node.args or not isinstance(node.args[0], ast.Constant):
        return False
    return getattr(node.func, "id", "") in {"Refusal", "Unusable"} and node.args[0].value == code


def test_every_code_has_one_row_and_every_row_a_code(rows):
    assert sorted(said.code for said in rows) == sorted(catalogue())


def test_every_row_names_a_test_that_runs_the_program_and_speaks_of_the_code(rows, root):
    sources = {said.file: (root / said.file).read_text(encoding="utf-8") for said in rows}
    assert {file.split("/")[1] for file in sources} <= set(RUNNING)
    assert not [f"{said.code}: {fault}" for said in rows for fault in faults(said, sources[said.file])]


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("def test_b(): assert answer().code == 'route'", "there is no such test"),
        ("def test_a(): assert answer().code == 'router'", "the test does not speak of the code"),
        ("TABLE = ['route']\ndef test_a(): pass", "the test does not speak of the code"),
        ("def test_a(): answer(Refusal('route'))", "the test makes the refusal itself"),
        ("def made(): return Unusable('route', 'x')\ndef test_a(): made()", "the test makes the refusal itself"),
        ("def test_a(): assert answer().code == 'route'", None),
        ("ROWS = TABLE = ['[route] no']\n@mark(ROWS)\nasync def test_a(row): assert answer().code == row", None),
    ],
)
def test_a_row_that_shows_nothing_is_found(source, fault):
    said = Said(code="route", file="tests/integration/test_x.py", test="test_a[case]")
    assert list(faults(said, source)) == ([fault] if fault else [])


@pytest.mark.long
@pytest.mark.timeout(3 * SECONDS)
def test_each_of_these_tests_fails_when_the_program_says_another_code(rows, root, tmp_path):
    left = [said for said in rows if said.code not in OUTCOMES]
    ended: dict[str, str] = {}
    while left:
        turn = {said.case: said.code for said in left}  # of those that share a test one at a time
        left = [said for said in left if turn[said.case] != said.code]
        ended |= {turn[case]: how for case, how in run_muted(turn, root, tmp_path).items()}
    assert len(ended) == len(rows) - len(OUTCOMES)
    assert {code: how for code, how in ended.items() if how != "failed in call"} == {}


def run_muted(turn: dict[str, str], root, tmp_path) -> dict[str, str]:
    """Run each test while the program cannot say its code; return how each ended."""
    listed = tmp_path / "rows.json"
    listed.write_text(json.dumps(turn), encoding="utf-8")
    muting = {"PYTHONPATH": str(root / "tests/architecture/muted"), "MUTED_ROWS": str(listed)}
    command = [sys.executable, "-m", "pytest", "-p", "muted_rows", "-q", "-n", "0", "--tb=no", *turn]
    subprocess.run(command, cwd=root, env=os.environ | muting, check=False, capture_output=True, timeout=SECONDS)
    return json.loads(listed.read_text(encoding="utf-8"))
