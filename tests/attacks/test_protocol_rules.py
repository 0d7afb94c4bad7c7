"""Attacks on the rules of the protocol, as far as they are decided without a running bus; ids as in the protocol's list."""

from datetime import date, datetime, timedelta

import pytest

from lgsp.domain import admission, algorithms, base64url, jws, keys, records, statements
from lgsp.domain.envelope import Wire, format_time
from lgsp.domain.exchange import Exchange
from lgsp.errors import Refusal
from lgsp.testing.world import (
    BUS,
    FISHERIES,
    GATEWAY,
    LOG,
    NDXP,
    NOW,
    OFFICER,
    ONE_STOP,
    OWNER_LIST,
    OWNER_LIST_SCHEMA,
    POLICE,
    POPULATION,
    VERIFY,
    World,
    key_record,
    signer_named,
)

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
LIST = {
    "listId": "20261122-30742-001",
    "asOf": "2026-11-22",
    "orgcat": "2025-07",
    "rows": [{"registration": "AG-00012-TS", "ownerName": "DANH SÀ RƯƠL", "communeCode": "30742"}],
}


def code_of(found: admission.Accepted | admission.Read | admission.Refused) -> str:
    return found.refusal.code if isinstance(found, admission.Refused) else ""


def test_r03_the_twin_of_an_es256_signature_is_the_same_exchange_under_another_hash():
    signer = keys.p256_from_scalar(20261122)
    world = World.make(added=[key_record(signer, FISHERIES)], signers={"fisheries-es256": signer})
    first = world.envelope(signer="fisheries-es256")
    head, _, signature = first.compact.rpartition(b".")
    raw = base64url.decode(signature)
    twin_s = P256_ORDER - int.from_bytes(raw[32:], "big")
    twin = Wire(compact=head + b"." + base64url.encode(raw[:32] + twin_s.to_bytes(32, "big")).encode(), body=first.body)
    one, two = world.read(first), world.read(twin)
    assert isinstance(one, admission.Read)
    assert isinstance(two, admission.Read), "the twin verifies: nothing in the signature itself excludes it"
    assert one.env != two.env
    assert one.exchange_key == two.exchange_key
    assert one.manifest == two.manifest


CLOCKS = {
    "a minute ahead, to the second": (timedelta(seconds=60), ""),
    "a minute and a millisecond ahead": (timedelta(seconds=60, milliseconds=1), "clock_ahead"),
    "10 minutes ahead": (timedelta(minutes=10), "clock_ahead"),
    "10 minutes behind": (timedelta(minutes=-10), ""),
    "three days behind, from an outbox": (timedelta(days=-3), ""),
}


@pytest.mark.parametrize("name", CLOCKS)
def test_r07_a_senders_clock_may_be_behind_and_hardly_ahead(name):
    world = World.make(changes={VERIFY: {"max_life": 30 * 86_400}})
    offset, code = CLOCKS[name]
    wire = world.envelope(
        recordedtime=format_time(NOW + offset), expirytime=format_time(max(NOW, NOW + offset) + timedelta(minutes=5))
    )
    found = world.judge(wire)
    assert code_of(found) == code
    if isinstance(found, admission.Refused):
        assert found.refusal.facts["now"] == format_time(NOW)


def test_r07_an_envelope_stays_good_when_the_bus_clock_jumps_back_a_little():
    world = World.make()
    wire = world.envelope()
    assert isinstance(world.judge(wire, now=NOW - timedelta(seconds=59)), admission.Accepted)
    assert code_of(world.judge(wire, now=NOW - timedelta(minutes=5))) == "clock_ahead"


OLD, NEW = signer_named("fisheries old"), signer_named("fisheries new")
ROTATION = [
    (4, "old", ""),
    (4, "new", "key_not_valid"),
    (5, "old", ""),
    (5, "new", ""),
    (6, "old", ""),
    (6, "new", ""),
    (7, "old", "key_not_valid"),
    (7, "new", ""),
]


@pytest.mark.parametrize(("version", "key", "code"), ROTATION)
def test_r09_keys_overlap_from_the_start_of_the_new_to_the_end_of_the_old(version, key, code):
    world = World.make(
        version=version,
        added=[key_record(OLD, FISHERIES, until=7), key_record(NEW, FISHERIES, since=5)],
        signers={"old": OLD, "new": NEW},
    )
    assert code_of(world.read(world.envelope(signer=key))) == code


