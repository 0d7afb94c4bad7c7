"""The pages of limits are what the program has, in both languages, and no cache of it goes without a bound."""

import importlib.util
import re

import pytest

from lgsp.domain.limits import Limits
from lgsp.errors import catalogue
from lgsp.http.settings import HttpLimits


@pytest.fixture(scope="module")
def generator(root):
    spec = importlib.util.spec_from_file_location("limit_pages", root / ".ci/limits.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("language", ["en", "vi"])
def test_the_page_of_limits_is_up_to_date(generator, root, language):
    kept = (root / generator.PAGES[language]).read_text(encoding="utf-8")
    assert kept == generator.page(language), "run `make docs`"


@pytest.mark.parametrize("language", ["en", "vi"])
def test_every_limit_has_one_row_of_four_cells(generator, language):
    rows = [line for line in generator.page(language).splitlines() if line.startswith("| `")]
    names = [re.match(r"\| `([\w.:]+)` \|", row)[1] for row in rows]
    fields = [*Limits.__dataclass_fields__, *HttpLimits.__dataclass_fields__]
    assert names[: len(fields)] == fields
    assert len(names) == len(set(names))
    assert {len(re.split(r" \| | \|$", row[2:])) for row in rows} == {5}


@pytest.mark.parametrize("language", ["en", "vi"])
def test_no_words_are_left_over_and_each_code_is_one(generator, language):
    parts = generator.words()["part"]
    assert all({figure.name for figure in generator.figures(part)} == set(part["row"]) for part in parts)
    codes = {code for row in generator.page(language).splitlines() for code in re.findall(r"`([a-z]+_[a-z_]+)`", row)}
    ends = {"slow_reader", "too_many_inflight"}
    settings = {*Limits.__dataclass_fields__, *HttpLimits.__dataclass_fields__, "quota_per_day", "stop_after"}
    assert codes - ends - settings <= catalogue().keys()


def test_nothing_is_remembered_without_an_end(project_files):
    """A cache that is asked with what others send is given a size; one without arguments holds one thing."""
    unbounded = []
    for path, text in project_files.items():
        if path.startswith("lgsp/") and path.endswith(".py") and not path.startswith("lgsp/testing/"):
            for found in re.finditer(
                r"@(?:functools\.)?(?:cache|lru_cache)(?P<size>\(.*\))?\n+def \w+\((?P<taken>[^)]*)\)", text
            ):
                bounded = found["size"] is not None and re.search(r"maxsize=(?!None)\w", found["size"])
                if found["taken"].strip() and not bounded:
                    unbounded.append(f"{path}: {found[0]}")
    assert not unbounded
