"""Every parser of bytes from outside, on its corpus, on variations of it, and in the long run guided by coverage."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.fuzz import reference
from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]
CORPUS = Path(__file__).parent / "corpus"
SEEDS = {name: [path.read_bytes() for path in sorted((CORPUS / name).iterdir())] for name in TARGETS}
CORPUS_BYTES = 128 * 1024
SECONDS = int(os.environ.get("LGSP_FUZZ_SECONDS", "3600")) // len(TARGETS)
"""For each target; together an hour unless LGSP_FUZZ_SECONDS says otherwise."""
AROUND_SECONDS = 300
"""To load and instrument what is fuzzed, and to end, on a machine that is busy with other things."""

PIECES = st.binary(max_size=3) | st.sampled_from(
    [b'"', b"{", b"}", b"[", b"]", b",", b":", b".", b"=", b"\n", b"\\ud800", b"\\u0061", b"null", b"-0", b"1e999", b"9" * 20, "é".encode(), b"e\xcc\x81"]
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=3,
)


@st.composite
def spliced(draw, seeds):
    """Draw a seed with some bytes replaced."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        data = data[:at] + draw(PIECES) + data[at + draw(st.integers(0, 4)) :]
    return data


@st.composite
def reshaped(draw, seeds):
    """Draw a JSON seed with one value replaced, or one member given another name."""
    whole = [reference.read(draw(st.sampled_from(seeds)))]
    where = whole
    while True:
        key = draw(st.sampled_from(sorted(where) if isinstance(where, dict) else range(len(where))))
        inner = where[key]
        if not isinstance(inner, dict | list) or not inner or draw(st.booleans()):
            break
        where = inner
    if isinstance(where, dict) and draw(st.booleans()):
        where[draw(st.text(max_size=4))] = where.pop(key)
    else:
        where[key] = draw(VALUES)
    return json.dumps(whole[0], ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")


def is_json(seed):
    try:
        return isinstance(reference.read(seed), dict | list)
    except ValueError:
        return False


@pytest.mark.parametrize("target", TARGETS)
def test_what_has_to_hold_holds_for_the_corpus(target):
    assert SEEDS[target]
    for seed in SEEDS[target]:
        TARGETS[target](seed)


def test_the_corpus_stays_small_and_is_of_the_targets_alone():
    assert {path.name for path in CORPUS.iterdir()} == TARGETS.keys()
    assert sum(map(len, (seed for seeds in SEEDS.values() for seed in seeds))) < CORPUS_BYTES


@pytest.mark.parametrize("target", TARGETS)
def test_what_has_to_hold_holds_for_variations_of_the_corpus(target):
    inputs = st.binary(max_size=100) | spliced(SEEDS[target])
    json_seeds = [seed for seed in SEEDS[target] if is_json(seed)]
    if json_seeds:
        inputs |= reshaped(json_seeds)

    @settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @example(b"")
    @given(inputs)
    def holds(data):
        TARGETS[target](data)

    holds()


@pytest.mark.long
@pytest.mark.timeout(SECONDS + AROUND_SECONDS + 20)
@pytest.mark.parametrize("target", TARGETS)
def test_coverage_guides_to_nothing_that_breaks_a_parser(target):
    command = [sys.executable, "-m", "tests.fuzz", target, str(max(SECONDS, 5))]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS + AROUND_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    assert "stat::number_of_executed_units" in done.stderr
