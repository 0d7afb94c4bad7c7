"""Who decides what is let in is checked by tests that notice each change of it: what they do not notice is listed, with the reason."""

import ast
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from tests.mutation.trial import MINUTES, ROOT, TESTS, Mutant, laid_open, put_to_trial

LISTED = tomllib.loads(Path(__file__).with_name("survivors.toml").read_text(encoding="utf-8"))


def listed(module: str) -> list[Mutant]:
    return [
        Mutant(function=each["function"], before=each["before"], after=each["after"]) for each in LISTED.get(module, [])
    ]


def written(mutants: Counter[Mutant]) -> str:
    """Return mutants as one reads changes: where, what stood there, what was tried."""
    return "\n\n".join(
        f"in {each.function}:\n"
        + "\n".join(
            [f"- {line}" for line in each.before.splitlines()] + [f"+ {line}" for line in each.after.splitlines()]
        )
        for each in sorted(mutants.elements())
    )


@pytest.mark.long
@pytest.mark.timeout(MINUTES * 60 + 60)
@pytest.mark.parametrize("module", TESTS)
def test_the_mutants_that_no_test_notices_are_those_that_are_listed(module, tmp_path):
    verdicts = put_to_trial(module, tmp_path)
    found, expected = Counter(verdicts.survivors), Counter(listed(module))
    assert not found - expected, f"No test notices that {module} was changed\n\n{written(found - expected)}"
    assert not expected - found, f"Listed, but noticed or gone: strike from {module}\n\n{written(expected - found)}"
    # Were another copy than the changed one imported, all would survive.
    assert verdicts.counts["killed"] > 9 * len(verdicts.survivors)


@pytest.mark.parametrize("module", TESTS)
def test_what_is_listed_stands_in_its_module_and_has_a_reason(module):
    source = laid_open((ROOT / "lgsp" / "domain" / f"{module}.py").read_text(encoding="utf-8"))
    lines = [line.strip() for line in source.splitlines()]
    for each in listed(module):
        assert set(each.before.splitlines()) <= set(lines), each
    assert all(len(each["reason"].split()) > 3 for each in LISTED.get(module, []))


def test_only_modules_that_are_tried_are_listed():
    assert LISTED.keys() <= TESTS.keys()


@pytest.mark.parametrize("module", TESTS)
def test_no_function_is_spared_for_its_decorator(module):
    source = (ROOT / "lgsp" / "domain" / f"{module}.py").read_text(encoding="utf-8")
    before, after = ast.parse(source), ast.parse(laid_open(source))
    names = [[node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)] for tree in (before, after)]
    assert names[0] == names[1]
    kinds = {
        ast.unparse(each)
        for node in ast.walk(after)
        if isinstance(node, ast.FunctionDef)
        for each in node.decorator_list
    }
    assert kinds <= {"classmethod"}


def test_a_property_is_one_after_its_function_and_a_cache_is_left_out():
    source = (
        "class A:\n    @property\n    def b(self):\n        return 1\n\n@lru_cache(maxsize=2)\ndef c():\n    return 2\n"
    )
    opened = "class A:\n    def b(self):\n        return 1\n    b = property(b)\n\ndef c():\n    return 2\n"
    assert laid_open(source) == opened
