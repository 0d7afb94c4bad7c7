"""What a use says, from the entry and the envelope, and which rules keep it from the person."""

from dataclasses import replace
from datetime import timedelta

import pytest

from lgsp.domain import entries
from lgsp.domain.usages import usage_of
from lgsp.domain.withholding import Withholding
from lgsp.errors import Refusal
from lgsp.testing.samples import NOW, wire
from lgsp.testing.world import FISHERIES, GATEWAY, POLICE, POPULATION, VERIFY

RULE = Withholding(id="r", basis="law", since=NOW, until=NOW + timedelta(days=1))


def use(entry=b"", compact=b""):
    return usage_of(env="sha-256:x", index=4, commitment="c", entry=entry, compact=compact)


def entry_of(**members):
    told = {"src": FISHERIES, "aud": POPULATION, "type": VERIFY, "purpose": "dpv:Purpose"} | members
    return entries.draft("msg.accepted", at=NOW + timedelta(hours=1), bus=GATEWAY, **told).numbered(4)


def test_the_entry_tells_when_and_who_and_the_envelope_the_rest():
    found = use(entry_of(), wire(1).compact)
    assert (found.moment, found.sender, found.receiver) == (NOW + timedelta(hours=1), FISHERIES, POPULATION)
    assert (found.purpose, found.legal_basis) == ("dpv:Purpose", "dpv:LegalObligation")
    assert (found.procedure, found.casefile, found.officer) == ("1.004359", "AG-00001-TS", "7f3a91")


def test_without_its_entry_a_use_is_told_by_its_envelope():
    found = use(compact=wire(1).compact)
    assert (found.moment, found.action, found.sender, found.purpose) == (
        NOW,
        VERIFY,
        FISHERIES,
        "dpv:IdentityVerification",
    )


def test_without_its_envelope_a_use_is_told_by_its_entry():
    found = use(entry_of())
    assert (found.action, found.sender, found.casefile, found.officer) == (VERIFY, FISHERIES, "", "")


def test_of_nothing_nothing_is_told():
    with pytest.raises(Refusal) as refused:
        use()
    assert refused.value.code == "not_found"


@pytest.mark.parametrize(
    ("selectors", "withheld"),
    [
        ({"system": FISHERIES}, True),
        ({"system": "urn:lgsp:agency:G01.02"}, True),
        ({"system": POLICE}, False),
        ({"system": "urn:lgsp:agency:H01"}, False),
        ({"type": VERIFY, "procedure": "1.004359", "casefile": "AG-00001-TS"}, True),
        ({"type": VERIFY, "procedure": "1.004359", "casefile": "AG-00002-TS"}, False),
    ],
)
def test_a_rule_withholds_what_all_its_selectors_fit(selectors, withheld):
    found = use(entry_of(), wire(1).compact)
    assert found.is_withheld([replace(RULE, **selectors)]) is withheld
    assert found.is_withheld([]) is False


def test_a_rule_holds_from_its_beginning_up_to_its_end():
    moments = [NOW - timedelta(seconds=1), NOW, RULE.until - timedelta(milliseconds=1), RULE.until]
    assert [RULE.holds(moment) for moment in moments] == [False, True, True, False]
    assert replace(RULE, ended=NOW).holds(NOW + timedelta(hours=1)) is False