LOW_ORDER = [
    algorithms.ED25519_PRIME - 1,
    0,
    1,
    55188659117513257062467267217118295137698188065244968500265048394206261417927,
    2707385501144840649318225287225658788936804267575313519463743609750303402022,
]
NOT_CANONICAL = [algorithms.ED25519_PRIME, algorithms.ED25519_PRIME + 1, algorithms.ED25519_PRIME + 3, 2**255 - 1]


@pytest.mark.parametrize("sign", [0, 1 << 255])
@pytest.mark.parametrize("y", LOW_ORDER + NOT_CANONICAL)
def test_r10_a_low_order_or_non_canonical_ed25519_point_is_no_key(y, sign):
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": base64url.encode((y | sign).to_bytes(32, "little"))}
    with pytest.raises(Refusal) as caught:
        keys.public_key(jwk)
    assert caught.value.code == "key_refused"


def test_r10_a_directory_with_such_a_key_does_not_open():
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": base64url.encode(bytes(32))}
    record = {
        "kind": "key", "id": keys.thumbprint(jwk), "owner": FISHERIES, "role": "system", "jwk": jwk, "since": 1,
    }  # fmt: skip
    with pytest.raises(Refusal, match="low order") as caught:
        World.make(added=[record])
    assert caught.value.code == "directory_invalid"


def test_r11_one_public_key_for_two_systems_is_refused():
    shared = signer_named("shared")
    with pytest.raises(Refusal, match="stands twice") as caught:
        World.make(added=[key_record(shared, FISHERIES), key_record(shared, POLICE)])
    assert caught.value.code == "directory_invalid"


def test_r11c_an_agency_holds_no_key_that_could_sign_for_its_systems():
    with pytest.raises(Refusal) as caught:
        World.make(added=[key_record(signer_named("agency"), "urn:lgsp:agency:H01.12")])
    assert caught.value.code == "directory_invalid"


MISFITS = [
    (FISHERIES, "officer"), (FISHERIES, "gateway"), (OFFICER, "system"), (OFFICER, "registrar"), (BUS, "gateway"), (BUS, "system"),
    (GATEWAY, "registrar"), (GATEWAY, "system"), (GATEWAY, "log"), (FISHERIES, "log"), (FISHERIES, "registrar"),
]  # fmt: skip


@pytest.mark.parametrize(("owner", "role"), MISFITS)
def test_r11c_a_key_cannot_be_registered_for_a_role_that_its_owner_cannot_hold(owner, role):
    with pytest.raises(Refusal) as caught:
        World.make(added=[key_record(signer_named("misfit"), owner, role)])
    assert caught.value.code == "directory_invalid"


ROLE_TYPS = {
    "fisheries": {"lgsp-env.v1+jws", "lgsp-ack.v1+jws", "lgsp-auth.v1+jws"},
    "officer": {"lgsp-auth.v1+jws"},
    "gateway": {"lgsp-rcpt.v1+jws"},
    "registrar": {"lgsp-dir.v1+jws"},
    "log": set(),
}
TYPS = sorted(set().union(*ROLE_TYPS.values()))


@pytest.mark.parametrize("signer", ROLE_TYPS)
@pytest.mark.parametrize("typ", TYPS)
def test_r11c_a_key_of_a_role_carries_the_typs_of_that_role_alone(signer, typ):
    world = World.make()
    kid = world.signers[signer].kid
    if typ in ROLE_TYPS[signer]:
        assert world.directory.key(kid, typ).public == world.signers[signer].public
    else:
        with pytest.raises(Refusal) as caught:
            world.directory.key(kid, typ)
        assert caught.value.code == "key_role"


SIGNERS_FOR = [
    (FISHERIES, FISHERIES, True),
    (FISHERIES, OFFICER, False),
    (OFFICER, FISHERIES, False),
    ("urn:lgsp:agency:H01.12", FISHERIES, False),
    (BUS, GATEWAY, False),
    (GATEWAY, BUS, False),
    (NDXP, POPULATION, True),
    (POPULATION, NDXP, False),
    (NDXP, FISHERIES, False),
]


