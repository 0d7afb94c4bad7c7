"""The pages of refusals are what the catalogue says, in both languages."""

import importlib.util
import re

import pytest

from lgsp.errors import catalogue


@pytest.fixture(scope="module")
def generator(root):
    spec = importlib.util.spec_from_file_location("refusal_pages", root / ".ci/refusals.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("language", ["en", "vi"])
def test_the_page_of_refusals_is_up_to_date(generator, root, language):
    kept = (root / generator.PAGES[language]).read_text(encoding="utf-8")
    assert kept == generator.page(language), "run `make docs`"


@pytest.mark.parametrize("language", ["en", "vi"])
def test_every_code_has_one_row_of_six_cells(generator, language):
    rows = [line for line in generator.page(language).splitlines() if line.startswith("| `")]
    assert [re.match(r"\| `(\w+)` \|", row)[1] for row in rows] == list(catalogue())
    assert {row.count(" | ") for row in rows} == {5}
