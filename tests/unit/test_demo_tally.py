"""The demo's comparison of the fisheries' figures with the operations centre's, and its verdict: what is not as it should be is seen, shown, and ends the demo as unsound."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from lgsp.cli.demo import story
from lgsp.cli.demo.latency import measure
from lgsp.cli.demo.province import CENTRE, FISHERIES
from lgsp.cli.demo.screen import Stage, as_json
from lgsp.cli.demo.story import Outcome, Plan, Story
from lgsp.cli.demo.tally import Tally, compare
from lgsp.cli.demo.verdict import Verdict, witnessed_size
from lgsp.datafolder import Trust
from lgsp.domain import notes
from lgsp.domain.checkpoint import Checkpoint, checkpoint_body
from lgsp.domain.notes import NoteKey
from lgsp.testing.world import LOG, signer_named

FIGURES = {
    "linked": 5,
    "linked_by_commune": {"30742": 3, "30781": 2},
    "linked_by_class": {"under12": 4, "from15": 1},
}
NOTHING = {"linked": 0, "linked_by_commune": {}, "linked_by_class": {}}
REPORT = FIGURES | {"vessels": 6, "quarantined": 1, "by_reason": {"number_unknown": 1}, "verifications": 6, "lists": 0}
VERDICT = Verdict(
    size=1,
    root="",
    exchanges=1,
    refused=0,
    finding="",
    witnessed=1,
    bundle_verified=True,
    bundle_file=Path("evidence.json"),
    seconds=0,
)


def outcome(tally: Tally) -> Outcome:
    return Outcome(
        report=REPORT,
        tally=tally,
        sync_seconds=1,
        idle=measure([]),
        busy=measure([]),
        refusals=[],
        verdict=VERDICT,
        gateway_peak_mb=1,
        seconds=1,
    )


@pytest.mark.parametrize(
    ("change", "differing"),
    [
        ({}, ()),
        ({"linked": 6}, ()),
        ({"linked_by_commune": {"30742": 2, "30781": 3}}, ("30742", "30781")),
        ({"linked_by_commune": {"30742": 5}}, ("30742", "30781")),
        ({"linked_by_commune": {"30742": 3, "30781": 2, "30784": 1}}, ("30784",)),
        ({"linked_by_class": {"under12": 5}}, ("from15", "under12")),
        (NOTHING, ("30742", "30781", "from15", "under12")),
    ],
)
def test_figures_agree_in_all_and_in_each_place_or_the_demo_is_unsound(change, differing):
    tally = compare(FIGURES, FIGURES | change)
    assert tally.differing == differing
    assert tally.agrees is (change == {})
    assert outcome(tally).sound is (change == {})
    assert as_json(outcome(tally))["differing"] == list(differing)


@pytest.mark.parametrize(
    ("language", "equal", "unequal"), [("en", "equal", "DIFFERENT: 30742"), ("vi", "khớp", "KHÁC NHAU: 30742")]
)
def test_the_screen_says_whether_the_figures_agree(language, equal, unequal):
    def shown(centre):
        console = Console(file=io.StringIO(), width=160)
        Stage(language=language).present(outcome(compare(FIGURES, centre)), console)
        return console.file.getvalue()

    assert equal in shown(FIGURES)
    assert unequal in shown(FIGURES | {"linked_by_commune": {"30742": 2, "30781": 2}})


@pytest.mark.parametrize("change", [{"finding": "entry 3"}, {"witnessed": 0}, {"bundle_verified": False}])
def test_a_log_that_is_unsound_or_that_nobody_co_signed_or_proves_nothing_is_told_as_unverified(change):
    told = replace(outcome(compare(FIGURES, FIGURES)), verdict=replace(VERDICT, **change))
    console = Console(file=io.StringIO(), width=160)
    Stage(language="en").present(told, console)
    assert (told.sound, as_json(told)["verified"], as_json(told)["witnessed"]) == (False, False, told.verdict.witnessed)
    assert "NOT VERIFIED" in console.file.getvalue()


def test_only_the_named_witness_counts_as_one():
    def cosigned(name):
        witness = signer_named(name)
        return note + notes.cosign_note(body, f"w/{name}", witness.sign, witness.public.x, 1)

    log, body = signer_named("log"), checkpoint_body(Checkpoint(origin=LOG, size=7, root=bytes(32)))
    note = notes.sign_note(body, LOG, log.sign, log.public.x)
    key = NoteKey(name="w/witness", kind=notes.WITNESS_KEY, public=signer_named("witness").public.x)
    pinned = NoteKey(name=LOG, kind=notes.LOG_KEY, public=log.public.x)
    trust = Trust(bus="", registrar=log.public, log=pinned, witnesses=(key,))
    assert witnessed_size(cosigned("witness"), trust) == 7
    assert [witnessed_size(text, trust) for text in ("", note, cosigned("other"))] == [0, 0, 0]
    assert witnessed_size(cosigned("witness"), replace(trust, witnesses=())) == 0


@pytest.fixture
def telling(tmp_path, dark):
    telling = Story(plan=Plan(data=tmp_path), screen=dark, province=None)
    telling.take(FISHERIES, {"event": "adapter.report", "counts": FIGURES})
    return telling


@pytest.fixture
def dark():
    return Stage(language="en")


async def test_the_story_waits_for_the_centre_s_last_figures(telling):
    for linked in (0, 3, 5):
        telling.take(CENTRE, {"event": "adapter.report", "counts": FIGURES | {"linked": linked}})
    assert (await telling.wait_for_figures()).agrees


@pytest.mark.parametrize("counts", [None, NOTHING])
async def test_a_centre_that_does_not_count_is_waited_for_no_longer_than_need_be(telling, monkeypatch, counts):
    monkeypatch.setattr(story, "COUNT_SECONDS", 0.1)
    if counts is not None:
        telling.take(CENTRE, {"event": "adapter.report", "counts": counts})
    tally = await telling.wait_for_figures()
    assert (tally.linked, tally.counted, tally.agrees) == (5, 0, False)