@pytest.mark.parametrize(("owner", "source", "allowed"), SIGNERS_FOR)
def test_r11c_a_key_signs_for_its_owner_or_under_a_delegation_only(owner, source, allowed):
    assert World.make().directory.may_sign_for(owner, source, VERIFY) is allowed


def test_r11c_a_bridge_outside_its_delegation_is_refused():
    world = World.make()
    other_type = world.envelope(
        source=POPULATION, type=OWNER_LIST, dataschema=OWNER_LIST_SCHEMA, body=LIST, signer="ndxp"
    )
    assert code_of(world.read(other_type)) == "source_not_owned"
    other_principal = world.envelope(source=POLICE, signer="ndxp")
    assert code_of(world.read(other_principal)) == "source_not_owned"


@pytest.mark.parametrize(
    ("since", "until", "version", "code"),
    [(3, 5, 2, "source_not_owned"), (3, 5, 3, ""), (3, 5, 4, ""), (3, 5, 5, "source_not_owned")],
)
def test_r11c_a_bridge_outside_the_versions_of_its_delegation_is_refused(since, until, version, code):
    world = World.make(version=version, changes={"d-population": {"since": since, "until": until}})
    assert code_of(world.read(world.reply(world.envelope()))) == code


def test_r11c_the_principal_answers_for_itself_only_with_a_key_of_its_own():
    own = signer_named("population")
    world = World.make(added=[key_record(own, POPULATION)], signers={"population": own})
    request = world.envelope()
    assert code_of(world.read(world.reply(request, signer="population"))) == ""
    assert code_of(world.read(world.reply(request, signer="fisheries"))) == "source_not_owned"


def receipts(world: World, *wires: Wire) -> list[statements.Statement]:
    head = statements.receipt_head(gateway=GATEWAY, at=NOW, log=LOG, policy=1)
    items = [statements.ack_item(wire.hash, "accepted") for wire in wires]
    return statements.sign_batch(items, head, typ=statements.RECEIPT, signer=world.signers["gateway"])


def test_r16_a_receipt_of_x_names_x_and_not_y():
    world = World.make()
    x, y = world.envelope(number=1), world.envelope(number=2)
    of_x, of_y = receipts(world, x, y)
    signed = statements.verify_signature(of_x.jws, world.signers["gateway"].public, typ=statements.RECEIPT)
    assert statements.open_item(of_x, signed)["env"] == x.hash != y.hash
    assert statements.open_item(of_y, signed)["env"] == y.hash


@pytest.mark.parametrize("member", ["item", "pos", "path"])
def test_r16_a_receipt_of_x_dressed_as_that_of_y_does_not_open(member):
    world = World.make()
    of_x, of_y = receipts(world, world.envelope(number=1), world.envelope(number=2))
    dressed = statements.from_wire(of_x.wire() | {member: of_y.wire()[member]})
    signed = statements.verify_signature(of_x.jws, world.signers["gateway"].public, typ=statements.RECEIPT)
    with pytest.raises(Refusal) as caught:
        statements.open_item(dressed, signed)
    assert caught.value.code == "signature"


GRANTS: dict[str, tuple[dict, dict, int, str]] = {
    "as granted": ({}, {}, 0, ""),
    "another purpose": ({}, {"purpose": "dpv:Marketing"}, 0, "purpose_not_granted"),
    "no purpose": ({}, {"purpose": None}, 0, "purpose_not_granted"),
    "another legal basis": ({}, {"legalbasis": "dpv:Consent"}, 0, "legalbasis_not_granted"),
    "another procedure": ({}, {"procedure": "1.009999"}, 0, "procedure_not_granted"),
    "no procedure": ({}, {"procedure": None}, 0, "procedure_not_granted"),
    "another officer": ({}, {"authid": "ffffff"}, 0, "officer_not_granted"),
    "no officer": ({}, {"authid": None}, 0, "officer_not_granted"),
    "past its end": ({"valid_to": "2026-11-21"}, {}, 0, "grant_ended"),
    "on its last day": ({"valid_to": "2026-11-22"}, {}, 0, ""),
    "before its first day": ({"valid_from": "2026-11-23"}, {}, 0, "grant_ended"),
    "withdrawn in this version": ({"until": 3}, {}, 0, "grant_ended"),
    "not yet in this version": ({"since": 4}, {}, 0, "grant_ended"),
    "the last of its quota": ({"quota_per_day": 10}, {}, 9, ""),
    "over its quota": ({"quota_per_day": 10}, {}, 10, "quota_exceeded"),
    "to another audience": ({"audience": POLICE}, {}, 0, "no_grant"),
    "to another system": ({"grantee": POLICE}, {}, 0, "no_grant"),
    "for another type": ({"type": OWNER_LIST}, {}, 0, "no_grant"),
}


