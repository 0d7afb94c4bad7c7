"""What the bus would say is told step by step, as far as it went."""

import pytest

from lgsp.domain import opinion
from lgsp.domain.admission import Refused
from lgsp.errors import Refusal, catalogue


def refused(code):
    return Refused(refusal=Refusal(code), env="sha-256:x")


@pytest.mark.parametrize("code", opinion.READ_STEP)
def test_a_refusal_on_reading_ends_at_its_own_step(code):
    found = opinion.refused_reading(refused(code))
    assert (found.verdict, found.step, found.env) == ("refused", opinion.READ_STEP[code], "sha-256:x")
    told = found.told({}, "en")
    assert [each["holds"] for each in told["steps"]] == [True] * (found.step - 1) + [False]
    assert told["problem"]["code"] == code


@pytest.mark.parametrize(("code", "step"), [*opinion.JUDGE_STEP.items(), ("no_grant", 13), ("route", 13)])
def test_a_refusal_on_judging_ends_at_its_own_step_or_at_route_and_grant(code, step):
    assert opinion.refused_judging(refused(code)).step == step


def test_what_is_no_envelope_has_no_name():
    found = opinion.unread(Refusal("structured"))
    assert (found.step, found.env) == (2, "")


def test_what_is_allowed_is_told_with_its_rule_in_both_languages_and_no_problem():
    found = opinion.Opinion(verdict="accepted", step=14, env="sha-256:x", rule="g-verify")
    told = {language: found.told({"body": {"bytes": 2}}, language) for language in ("en", "vi")}
    for members in told.values():
        assert (members["verdict"], members["rule"], "problem" in members) == ("accepted", "g-verify", False)
        assert members["computed"] == {"body": {"bytes": 2}}
        assert [each["step"] for each in members["steps"]] == list(range(1, 15))
        assert all(each["holds"] for each in members["steps"])
    assert told["en"]["steps"] != told["vi"]["steps"]


def test_what_was_sent_before_has_no_rule():
    found = opinion.Opinion(verdict="known", step=opinion.LOOK_UP, env="sha-256:x")
    assert "rule" not in found.told({}, "en")


def test_every_step_that_is_named_has_a_title_and_every_code_stands_in_the_catalogue():
    steps = {*opinion.READ_STEP.values(), *opinion.JUDGE_STEP.values(), opinion.LOOK_UP, opinion.ROUTE_AND_GRANT}
    assert steps == set(range(1, len(opinion.STEPS) + 1))
    assert (opinion.READ_STEP | opinion.JUDGE_STEP).keys() <= catalogue().keys()
