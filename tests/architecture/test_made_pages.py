"""Pages that are made from the program are up to date, in both languages: refusals are the catalogue's, limits the program's own."""

import importlib.util
import re

import pytest

from lgsp.domain.limits import Limits
from lgsp.errors import catalogue
from lgsp.http.settings import HttpLimits

LANGUAGES = pytest.mark.parametrize("language", ["en", "vi"])


@pytest.fixture(scope="module")
def makers(root):
    """The programs that make the pages, by what the pages are of."""
    return {name: loaded(root / f".ci/{name}.py") for name in ("refusals", "limits")}


def loaded(path):
    spec = importlib.util.spec_from_file_location(f"{path.stem}_page", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows_of(maker, language):
    """The rows of a page's tables, each as its cells."""
    rows = [line for line in maker.page(language).splitlines() if line.startswith("| `")]
    return [re.split(r" \| ", row.removeprefix("| ").removesuffix(" |")) for row in rows]


@LANGUAGES
@pytest.mark.parametrize("name", ["refusals", "limits"])
def test_a_page_is_up_to_date(makers, root, name, language):
    kept = (root / makers[name].PAGES[language]).read_text(encoding="utf-8")
    assert kept == makers[name].page(language), "run `make docs`"


@LANGUAGES
def test_every_code_has_one_row_of_six_cells(makers, language):
    rows = rows_of(makers["refusals"], language)
    assert [row[0].strip("`") for row in rows] == list(catalogue())
    assert {len(row) for row in rows} == {6}


@LANGUAGES
def test_every_limit_has_one_row_of_four_cells(makers, language):
    rows = rows_of(makers["limits"], language)
    names = [row[0].strip("`") for row in rows]
    fields = [*Limits.__dataclass_fields__, *HttpLimits.__dataclass_fields__]
    assert names[: len(fields)] == fields
    assert len(names) == len(set(names))
    assert {len(row) for row in rows} == {4}


@LANGUAGES
def test_no_words_are_left_over_and_each_code_is_one(makers, language):
    maker = makers["limits"]
    parts = maker.words()["part"]
    assert all({figure.name for figure in maker.figures(part)} == set(part["row"]) for part in parts)
    codes = {code for row in maker.page(language).splitlines() for code in re.findall(r"`([a-z]+_[a-z_]+)`", row)}
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
