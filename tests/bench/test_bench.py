"""The benchmark measures what it says: every exchange it counts went all its way. How fast is no matter here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("floor_embedded", "floor_production", "embedded", "glue")
"""`broker` and `production` are the same programs on other settings."""
# Servers and processes for each part, on a machine that has other things to do.
pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]
FIGURES = {"exchanges_per_s", "cpu_us_per_exchange", "p50_ms", "p95_ms", "p99_ms", "rss_mb"}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What a quick run writes."""
    out = tmp_path_factory.mktemp("bench") / "bench.json"
    command = [sys.executable, "-m", "tests.bench", "--quick", "--only", ",".join((*PARTS, "log")), "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=270, check=False)
    assert done.returncode == 0, done.stderr
    assert "embedded_to_floor" in done.stdout
    return json.loads(out.read_text(encoding="utf-8"))


@pytest.mark.parametrize("part", PARTS)
def test_each_part_has_every_figure(part, found):
    assert found[part].keys() >= FIGURES
    assert all(found[part][name].keys() == {"50", "300"} for name in ("p50_ms", "p95_ms", "p99_ms"))
    assert all(latency > 0 for latency in found[part]["p50_ms"].values())
    assert found[part]["exchanges_per_s"] > 0
    assert found[part]["cpu_us_per_exchange"] > 0
    assert found[part]["rss_mb"] > 0


def test_what_was_not_measured_is_null(found):
    assert found["production"] is None
    assert found["production_to_floor"] is None
    assert found["production_to_glue"] is None


def test_the_ratio_is_that_of_the_two_medians(found):
    bus, floor = found["embedded"]["exchanges_per_s"], found["floor_embedded"]["exchanges_per_s"]
    assert found["embedded_to_floor"] == pytest.approx(bus / floor, abs=0.001)


def test_machine_and_versions_are_named(found):
    assert found["machine"].keys() >= {"cpu", "cores", "memory_gb", "kernel"}
    assert found["versions"].keys() >= {"python", "postgresql", "rabbitmq", "faststream", "lgsp"}


@pytest.mark.parametrize("part", ["floor_embedded", "floor_production", "embedded"])
def test_every_envelope_was_receipted_taken_and_acked(part, found):
    counts = found["counts"][part]
    taken = counts["receiver"]["taken"]
    assert taken >= counted(found, part)
    assert {counts["sender"][name] for name in ("sent", "receipted", "acked")} == {taken}


@pytest.mark.parametrize("part", ["floor_embedded", "floor_production"])
def test_the_floors_gateway_settled_them_and_logged_both_ends(part, found):
    gateway, taken = found["counts"][part]["gateway"], found["counts"][part]["receiver"]["taken"]
    assert (gateway["exchanges"], gateway["settled"], gateway["bodies"]) == (taken, taken, 0)
    assert gateway["entries"] == 2 * taken


def test_every_request_had_a_receipted_reply_that_was_taken(found):
    counts = found["counts"]["embedded"]
    replies = counts["sender"]["taken"]
    assert replies > 0
    assert {counts["receiver"][name] for name in ("sent", "receipted")} == {replies}


def test_the_glue_verified_an_answer_to_every_message(found):
    counts = found["counts"]["glue"]
    assert counts["sender"]["answered"] == counts["receiver"]["taken"] >= counted(found, "glue")


def test_the_whole_log_was_checked_and_entries_of_it_proven(found):
    assert found["log"]["entries"] >= 3_000
    assert all(
        found["log"][figure] > 0
        for figure in (
            "verified_per_s",
            "proof_ms",
            "start_ms",
            "usages_ms",
            "searched_per_s",
            "found_ms",
            "catalogued_per_s",
        )
    )


def counted(found, part):
    """Return how many exchanges all runs of a part counted; those of the warm-up and after the window come on top."""
    total = sum(run["exchanges"] for run in found["runs"] if run["part"] == part)
    assert total > 0
    return total
