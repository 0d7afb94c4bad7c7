"""A rule of withholding is taken as an officer states it, or refused at the member that is wrong."""

from dataclasses import replace
from datetime import timedelta

import pytest

from lgsp.domain.envelope import format_time
from lgsp.domain.withholding import Withholding, check
from lgsp.errors import Refusal
from lgsp.testing.world import FISHERIES, NOW, VERIFY

RULE = Withholding(id="r-1", casefile="AG-00001-TS", basis="Điều 5 Luật A", since=NOW, until=NOW + timedelta(days=1))
CASE = {"casefile": ""}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        CASE | {"system": FISHERIES},
        CASE | {"system": "urn:lgsp:agency:H01.12"},
        CASE | {"type": VERIFY},
        CASE | {"procedure": "1.004359"},
        {"system": FISHERIES, "type": VERIFY, "procedure": "1.004359"},
    ],
)
def test_a_sound_rule_is_taken_as_it_is(changes):
    rule = replace(RULE, **changes)
    assert check(rule) is rule


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        (CASE, ""),
        ({"system": "H01.12/vnfishbase"}, "/system"),
        ({"system": f"urn:lgsp:topic:{VERIFY}"}, "/system"),
        ({"type": "vn.lgsp.population.*"}, "/type"),
        ({"procedure": "two words"}, "/procedure"),
        ({"casefile": "two words"}, "/casefile"),
        ({"casefile": "099185000017"}, "/casefile"),
        ({"basis": ""}, "/basis"),
        ({"basis": "of 099185000017"}, "/basis"),
        ({"until": NOW}, "/until"),
        ({"until": NOW - timedelta(days=1)}, "/until"),
    ],
)
def test_a_rule_that_names_nothing_or_names_it_wrongly_is_refused_at_its_place(changes, pointer):
    with pytest.raises(Refusal) as caught:
        check(replace(RULE, **changes))
    assert (caught.value.code, caught.value.pointer) == ("bad_request", pointer)
    assert "099185000017" not in str(caught.value.problem())


def test_a_rule_is_stated_by_what_it_names_its_law_and_its_end():
    stated = {"basis": "Điều 5 Luật A", "id": "r-1", "until": format_time(RULE.until)}
    assert RULE.stated() == {"casefile": "AG-00001-TS"} | stated
    assert (
        replace(RULE, casefile="", system=FISHERIES, type=VERIFY).stated()
        == {"system": FISHERIES, "type": VERIFY} | stated
    )
