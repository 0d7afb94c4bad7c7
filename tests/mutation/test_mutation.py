"""Who decides what is let in is checked by tests that notice each change of it: what they do not notice is listed, with the reason."""

import ast
import tomllib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.mutation.trial import MINUTES, ROOT, TESTS, Mutant, laid_open, put_to_trial

LISTED = tomllib.loads(Path(__file__).with_name("survivors.toml").read_text(encoding="utf-8"))


def listed(module: str) -> list[Mutant]:
    return [
        Mutant(function=each["function"], before=each["before"], after=each["after"]) for each in LISTED.get(module, [])
    ]


def differences(found: Iterable[Mutant], expected: Iterable[Mutant]) -> str:
    """Return what was found and is not expected, and what is expected and was not found, as one reads changes."""
    survived, known = Counter(found), Counter(expected)
    parts = ("no test notices", survived - known), ("listed, but noticed or gone: strike it", known - survived)
    return "\n\n".join(f"{what}: {written(each)}" for what, mutants in parts for each in sorted(mutants.elements()))


def written(mutant: Mutant) -> str:
    lines = [f"- {line}" for line in mutant.before.splitlines()] + [f"+ {line}" for line in mutant.after.splitlines()]
    return "\n".join([mutant.function, *lines])


@pytest.mark.long
@pytest.mark.timeout(MINUTES * 60 + 60)
@pytest.mark.parametrize("module", TESTS)
def test_the_mutants_that_no_test_notices_are_those_that_are_listed(module, tmp_path):
    verdicts = put_to_trial(module, tmp_path)
    found = differences(verdicts.survivors, listed(module))
    assert not found, f"{module}: {verdicts.counts}\n\n{found}"
    # Were another copy than the changed one imported, all would survive.
    assert verdicts.counts["killed"] > 9 * len(verdicts.survivors)


def test_a_survivor_that_is_not_listed_is_shown_as_a_change_and_so_is_one_that_is_listed_in_vain():
    one, other = (Mutant(function="verify", before="if not held:", after=after) for after in ("if held:", "if True:"))
    assert differences([one, one], [one, one]) == ""
    assert differences([one], []) == "no test notices: verify\n- if not held:\n+ if held:"
    assert differences([one], [one, other]).splitlines()[0] == "listed, but noticed or gone: strike it: verify"
    assert differences([one, one], [one]).startswith("no test notices: verify")


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
