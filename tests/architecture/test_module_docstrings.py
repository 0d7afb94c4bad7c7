"""Every module says what it is for, every public name says what it does, and names tell what is inside."""

import ast
from pathlib import PurePath

import pytest

# Names that tell nothing about what is inside.
EMPTY_NAMES = {"util", "utils", "helper", "helpers", "common", "manager", "managers", "misc"}
# Described where they are declared first, or by the thing they belong to.
DESCRIBED_ELSEWHERE = {"overload", "override", "setter", "deleter"}


def decorator_name(node):
    target = node.func if isinstance(node, ast.Call) else node
    return target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")


def needs_docstring(node):
    return (
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith(("_", "test_"))
        and not DESCRIBED_ELSEWHERE & {decorator_name(decorator) for decorator in node.decorator_list}
    )


def undescribed(body, prefix=""):
    """Yield the public functions and classes that have no docstring, methods too."""
    for node in filter(needs_docstring, body):
        if ast.get_docstring(node) is None:
            yield prefix + node.name
        if isinstance(node, ast.ClassDef):
            yield from undescribed(node.body, f"{prefix}{node.name}.")


def test_every_module_says_what_it_is_for(modules):
    assert [module.path for module in modules if ast.get_docstring(module.tree) is None] == []


def test_every_public_function_and_class_says_what_it_does(modules):
    found = [
        f"{module.path} {name}"
        for module in modules
        if module.path.startswith("lgsp/")
        for name in undescribed(module.tree.body)
    ]
    assert found == []


def test_no_module_has_a_name_that_tells_nothing(modules):
    assert [module.path for module in modules if EMPTY_NAMES & set(PurePath(module.path).with_suffix("").parts)] == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("def f(): pass", ["f"]),
        ("async def f(): pass", ["f"]),
        ('class A:\n  "A thing."\n  def g(self): pass', ["A.g"]),
        ("def _f(): pass", []),
        ("class _A:\n  def g(self): pass", []),
        ("@overload\ndef f(): pass", []),
        ('class A:\n  "A thing."\n  @x.setter\n  def x(self): pass', []),
    ],
)
def test_the_search_finds_public_names_without_words(source, found):
    assert list(undescribed(ast.parse(source).body)) == found
