"""What `make coverage` makes of the figures: the sums of each part, and when they are too little."""

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def judge():
    spec = importlib.util.spec_from_file_location("coverage_parts", ROOT / ".ci/coverage_parts.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def summary(*, statements=(10, 10), branches=(4, 4)):
    """Figures of one file as coverage writes them, each as (run, there)."""
    return {
        "summary": {
            "covered_lines": statements[0],
            "num_statements": statements[1],
            "covered_branches": branches[0],
            "num_branches": branches[1],
        }
    }


def whole(judge, **changed):
    """A report in which every part has one file, run to the last branch; `changed` gives other figures of a part."""
    return {"files": {f"{part}/file.py": changed.get(part.replace("/", "_"), summary()) for part in judge.BOUNDS}}


def short(judge, report):
    return [part for part, figures in judge.by_part(report).items() if judge.falls_short(part, figures)]


def run(judge, report, folder):
    path = folder / "report.json"
    path.write_text(json.dumps(report))
    return judge.main(str(path))


def test_a_report_in_which_every_part_is_whole_passes(judge, tmp_path, capsys):
    assert run(judge, whole(judge), tmp_path) == 0
    assert "too little" not in capsys.readouterr().out


def test_a_part_below_its_bound_fails_and_is_marked(judge, tmp_path, capsys):
    assert run(judge, whole(judge, lgsp_bus=summary(statements=(80, 100), branches=(20, 20))), tmp_path) == 1
    marked = [line for line in capsys.readouterr().out.splitlines() if "too little" in line]
    assert [line.split()[:5] for line in marked] == [["lgsp/bus", "80/100", "20/20", "83.3%", "90%"]]


@pytest.mark.parametrize("part", ["lgsp/domain", "lgsp/sdk"])
@pytest.mark.parametrize("missing", [{"statements": (99_999, 100_000)}, {"branches": (99_999, 100_000)}])
def test_one_statement_or_branch_in_many_is_missed_where_all_are_asked_for(judge, part, missing):
    assert short(judge, whole(judge, **{part.replace("/", "_"): summary(**missing)})) == [part]


def test_ninety_per_cent_of_statements_and_branches_together_are_enough_and_a_little_less_is_not(judge):
    just = summary(statements=(850, 950), branches=(50, 50))
    below = summary(statements=(850, 950), branches=(49, 50))
    assert short(judge, whole(judge, lgsp_cli=just)) == []
    assert short(judge, whole(judge, lgsp_cli=below)) == ["lgsp/cli"]


def test_a_part_of_which_nothing_was_measured_fails(judge):
    report = whole(judge)
    del report["files"]["adapters/file.py"]
    assert short(judge, report) == ["adapters"]


def test_a_file_counts_for_the_narrowest_part_that_holds_it(judge):
    assert judge.part_of("lgsp/domain/policy.py") == "lgsp/domain"
    assert judge.part_of("lgsp/cli/audit/search.py") == "lgsp/cli"
    assert judge.part_of("lgsp/config.py") == "lgsp"
    with pytest.raises(ValueError, match="empty"):
        judge.part_of("tests/unit/test_policy.py")


def test_every_package_of_the_product_is_a_part(judge):
    packages = {path.parent.relative_to(ROOT).as_posix() for path in (ROOT / "lgsp").glob("*/__init__.py")}
    assert packages <= judge.BOUNDS.keys()
