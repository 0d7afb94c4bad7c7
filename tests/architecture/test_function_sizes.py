"""Functions and modules stay small enough to be read in one go."""

import ast

LONGEST_FUNCTION = 60
LONG_FUNCTION = 40
SHARE_OF_LONG_FUNCTIONS = 0.05
LONGEST_MODULE = 500

FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)


def body_lines(function):
    """Lines from the first statement to the last; a docstring is free."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def function_sizes(modules):
    return {
        f"{module.path}:{node.lineno} {node.name}": body_lines(node)
        for module in modules
        for node in ast.walk(module.tree)
        if isinstance(node, FUNCTION)
    }


def test_no_function_is_longer_than_sixty_lines(modules):
    assert {name: size for name, size in function_sizes(modules).items() if size > LONGEST_FUNCTION} == {}


def test_at_most_one_function_in_twenty_is_longer_than_forty_lines(modules):
    sizes = function_sizes(modules)
    long = {name: size for name, size in sizes.items() if size > LONG_FUNCTION}
    assert len(long) <= SHARE_OF_LONG_FUNCTIONS * len(sizes), long


def test_no_module_is_longer_than_five_hundred_lines(modules):
    assert {module.path: module.lines for module in modules if module.lines > LONGEST_MODULE} == {}


def test_lines_are_counted_without_the_docstring():
    tree = ast.parse('def f(\n    x,\n):\n    """One.\n\n    Two.\n    """\n    y = x\n\n    return y\n')
    assert body_lines(tree.body[0]) == 3
    assert body_lines(ast.parse('def f():\n    """Only words."""\n').body[0]) == 0