@pytest.mark.parametrize("name", GRANTS)
def test_r17_what_is_not_granted_is_refused_by_a_code_of_its_own(name):
    grant, stated, used, code = GRANTS[name]
    world = World.make(version=3, changes={"g-verify": grant})
    found = world.judge(world.envelope(**stated), used=used)
    assert code_of(found) == code
    if isinstance(found, admission.Accepted):
        assert found.leave.rule == "g-verify"


def asked(world: World, **changes: object) -> Exchange:
    found = world.exchange(world.envelope())
    return Exchange(**({name: getattr(found, name) for name in Exchange.__slots__} | changes))


def test_r19_a_reply_without_a_request_is_refused():
    world = World.make()
    assert code_of(world.judge(world.reply(world.envelope()), request=None)) == "reply_unasked"


def test_r19_a_reply_that_names_no_request_has_none_to_be_looked_up():
    world = World.make()
    found = world.read(world.reply(world.envelope(), causationid=None))
    assert isinstance(found, admission.Read)
    assert found.request_key == (FISHERIES, "")


def test_r19_a_reply_to_a_request_of_another_type_is_refused():
    world = World.make()
    lists = world.envelope(
        type=OWNER_LIST, audience=POLICE, dataschema=OWNER_LIST_SCHEMA, body=LIST,
        legalbasis=None, procedure=None, authid=None,
    )  # fmt: skip
    reply = world.reply(world.envelope())
    assert code_of(world.judge(reply, request=world.exchange(lists))) == "reply_unasked"


def test_r19_a_reply_by_another_system_is_refused():
    world = World.make()
    reply = world.reply(world.envelope(), source=POLICE, signer="police")
    assert code_of(world.judge(reply, request=asked(world))) == "reply_source"


def test_r19_the_bridge_answers_for_its_principal_and_not_in_its_own_name():
    world = World.make()
    reply = world.reply(world.envelope(), source=NDXP, signer="ndxp")
    assert code_of(world.judge(reply, request=asked(world))) == "reply_source"


def test_r19_a_second_reply_is_refused():
    world = World.make()
    reply = world.reply(world.envelope())
    assert code_of(world.judge(reply, request=asked(world, reply="sha-256:x"))) == "reply_duplicate"


@pytest.mark.parametrize(("seconds", "code"), [(0, ""), (59, ""), (60, ""), (60.001, "reply_late")])
def test_r19_a_reply_after_the_request_closed_is_refused(seconds, code):
    world = World.make()
    now = NOW + timedelta(seconds=seconds)
    assert code_of(world.judge(world.reply(world.envelope()), request=asked(world), now=now)) == code


def test_r19_a_request_that_awaits_no_answer_gets_none():
    world = World.make()
    reply = world.reply(world.envelope())
    assert code_of(world.judge(reply, request=asked(world, reply_until=None))) == "reply_unasked"


def test_r20_a_suspended_system_sends_nothing():
    world = World.make(changes={FISHERIES: {"status": "suspended"}})
    assert code_of(world.judge(world.envelope())) == "sender_suspended"


def test_r20_a_suspended_bridge_sends_nothing_in_the_name_of_others():
    request = World.make().envelope()
    world = World.make(changes={NDXP: {"status": "suspended"}})
    assert code_of(world.judge(world.reply(request), request=asked(World.make()))) == "sender_suspended"


def test_r20_a_suspended_system_is_not_written_to():
    world = World.make(changes={POPULATION: {"status": "suspended"}})
    assert code_of(world.judge(world.envelope())) == "route"


