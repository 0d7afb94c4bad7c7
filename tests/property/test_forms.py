"""What is read by hand is what its model describes: the acks, nacks, extensions and sightings of receivers and senders, and the structured form."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lgsp.domain import envelope, jws, statements
from lgsp.errors import Refusal
from lgsp.http import forms, frames
from lgsp.testing.world import NDXP, World

ENV = "sha-256:" + "A" * 43
READERS = {
    forms.Statement: (frames.read_ack, {"jws": "a.b.c", "item": "{}", "pos": 0, "path": ["AA"]}),
    forms.Nack: (frames.read_nack, {"env": ENV, "lease": "l", "code": "busy", "retry_after": 5}),
    forms.Extension: (frames.read_extension, {"env": ENV, "lease": "l"}),
    forms.Sighting: (frames.read_sighting, {"env": ENV, "to": NDXP, "state": "acked"}),
}
LETTERS = "aA0:-_.é\n"
"""A few characters of each kind that the forms tell apart."""
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 300),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(LETTERS, max_size=3),
    st.text(LETTERS, min_size=127, max_size=129),
    st.sampled_from(
        [
            "",
            "acked",
            "parked",
            "queued",
            "busy",
            "Busy!",
            ENV,
            ENV + "A",
            ENV[:-1],
            NDXP,
            NDXP + ":",
            f"{NDXP}\n",
            f"{ENV}\n",
        ]
    ),
    st.lists(st.one_of(st.text(LETTERS, max_size=2), st.integers()), max_size=10),
    st.dictionaries(st.text(LETTERS, max_size=2), st.integers(), max_size=2),
)


@st.composite
def changed(draw: st.DrawFn, members: dict[str, Any]) -> dict[str, Any]:
    """Return members of which some are others, missing, or added."""
    found = dict(members)
    for name in draw(st.lists(st.sampled_from([*members, "more"]), max_size=2, unique=True)):
        if draw(st.booleans()):
            found.pop(name, None)
        else:
            found[name] = draw(ODD)
    return found


def reads(reader, value) -> bool:
    try:
        reader(value)
    except Refusal:
        return False
    return True


def fits(model, value) -> bool:
    try:
        model.model_validate(value)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("model", READERS, ids=lambda model: model.__name__)
@given(data=st.data())
def test_the_reader_takes_what_its_model_takes_and_nothing_else(model, data):
    reader, members = READERS[model]
    assert reads(reader, members)
    value = data.draw(changed(members))
    taken = reads(reader, value)
    assert fits(model, value) == taken
    if not any(isinstance(member, float) for member in value.values()):  # 1.0 is an integer in a schema
        assert jsonschema_rs.is_valid(model.model_json_schema(), value) == taken


WIRE = World.make().envelope()


@given(value=changed(WIRE.structured()))
def test_whatever_is_read_as_an_envelope_is_of_the_structured_form_that_is_described(value):
    def read(structured: object) -> None:
        jws.parse(envelope.from_structured(structured).compact, typ=envelope.TYP)

    if reads(read, value):
        assert fits(forms.Envelope, value)
        assert jsonschema_rs.is_valid(forms.Envelope.model_json_schema(), value)
    assert fits(forms.Envelope, WIRE.structured())


def test_a_receipt_that_is_given_is_a_statement_as_described():
    [receipt] = statements.sign_batch([b"{}"], {}, typ=statements.RECEIPT, signer=World.make().signers["gateway"])
    assert fits(forms.Statement, receipt.wire())
