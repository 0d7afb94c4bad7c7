import pytest

from lgsp.domain import names
from lgsp.errors import Refusal

CODES = [
    ("H01", "000.00.00.H01"),
    ("H01.12", "000.00.12.H01"),
    ("H01.12.05", "000.05.12.H01"),
    ("H01.12.05.007", "007.05.12.H01"),
    ("H01.12.00.007", "007.00.12.H01"),
    ("G01.02", "000.00.02.G01"),
    ("H01.99.99.999", "999.99.99.H01"),
]
NO_CODES = [
    "", "h01", "H1", "H001", "01.H", "H01.", ".H01", "H01.1234", "H01..12", "H01.12 ", " H01.12", "H01.12\n", "H01-12", "H01.1.2.3.4.5",
    "H٠١.12", "H01.１２", "000.00.12.h01", "00.00.12.H01", "000.00.12.H01.5", "000.0.12.H01", "000.00.12.H٠١", "urn:lgsp:agency:H01",
]  # fmt: skip


@pytest.mark.parametrize(("code", "legacy"), CODES)
def test_an_agency_code_is_converted_both_ways(code, legacy):
    assert names.agency_code(legacy) == code
    assert names.agency_code(code) == code
    assert names.legacy_agency_code(code) == legacy
    assert names.legacy_agency_code(legacy) == legacy
    assert names.agency_urn(legacy) == names.agency_urn(code) == f"urn:lgsp:agency:{code}"


@pytest.mark.parametrize("text", NO_CODES)
def test_anything_else_is_no_agency_code(text):
    with pytest.raises(Refusal) as caught:
        names.agency_code(text)
    assert caught.value.code == "bad_request"


@pytest.mark.parametrize(
    "code", ["H01.123", "H01.12.123", "H01.12.05.007.1", "H01.1", "H01.00", "H01.12.5", "H01.12.05.7"]
)
def test_a_code_that_the_legacy_layout_cannot_hold_is_refused(code):
    with pytest.raises(Refusal, match="no legacy spelling"):
        names.legacy_agency_code(code)


FORMS = {
    "agency": names.AGENCY_FORM,
    "system": names.SYSTEM_FORM,
    "officer": names.OFFICER_FORM,
    "topic": names.TOPIC_FORM,
    "bus": names.BUS_FORM,
    "gateway": names.GATEWAY_FORM,
    "schema": names.SCHEMA_FORM,
    "type": names.TYPE_FORM,
}
GOOD = [
    ("agency", "urn:lgsp:agency:H01"),
    ("agency", "urn:lgsp:agency:H01.12.5.7.100"),
    ("system", "urn:lgsp:agency:H01.12:sys:vnfishbase"),
    ("system", "urn:lgsp:agency:H01.31:sys:one-stop"),
    ("system", "urn:lgsp:agency:H01.31:sys:a"),
    ("officer", "urn:lgsp:agency:H01.12:officer:7f3a91"),
    ("topic", "urn:lgsp:topic:vn.lgsp.fisheries.vessel.changed.v1"),
    ("bus", "urn:lgsp:bus:91"),
    ("gateway", "urn:lgsp:bus:91:gw:a"),
    ("schema", "urn:lgsp:schema:population:citizen-verify-request:1.0.0"),
    ("type", "vn.lgsp.population.citizen.verify.v1"),
    ("type", "vn.lgsp.population.citizen.verify.reply.v1"),
    ("type", "vn.lgsp.fisheries.owner-list.complete.v9999"),
]


@pytest.mark.parametrize(("kind", "text"), GOOD)
def test_a_name_is_of_its_own_form_and_of_no_other(kind, text):
    assert [name for name, form in FORMS.items() if form.fullmatch(text)] == [kind]


BAD = [
    "urn:lgsp:agency:H01.12:sys:", "urn:lgsp:agency:H01.12:sys:VNFishbase", "urn:lgsp:agency:H01.12:sys:-a", "urn:lgsp:agency:H01.12:sys:a-",
    "urn:lgsp:agency:H01.12:sys:a_b", "urn:lgsp:agency:H01.12:sys:" + "a" * 33, "URN:lgsp:agency:H01.12", "urn:lgsp:agency:H01.1٢:sys:a",
    "urn:lgsp:agency:H01.12:officer:7f3", "urn:lgsp:agency:H01.12:officer:7F3A91", "urn:lgsp:topic:", "urn:lgsp:topic:vn.lgsp.*", "urn:lgsp:bus:9",
    "urn:lgsp:bus:911", "urn:lgsp:bus:９１", "urn:lgsp:bus:91:gw:", "urn:lgsp:schema:population:x:1.0", "urn:lgsp:schema:population:x:1.0.0.0",
    "urn:lgsp:schema:population:x:1.0.٠", "vn.lgsp.a.b.v1", "vn.lgsp.a.b.c.v0", "vn.lgsp.a.b.c.v01", "vn.lgsp.a.b.c", "vn.lgsp.A.b.c.v1",
    "vn.lgsp.a.b.c.v1\n", "vn.lgsp.a.b.c.reply.reply.v1", "com.lgsp.a.b.c.v1", "vn.lgsp.1a.b.c.v1",
]  # fmt: skip