def test_r20_a_dissolved_agency_opens_nothing():
    world = World.make(changes={"urn:lgsp:agency:H01.12": {"valid_to": "2026-11-21"}})
    assert code_of(world.judge(world.envelope())) == "sender_suspended"


def test_r20_a_dissolved_agency_still_answers_what_it_was_asked():
    world = World.make(changes={"urn:lgsp:agency:G01.02": {"valid_to": "2026-11-21"}})
    found = world.judge(world.reply(world.envelope()), request=asked(World.make()))
    assert isinstance(found, admission.Accepted)


def test_r20_a_dissolved_agency_still_receives_late_replies():
    world = World.make(changes={"urn:lgsp:agency:H01.12": {"valid_to": "2026-11-21"}})
    found = world.judge(world.reply(world.envelope()), request=asked(World.make()))
    assert isinstance(found, admission.Accepted)
    assert found.leave.targets[0].inbox == FISHERIES


def lists_for(audience: str, world: World) -> Wire:
    return world.envelope(
        type=OWNER_LIST, audience=audience, dataschema=OWNER_LIST_SCHEMA, body=LIST,
        legalbasis=None, procedure=None, authid=None,
    )  # fmt: skip


def test_r20_what_is_addressed_to_a_dissolved_agency_goes_to_its_one_successor():
    world = World.make(
        changes={"urn:lgsp:agency:H01.21": {"valid_to": "2026-11-21", "successors": ["urn:lgsp:agency:H01.31"]}}
    )
    found = world.judge(lists_for(POLICE, world))
    assert isinstance(found, admission.Accepted)
    assert [target.receiver for target in found.leave.targets] == [ONE_STOP]
    assert world.directory.stands_for(ONE_STOP, POLICE, OWNER_LIST), "the heir's SDK must take it"


@pytest.mark.parametrize("successors", [[], ["urn:lgsp:agency:H01.31", "urn:lgsp:agency:H01.05"]])
def test_r20_without_one_successor_the_sender_is_told_all_of_them(successors):
    world = World.make(changes={"urn:lgsp:agency:H01.21": {"valid_to": "2026-11-21", "successors": successors}})
    found = world.judge(lists_for(POLICE, world))
    assert isinstance(found, admission.Refused)
    assert found.refusal.code == "audience_dissolved"
    assert found.refusal.facts["successors"] == successors


HEIRS = [(None, "reply_source"), ("2026-11-22", "reply_source"), ("2026-11-21", "")]


@pytest.mark.parametrize(("valid_to", "code"), HEIRS)
def test_r20_an_heir_answers_only_once_the_agency_that_was_asked_is_dissolved(valid_to, code):
    heir = "urn:lgsp:agency:H01.31"
    world = World.make(changes={"urn:lgsp:agency:G01.02": {"valid_to": valid_to, "successors": [heir]}})
    reply = world.reply(world.envelope(), source=ONE_STOP, signer="one-stop")
    assert code_of(world.judge(reply, request=asked(World.make()))) == code


def test_the_days_of_a_grant_are_those_of_the_bus_s_zone():
    """22 November 00:30 in An Giang is still the 21st in UTC."""
    early = datetime.fromisoformat("2026-11-21T17:30:00Z")
    world = World.make(now=early, changes={"g-verify": {"valid_from": "2026-11-22", "valid_to": "2026-11-22"}})
    assert code_of(world.judge(world.envelope())) == ""
    grant = world.directory.grants[FISHERIES, VERIFY][0]
    assert isinstance(grant, records.GrantRecord)
    assert grant.in_force_on(date(2026, 11, 22))


def test_a_signature_proves_nothing_about_another_typ():
    """The typ is under the signature: an ack cannot be made an auth by writing another header."""
    world = World.make()
    signer = world.signers["fisheries"]
    compact = jws.sign(b"{}", typ=statements.ACK, signer=signer)
    header = base64url.decode(compact.split(b".")[0]).replace(b"lgsp-ack", b"lgsp-auth")
    dressed = b".".join([base64url.encode(header).encode(), *compact.split(b".")[1:]])
    with pytest.raises(Refusal) as caught:
        jws.verify(jws.parse(dressed, typ=statements.AUTH), signer.public)
    assert caught.value.code == "signature"