@pytest.mark.parametrize("text", BAD)
def test_what_is_of_no_form_names_nothing(text):
    assert [name for name, form in FORMS.items() if form.fullmatch(text)] == []
    assert not names.is_audience(text)
    assert names.agency_of(text) == ""


def test_a_system_has_a_short_form_for_people():
    urn = "urn:lgsp:agency:H01.12:sys:vnfishbase"
    assert names.system_urn("H01.12/vnfishbase") == names.system_urn(urn) == urn
    assert names.short_system(urn) == "H01.12/vnfishbase"
    assert names.short_system("urn:lgsp:bus:91:gw:a") == "urn:lgsp:bus:91:gw:a"


@pytest.mark.parametrize(
    "text", ["", "vnfishbase", "H01.12", "H01.12/", "H01.12/VNF", "urn:lgsp:agency:H01.12", "000.00.12.H01/x"]
)
def test_anything_else_is_no_system(text):
    with pytest.raises(Refusal) as caught:
        names.system_urn(text)
    assert caught.value.code == "bad_request"


KINDS = [
    ("urn:lgsp:agency:H01.12", "urn:lgsp:agency:H01.12", False, True, True),
    ("urn:lgsp:agency:H01.12:sys:vnfishbase", "urn:lgsp:agency:H01.12", True, False, True),
    ("urn:lgsp:agency:H01.12:officer:7f3a91", "urn:lgsp:agency:H01.12", False, False, False),
    ("urn:lgsp:topic:vn.lgsp.fisheries.vessel.changed.v1", "", False, False, True),
    ("urn:lgsp:bus:91", "", False, False, False),
    ("urn:lgsp:bus:91:gw:a", "", False, False, False),
]


@pytest.mark.parametrize(("urn", "agency", "system", "is_agency", "audience"), KINDS)
def test_a_urn_tells_what_it_names(urn, agency, system, is_agency, audience):
    assert names.agency_of(urn) == agency
    assert (names.is_system(urn), names.is_agency(urn), names.is_audience(urn)) == (system, is_agency, audience)


REPLIES = [
    ("vn.lgsp.population.citizen.verify.v1", "vn.lgsp.population.citizen.verify.reply.v1"),
    ("vn.lgsp.fisheries.owner-list.complete.v12", "vn.lgsp.fisheries.owner-list.complete.reply.v12"),
    ("vn.lgsp.polls.reply.vote.v1", "vn.lgsp.polls.reply.vote.reply.v1"),
    ("vn.lgsp.reply.vote.cast.v1", "vn.lgsp.reply.vote.cast.reply.v1"),
]


@pytest.mark.parametrize(("request_type", "reply_type"), REPLIES)
def test_a_reply_type_belongs_to_one_request_type(request_type, reply_type):
    assert names.reply_type(request_type) == reply_type
    assert names.request_type(reply_type) == names.request_type(request_type) == request_type
    assert names.is_reply_type(reply_type)
    assert not names.is_reply_type(request_type)


PATTERNS = [
    ("vn.lgsp.population.citizen.verify.v1", True),
    ("vn.lgsp.population.citizen.verify.v2", False),
    ("vn.lgsp.population.*", True),
    ("vn.lgsp.population.citizen.*", True),
    ("vn.lgsp.population.citizen.verify.*", True),
    ("vn.lgsp.popul.*", False),
    ("vn.lgsp.population.citi.*", False),
    ("*", False),
    ("", False),
    ("vn.lgsp.fisheries.*", False),
]


@pytest.mark.parametrize(("pattern", "matches"), PATTERNS)
def test_a_pattern_covers_whole_segments(pattern, matches):
    assert names.type_matches("vn.lgsp.population.citizen.verify.v1", pattern) is matches


OFFICER = "urn:lgsp:agency:H01.12:officer:7f3a91"


def test_an_officer_is_named_in_full_or_in_short():
    assert names.officer_urn("H01.12/7f3a91") == names.officer_urn(OFFICER) == OFFICER


@pytest.mark.parametrize(
    "text", ["", "7f3a91", "H01.12", "H01.12/7F3A91", "H01.12/7f3", "H01.12/a/b", "urn:lgsp:agency:H01.12:sys:abcd"]
)
def test_anything_else_is_no_officer(text):
    with pytest.raises(Refusal) as caught:
        names.officer_urn(text)
    assert caught.value.code == "bad_request"


def test_a_topic_is_named_after_the_type_of_its_events():
    topic = names.topic_urn("vn.lgsp.fisheries.vessel.changed.v1")
    assert topic == "urn:lgsp:topic:vn.lgsp.fisheries.vessel.changed.v1"
    assert names.is_topic(topic)
    assert not names.is_topic(OFFICER)
    assert not names.is_topic(names.topic_urn("vn.lgsp.*"))
