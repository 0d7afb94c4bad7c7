"""Bundles of evidence: what a bus brings together for one exchange, what of it holds, and that two verifiers, written apart, agree on every change to it."""

from __future__ import annotations

import ast
import asyncio
import copy
import importlib.util
import json
import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lgsp.backends.memory import MemoryLedger
from lgsp.backends.sql import PostgresLedger, SqliteLedger
from lgsp.bus import retention
from lgsp.bus.evidence import Prover
from lgsp.domain import checkpoint, directory, evidence, evidence_checks, merkle, notes, statements, strictjson
from lgsp.domain.evidence_checks import Pins
from lgsp.domain.notes import LOG_KEY, WITNESS_KEY, NoteKey
from lgsp.errors import Refusal
from lgsp.ports.ledger import KeepCosigned
from lgsp.ports.store import Store
from lgsp.testing.bus import SECRET, ack_of, publish, running_bus
from lgsp.testing.clock import ManualClock
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.world import (
    BUS,
    FISHERIES,
    GATEWAY,
    IOC,
    LOG,
    NDXP,
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

INDEPENDENT = Path(__file__).parents[2] / "docs/verify_evidence.py"
LINKED = "vn.lgsp.fisheries.vessel.linked.v1"
TOPIC = f"urn:lgsp:topic:{LINKED}"
LINKED_SCHEMA = "urn:lgsp:schema:fisheries:vessel-linked:1.0.0"
EVENTS = [
    {"kind": "service", "id": LINKED, "schemas": [LINKED_SCHEMA], "lane": "event"},
    {"kind": "grant", "id": "g-linked", "grantee": FISHERIES, "type": LINKED, "audience": TOPIC, "since": 1, "basis": "Plan"},
    {"kind": "subscription", "id": "s-police", "subscriber": POLICE, "type": LINKED, "since": 1},
    {"kind": "subscription", "id": "s-ioc", "subscriber": IOC, "type": LINKED, "since": 1},
    {"kind": "subscription", "id": "s-stop", "subscriber": ONE_STOP, "type": LINKED, "since": 1, "until": 2},
]  # fmt: skip
UNASKED = dict.fromkeys(("purpose", "legalbasis", "procedure", "casefile", "authid"))
VESSEL = {
    "registration": "AG-00001-TS",
    "communeCode": "30742",
    "orgcat": "2025-07",
    "linkedOn": "2026-11-22",
    "lengthClass": "from15",
}
LIST = {
    "listId": "H01.12-0000001",
    "asOf": "2026-11-22",
    "orgcat": "2025-07",
    "rows": [{"registration": "AG-00001-TS", "ownerName": "NGUYỄN VĂN AN", "communeCode": "30742"}],
}
WITNESS = signer_named("witness")


@dataclass(slots=True, kw_only=True)
class Town:
    """A running bus with its world, clock and store."""

    bus: object
    world: World
    clock: ManualClock
    store: Store

    async def submit(self, wire):
        await self.bus.ingress.submit(wire, peer="test")
        return wire

    async def ack(self, signer, system, wire, **said):
        [ack] = ack_of(self.world, signer, system, wire.hash, **said)
        await self.bus.settlement.acknowledge(system, ack)

    async def prove(self, wire, *, wrap=None, keep=True, **bounds):
        if keep:
            await self.bus.auditor.keep()
        registrar = self.world.signers["registrar"].public
        prover = Prover(store=self.store, bus=BUS, registrar=registrar, wrap=wrap, **bounds)
        return await prover.bundle(wire.hash)

    async def answered(self):
        """A request that the bridge took and answered, and the reply, which its asker took."""
        asked = await self.submit(self.world.envelope())
        await self.submit(self.world.envelope(number=7, casefile="H01.12-20261122-0000007"))  # somebody else's
        await self.ack("ndxp", NDXP, asked)
        reply = await self.submit(self.world.reply(asked))
        await self.ack("fisheries", FISHERIES, reply)
        return asked, reply


async def town(run, *, added=(), store=None):
    """Run a story in a town of its own and return what it gives."""
    world, store = World.make(added=added), store or MemoryLedger()
    clock = ManualClock(world.now)
    async with running_bus(world, store, clock=clock, entropy=SeededEntropy(1, clock)) as bus:
        return await run(Town(bus=bus, world=world, clock=clock, store=store))


def pins_of(world, *witnesses):
    log = NoteKey(name=LOG, kind=LOG_KEY, public=world.signers["log"].public.x)
    return Pins(bus=BUS, registrar=world.signers["registrar"].public, log=log, witnesses=witnesses)


def trust_of(pins):
    """The bytes of a trust file with these pins."""
    members = {"bus": pins.bus, "registrar": pins.registrar.jwk, "log": notes.format_vkey(pins.log)}
    if pins.witnesses:
        members["witnesses"] = list(map(notes.format_vkey, pins.witnesses))
    return strictjson.compact(members)


WORLD = World.make()
PINS = pins_of(WORLD)


# --- stories: each a bundle that holds ------------------------------------------------------------------------------------------------------


async def answered(town):
    asked, _ = await town.answered()
    return await town.prove(asked)


async def asked_with_body(town):
    asked = await town.submit(town.world.envelope())
    return await town.prove(asked, wrap=SECRET)


async def event(town):
    wire = await town.submit(
        town.world.envelope(type=LINKED, audience=TOPIC, dataschema=LINKED_SCHEMA, body=VESSEL, **UNASKED)
    )
    await town.ack("police", POLICE, wire)
    await town.ack("ioc", IOC, wire, outcome="rejected", code="vessel_unknown")
    return await town.prove(wire)


async def to_an_agency(town):
    wire = await town.submit(
        town.world.envelope(
            type=OWNER_LIST,
            audience="urn:lgsp:agency:H01.21",
            dataschema=OWNER_LIST_SCHEMA,
            body=LIST,
            **UNASKED | {"purpose": "dpv:IdentityVerification", "legalbasis": "dpv:LegalObligation"},
        )
    )
    await town.ack("police", POLICE, wire)
    return await town.prove(wire)


async def forgotten(town):
    asked, reply = await town.answered()
    town.clock.advance(timedelta(days=60).total_seconds())
    for _ in range(3):
        await town.bus.sweep.once()
        town.clock.advance(retention.EVERY.total_seconds())
    assert await town.store.exchange_of(asked.hash) is None
    assert await town.store.exchange_of(reply.hash) is None
    return await town.prove(asked, wrap=SECRET)


async def with_a_later_key(town):
    """The bridge acks with a key that it got after the acceptance; the one of before has ended."""
    asked = await town.submit(town.world.envelope())
    town.clock.advance(60)
    later = signer_named("ndxp later")
    old = town.world.signers["ndxp"].kid
    following = World.make(
        version=2,
        now=town.clock.now(),
        prev=town.world.directory.hash,
        changes={old: {"until": 2}},
        added=[key_record(later, NDXP, since=2)],
    )
    await publish(town.bus, following)
    town.world = replace(following, signers=following.signers | {"later": later})
    await town.ack("later", NDXP, asked)
    return await town.prove(asked)


async def not_taken_yet(town):
    asked, _ = await town.answered()
    unasked = await town.submit(town.world.envelope(number=9))
    assert asked.hash != unasked.hash
    return await town.prove(unasked)


STORIES = {
    "answered": (answered, ()),
    "with its body": (asked_with_body, ()),
    "an event": (event, EVENTS),
    "to an agency": (to_an_agency, ({
        "kind": "grant", "id": "g-agency", "grantee": "urn:lgsp:agency:H01.12", "type": OWNER_LIST, "audience": "urn:lgsp:agency:H01.21",
        "purposes": ["dpv:IdentityVerification"], "legalbases": ["dpv:LegalObligation"], "since": 1, "basis": "Plan",
    },)),
    "forgotten": (forgotten, ()),
    "with a later key": (with_a_later_key, ()),
    "not taken yet": (not_taken_yet, ()),
}  # fmt: skip


class Bundles(dict):
    """The bytes of bundles by their stories; shown in a failure by their names alone."""

    def __repr__(self):
        return f"Bundles({', '.join(self)})"


@pytest.fixture(scope="module")
def bundles():
    """A sound bundle of each story."""
    made = {name: asyncio.run(town(story, added=added)) for name, (story, added) in STORIES.items()}
    return Bundles({name: evidence.encode(bundle) for name, bundle in made.items()})


@pytest.fixture(scope="module")
def independent():
    """The verifier of the documents, as a module: for more bundles than processes could be started for."""
    spec = importlib.util.spec_from_file_location("verify_evidence", INDEPENDENT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def first_failing(data, pins=PINS):
        step = ""
        try:
            for step in module.check(data, json.loads(trust_of(pins))):  # noqa: B007 - the last one is where it ended
                pass
        except Exception:  # noqa: BLE001 - the program itself takes whatever it raises for a no
            return step
        return None

    return first_failing


def ours(data, pins=PINS):
    """The first check that fails, None when all hold."""
    verdict = evidence_checks.verify(data, pins)
    assert (verdict.failure is None) == (verdict.proven is not None)
    return None if verdict.failure is None else verdict.failure.name


@pytest.mark.parametrize("story", STORIES)
def test_both_verifiers_find_a_sound_bundle_sound(bundles, independent, story):
    verdict = evidence_checks.verify(bundles[story], PINS)
    assert verdict.failure is None, verdict.failure
    assert independent(bundles[story]) is None


# --- changes to the file --------------------------------------------------------------------------------------------------------------------


def places(value, path=()):
    """Every place in a JSON value, containers before what is in them."""
    yield path, value
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in inner:
        yield from places(each, (*path, name))


def changed(value, path, change):
    """A copy in which `change` was called with the container at a path and the last step to it."""
    found = copy.deepcopy(value)
    holder = found
    for step in path[:-1]:
        holder = holder[step]
    change(holder, path[-1])
    return found


def flip(holder, name):
    value = holder[name]
    if isinstance(value, int):
        holder[name] = value + 1
    else:
        middle = len(value) // 2
        holder[name] = value[:middle] + ("B" if value[middle] != "B" else "C") + value[middle + 1 :]


def drop(holder, name):
    del holder[name]


def repeat(holder, name):
    holder.insert(name, holder[name])


def written(value):
    return strictjson.compact(value)


@pytest.mark.parametrize("story", ["answered", "with its body", "an event", "with a later key"])
def test_every_changed_member_is_found_by_both_at_the_same_check(bundles, independent, story):
    bundle = json.loads(bundles[story])
    leaves = [path for path, value in places(bundle) if isinstance(value, str | int)]
    assert len(leaves) > 60
    judged = {path: written(changed(bundle, path, flip)) for path in leaves}
    verdicts = {path: (ours(data), independent(data)) for path, data in judged.items()}
    assert {path: found for path, found in verdicts.items() if None in found or len(set(found)) > 1} == {}


@pytest.mark.parametrize("story", ["answered", "with its body", "an event", "with a later key"])
def test_of_what_is_taken_away_or_stands_twice_both_say_the_same(bundles, independent, story):
    bundle = json.loads(bundles[story])
    inner = [(path, value) for path, value in places(bundle) if path]
    cuts = [written(changed(bundle, path, drop)) for path, _ in inner]
    cuts += [written(changed(bundle, path, repeat)) for path, _ in inner if isinstance(path[-1], int)]
    verdicts = [(ours(data) is None, independent(data) is None) for data in cuts]
    assert [number for number, (one, other) in enumerate(verdicts) if one != other] == []
    assert verdicts.count((True, True)) < len(verdicts) / 4


def test_a_bundle_without_its_body_is_as_good_as_one_with_it(bundles, independent):
    whole = json.loads(bundles["with its body"])
    erased = written(changed(whole, ("message", "body"), drop))
    assert (ours(erased), independent(erased)) == (None, None)
    held = evidence_checks.verify(bundles["with its body"], PINS).proven.message
    gone = evidence_checks.verify(erased, PINS).proven.message
    assert (json.loads(held.body)["birthDate"], gone.body) == ("1985", None)


def with_(path, value):
    def put(bundle):
        return changed(bundle, path, lambda holder, name: holder.__setitem__(name, value))

    return put


def swapped(one, other):
    def swap(bundle):
        found = copy.deepcopy(bundle)
        (*to_one, first), (*to_other, second) = one, other
        holders = [found, found]
        for number, steps in enumerate((to_one, to_other)):
            for step in steps:
                holders[number] = holders[number][step]
        holders[0][first], holders[1][second] = holders[1][second], holders[0][first]
        return found

    return swap


TAMPERED = {
    "another form": ("form", with_(("form",), "lgsp-evidence.v2")),
    "a member more": ("form", with_(("note",), "see me")),
    "another bus": ("bus", with_(("bus",), "urn:lgsp:bus:92")),
    "no version of the directory": ("envelope", with_(("directories",), [])),
    "no record": ("envelope", with_(("directories", 0, "records"), [])),
    "no entry": ("entry", with_(("entries",), [])),
    "the receipt of the reply": ("receipt", swapped(("message", "receipt"), ("reply", "receipt"))),
    "the envelope of the reply": ("receipt", swapped(("message", "envelope"), ("reply", "envelope"))),
    "message for reply": ("entry", swapped(("message",), ("reply",))),
    "the acks of the reply": ("ack", swapped(("message", "acks"), ("reply", "acks"))),
    "two entries that changed places": ("log", swapped(("entries", 0), ("entries", 1))),
    "the bytes of another entry": ("log", swapped(("entries", 0, "entry"), ("entries", 1, "entry"))),
    "the path of another entry": ("log", swapped(("entries", 0, "path"), ("entries", 1, "path"))),
    "a body that was not sent": ("body", with_(("message", "body"), "e30")),
    "no ack": ("ack", with_(("message", "acks"), [])),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_what_was_put_in_place_of_something_is_found_at_the_check_it_breaks(bundles, independent, what):
    check, change = TAMPERED[what]
    data = written(change(json.loads(bundles["answered"])))
    assert (ours(data), independent(data)) == (check, check)


# --- what was signed, by those who may, and does not fit ------------------------------------------------------------------------------------


def under_another_directory(bundle, *, changes=None, added=()):
    """The bundle with the same records out of a first version that the registrar signed otherwise."""
    world = World.make(changes=changes, added=added)
    wanted = {(record["kind"], record["id"]) for record in map(json.loads, _records(bundle))}
    placed = directory.place(world.directory, wanted | {(each["kind"], each["id"]) for each in added})
    excerpt = evidence.Excerpt(statement=world.directory.statement, records=placed)
    return replace(bundle, directories=(excerpt,))


def _records(bundle):
    return [each.record for excerpt in bundle.directories for each in excerpt.records]


def ended(name):
    return {"changes": {name: {"since": 2}}}


SIGNER = signer_named
DIRECTORIES = {
    "a key of the sender that begins later": ("envelope", ended(SIGNER("fisheries").kid)),
    "a key of the sender that ended": ("envelope", {"changes": {SIGNER("fisheries").kid: {"until": 1}}}),
    "a sender's key that is another's": ("sender", {"changes": {SIGNER("fisheries").kid: {"owner": POLICE}}}),
    "a gateway's key that ended": ("receipt", {"changes": {SIGNER("gateway").kid: {"until": 1}}}),
    "a gateway's key of another gateway": ("receipt", {"changes": {SIGNER("gateway").kid: {"owner": f"{BUS}:gw:b"}}}),
    "a receiver's key that ended": ("ack", {"changes": {SIGNER("ndxp").kid: {"until": 1}}}),
    "a grant that begins later": ("leave", ended("g-verify")),
    "a grant for another purpose": ("leave", {"changes": {"g-verify": {"purposes": ["dpv:Marketing"]}}}),
    "a grant for another procedure": ("leave", {"changes": {"g-verify": {"procedures": ["1.000001"]}}}),
    "a grant for another officer": ("leave", {"changes": {"g-verify": {"officers": ["0a1b2c"]}}}),
    "another's grant": ("leave", {"changes": {"g-verify": {"grantee": ONE_STOP}}}),
    "a grant for another audience": ("leave", {"changes": {"g-verify": {"audience": POLICE}}}),
    "a grant whose days are over": ("leave", {"changes": {"g-verify": {"valid_to": "2026-11-21"}}}),
    "a service with another schema": ("leave", {"changes": {VERIFY: {"schemas": [OWNER_LIST_SCHEMA]}}}),
    "a sender that is suspended": ("leave", {"changes": {FISHERIES: {"status": "suspended"}}}),
    "a sender whose agency is no more": (
        "leave",
        {"changes": {"urn:lgsp:agency:H01.12": {"valid_to": "2026-11-21"}}},
    ),
    "no delegation": ("ack", ended("d-population")),
    "a delegation for other types": ("ack", {"changes": {"d-population": {"types": ["vn.lgsp.fisheries.*"]}}}),
    "another key of the log": ("checkpoint", {"changes": {SIGNER("log").kid: None}, "added": [key_record(SIGNER("x"), BUS, "log")]}),
}  # fmt: skip


@pytest.mark.parametrize("what", DIRECTORIES)
def test_what_the_directory_does_not_allow_is_found_whoever_signed_it(bundles, independent, what):
    check, change = DIRECTORIES[what]
    data = evidence.encode(under_another_directory(evidence.parse(bundles["answered"]), **change))
    assert ours(data) == check
    if check != "checkpoint":  # the program of the documents pins the log's key alone
        assert independent(data) == check


def test_a_quota_is_counted_by_the_bus_and_by_no_bundle(bundles, independent):
    changes = {"g-verify": {"quota_per_day": 1}}
    data = evidence.encode(under_another_directory(evidence.parse(bundles["answered"]), changes=changes))
    assert (ours(data), independent(data)) == (None, None)


def relogged(bundle, change):
    """The bundle in a log whose key and gateway lied: entries changed, the tree, the checkpoint and the receipts made anew over them."""
    entries = {each.index: change(json.loads(each.entry)) for each in bundle.entries}
    data = {index: strictjson.compact(members) for index, members in entries.items() if members is not None}
    leaves = [merkle.leaf_hash(data.get(index, b"another's")) for index in range(max(entries) + 3)]
    root, paths = merkle.batch_paths(leaves)
    body = checkpoint.checkpoint_body(checkpoint.Checkpoint(origin=LOG, size=len(leaves), root=root))
    log = WORLD.signers["log"]
    logged = tuple(evidence.Logged(index=index, entry=entry, path=tuple(paths[index])) for index, entry in data.items())
    return replace(
        bundle,
        checkpoint=notes.sign_note(body, LOG, log.sign, log.public.x),
        entries=logged,
        message=_receipted(bundle.message, leaves),
        reply=_receipted(bundle.reply, leaves) if bundle.reply else None,
    )


def _receipted(part, leaves, **changes):
    item = json.loads(part.receipt.item)
    item |= {"leaf": statements.written_hash(leaves[item["index"]])} | changes
    head = statements.receipt_head(gateway=GATEWAY, at=WORLD.now, log=LOG, policy=1)
    signer = WORLD.signers["gateway"]
    [receipt] = statements.sign_batch([strictjson.compact(item)], head, typ=statements.RECEIPT, signer=signer)
    return replace(part, receipt=receipt)


def saying(event, **members):
    """Change the first entry of an event."""
    left = [event]

    def change(entry):
        if left and entry["ev"] == event:
            left.pop()
            return {name: value for name, value in (entry | members).items() if value is not None}
        return entry

    return change


LIES = {
    "the truth": (None, saying("msg.nothing")),
    "another grant": ("leave", saying("msg.accepted", rule="g-applicants")),
    "another purpose": ("entry", saying("msg.accepted", purpose="dpv:Marketing")),
    "another sender": ("entry", saying("msg.accepted", src=POLICE)),
    "another receiver": ("entry", saying("msg.accepted", aud=POLICE)),
    "another gateway": ("entry", saying("msg.accepted", bus=f"{BUS}:gw:b")),
    "another version": ("entry", saying("msg.accepted", policy=2)),
    "another key": ("entry", saying("msg.accepted", kid=SIGNER("police").kid)),
    "another schema": ("entry", saying("msg.accepted", schema=OWNER_LIST_SCHEMA)),
    "a cause for a request": ("entry", saying("msg.accepted", cause="sha-256:" + "A" * 43)),
    "another ack": ("ack", saying("msg.acked", stmt="sha-256:" + "A" * 43)),
    "an ack by another": ("ack", saying("msg.acked", to=POLICE)),
    "another end than the ack": ("ack", saying("msg.acked", code="rejected")),
    "another number": ("log", saying("msg.acked", seq=3)),
    "another's envelope": ("log", saying("msg.acked", env="sha-256:" + "A" * 43)),
    "no ack": ("ack", lambda entry: None if entry["ev"] == "msg.acked" else entry),
    "no acceptance": ("entry", lambda entry: None if entry["ev"] == "msg.accepted" else entry),
    "a reply long after its time": (
        "leave",
        lambda entry: entry | {"ts": "2027-11-22T00:16:31.123Z"} if "cause" in entry else entry,
    ),
    "no grant": ("leave", saying("msg.accepted", rule=None)),
}


@pytest.mark.parametrize("what", LIES)
def test_a_log_that_says_something_else_than_was_signed_is_found(bundles, independent, what):
    check, change = LIES[what]
    data = evidence.encode(relogged(evidence.parse(bundles["answered"]), change))
    assert (ours(data), independent(data)) == (check, check)


def test_a_receipt_of_a_refusal_is_none(bundles, independent):
    bundle = evidence.parse(bundles["with its body"])
    leaves = {each.index: merkle.leaf_hash(each.entry) for each in bundle.entries}
    refused = replace(bundle, message=_receipted(bundle.message, leaves, outcome="rejected", code="no_grant"))
    data = evidence.encode(refused)
    assert (ours(data), independent(data)) == ("receipt", "receipt")


def test_every_pinned_witness_has_to_have_signed(bundles, independent):
    bundle = evidence.parse(bundles["answered"])
    body = bundle.checkpoint.partition("\n\n")[0] + "\n"
    name, public = "ndxp.example.vn/witness/1", WITNESS.public.x
    line = notes.cosign_note(body, name, WITNESS.sign, public, 1_795_306_800)
    pins = pins_of(WORLD, NoteKey(name=name, kind=WITNESS_KEY, public=public))
    plain, cosigned = bundles["answered"], evidence.encode(replace(bundle, checkpoint=bundle.checkpoint + line))
    assert (ours(plain, pins), independent(plain, pins)) == ("checkpoint", "checkpoint")
    assert (ours(cosigned, pins), independent(cosigned, pins)) == (None, None)
    assert (ours(cosigned), independent(cosigned)) == (None, None)


@pytest.mark.parametrize("role", ["registrar", "log"])
def test_a_bundle_of_another_trust_file_does_not_hold(bundles, independent, role):
    pins = pins_of(replace(WORLD, signers=WORLD.signers | {role: SIGNER("somebody else")}))
    check = {"registrar": "directory", "log": "checkpoint"}[role]
    assert (ours(bundles["answered"], pins), independent(bundles["answered"], pins)) == (check, check)


NOT_STRICT = {
    "nothing": b"",
    "no JSON": b"evidence",
    "no object": b"[]",
    "another encoding": '{"form":"lgsp-evidence.v1"}'.encode("utf-16"),
    "a name twice": None,
    "no number": b'{"form":NaN}',
    "a lone surrogate": b'{"form":"\\ud800"}',
    "a thousand levels": b"[" * 1000 + b"]" * 1000,
}


@pytest.mark.parametrize("what", NOT_STRICT)
def test_what_is_not_strict_json_of_the_form_is_no_bundle(bundles, independent, what):
    twice = bundles["answered"].replace(b'{"form"', b'{"bus":"urn:lgsp:bus:91","form"', 1)
    data = twice if NOT_STRICT[what] is None else NOT_STRICT[what]
    assert (ours(data), independent(data)) == ("form", "form")


def test_a_bundle_larger_than_its_bound_is_not_read():
    assert ours(b" " * (evidence.BUNDLE_MAX + 1)) == "form"


# --- random damage to what is signed --------------------------------------------------------------------------------------------------------

SIGNED = ("checkpoint", "entry", "record", "statement", "envelope", "jws", "item", "body")


@settings(max_examples=200, deadline=None)
@given(which=st.integers(0, 2**16), where=st.integers(0, 2**16), bits=st.integers(1, 127))
def test_a_byte_that_was_flipped_anywhere_in_what_is_signed_is_found_by_both(bundles, independent, which, where, bits):
    bundle = json.loads(bundles[("answered", "an event", "with its body")[which % 3]])
    signed = [(path, value) for path, value in places(bundle) if path and path[-1] in SIGNED and isinstance(value, str)]
    path, value = signed[which % len(signed)]
    raw = bytearray(value.encode())
    raw[where % len(raw)] ^= bits
    text = raw.decode("utf-8", "replace")
    tampered = written(changed(bundle, path, lambda holder, name: holder.__setitem__(name, text)))
    # One may find at the form what the other finds where it is used.
    assert None not in {ours(tampered), independent(tampered)}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(which=st.integers(0, 2**16), value=JSON)
def test_whatever_stands_in_a_place_both_give_the_same_verdict_and_neither_fails(bundles, independent, which, value):
    bundle = json.loads(bundles[("answered", "an event", "with its body", "not taken yet")[which % 4]])
    path, _ = [each for each in places(bundle) if each[0]][which % sum(1 for _ in places(bundle)) - 1]
    data = written(changed(bundle, path, lambda holder, name: holder.__setitem__(name, value)))
    assert (ours(data) is None) == (independent(data) is None)


@settings(max_examples=100, deadline=None)
@given(value=JSON)
def test_no_json_is_a_bundle_by_chance(independent, value):
    assert None not in {ours(written(value)), independent(written(value))}


# --- the program of the documents as a process of its own -----------------------------------------------------------------------------------


def apart(tmp_path, data, pins=PINS):
    """Run the program without the paths, settings and packages of whoever runs the tests, but for `cryptography`."""
    (tmp_path / "evidence.json").write_bytes(data)
    (tmp_path / "trust.json").write_bytes(trust_of(pins))
    command = [sys.executable, "-I", str(INDEPENDENT), "evidence.json", "trust.json"]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("story", STORIES)
def test_the_program_of_the_documents_finds_a_sound_bundle_sound(tmp_path, bundles, story):
    ended = apart(tmp_path, bundles[story])
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines()[-1] == "every check holds"


@pytest.mark.parametrize("what", ["another bus", "the receipt of the reply", "no ack", "a body that was not sent"])
def test_the_program_of_the_documents_names_the_check_that_fails(tmp_path, bundles, what):
    check, change = TAMPERED[what]
    ended = apart(tmp_path, written(change(json.loads(bundles["answered"]))))
    assert (ended.returncode, ended.stderr) == (3, "")
    assert ended.stdout.splitlines()[-1].startswith(f"FAILED {check}: ")


def test_the_program_of_the_documents_stands_alone_and_can_be_read_in_one_go():
    source = INDEPENDENT.read_text(encoding="utf-8")
    imported = {
        alias.name.partition(".")[0] if isinstance(node, ast.Import) else node.module.partition(".")[0]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert imported - sys.stdlib_module_names == {"cryptography"}
    assert len(source.splitlines()) <= 250


# --- what a bus gives out -------------------------------------------------------------------------------------------------------------------


def test_a_bundle_holds_the_records_of_its_exchange_and_nobody_elses(bundles):
    held = {(record["kind"], record["id"]) for record in map(json.loads, _records(evidence.parse(bundles["answered"])))}
    agencies = {"urn:lgsp:agency:H01.12", "urn:lgsp:agency:G01.02", "urn:lgsp:agency:H01.05"}
    assert {name for kind, name in held if kind == "agency"} == agencies
    assert {name for kind, name in held if kind == "system"} == {FISHERIES, POPULATION, NDXP}
    keys = {name for kind, name in held if kind == "key"}
    assert keys == {SIGNER(name).kid for name in ("fisheries", "ndxp", "gateway", "log")}
    assert {name for kind, name in held if kind in {"grant", "delegation", "service"}} == {
        "g-verify",
        "d-population",
        VERIFY,
    }


def test_a_bundle_holds_no_entry_and_no_word_of_another_exchange(bundles):
    bundle = evidence.parse(bundles["answered"])
    entries = [json.loads(each.entry) for each in bundle.entries]
    assert [entry["ev"] for entry in entries] == ["msg.accepted", "msg.acked", "msg.accepted", "msg.acked"]
    assert b"0000007" not in bundles["answered"]
    assert bundle.message.body is None


async def test_the_bundle_of_a_reply_is_that_of_its_request():
    async def both(town):
        asked, reply = await town.answered()
        return await town.prove(asked), await town.prove(reply)

    one, other = await town(both)
    assert one == other


async def test_what_the_kept_checkpoint_does_not_cover_is_left_out_or_refused():
    async def story(town):
        asked = await town.submit(town.world.envelope())
        early = await town.prove(asked)
        await town.ack("ndxp", NDXP, asked)
        reply = await town.submit(town.world.reply(asked))
        with pytest.raises(Refusal) as refused:
            await town.prove(reply, keep=False)
        return early, await town.prove(asked, keep=False), refused.value

    early, again, refused = await town(story)
    assert early == again
    assert ours(evidence.encode(early)) is None
    assert (refused.code, "the kept checkpoint covers" in refused.detail) == ("not_found", True)


async def test_of_what_was_never_accepted_there_is_no_bundle():
    async def story(town):
        with pytest.raises(Refusal) as refused:
            await town.prove(town.world.envelope())
        return refused.value.code

    assert await town(story) == "not_found"


async def test_what_is_catalogued_and_what_is_not_yet_give_the_same_bundle():
    async def story(town):
        asked, _ = await town.answered()
        before = await town.prove(asked)
        await town.bus.sweep.once()
        assert await town.store.catalogued() > 0
        return before, await town.prove(asked, keep=False)

    before, after = await town(story)
    assert before == after


@pytest.fixture(params=["sqlite", "postgresql"])
async def engine(request, tmp_path, emptied):
    """An empty ledger on an engine that keeps what it is told."""
    if request.param == "sqlite":
        made = SqliteLedger.open(tmp_path / "bus.sqlite", create=True)
    else:
        made = await PostgresLedger.open(await emptied(), create=True)
    yield made
    await made.close()


async def test_every_engine_gives_a_bundle_that_holds_of_what_it_has_forgotten(engine, independent, bundles):
    data = evidence.encode(await town(forgotten, store=engine))
    assert (ours(data), independent(data)) == (None, None)
    shown, wanted = evidence.parse(data), evidence.parse(bundles["forgotten"])
    assert (shown.message.compact, shown.reply.compact) == (wanted.message.compact, wanted.reply.compact)
    assert [len(part.acks) for part in (shown.message, shown.reply)] == [1, 1]


async def test_a_log_that_is_hardly_catalogued_is_not_read_without_end():
    async def story(town):
        asked, _ = await town.answered()
        await town.bus.auditor.keep()
        with pytest.raises(Refusal) as refused:
            await town.prove(asked, keep=False, looked_through=2)
        return refused.value

    refused = await town(story)
    assert (refused.code, "not catalogued so far yet" in refused.detail) == ("unavailable", True)


async def test_a_body_whose_key_is_another_is_lost_and_said_so():
    async def story(town):
        asked = await town.submit(town.world.envelope())
        with pytest.raises(Refusal) as refused:
            await town.prove(asked, wrap=b"x" * 32)
        return refused.value.code

    assert await town(story) == "body_lost"


@pytest.mark.parametrize("origin", [LOG, "lgsp.example.vn/91/2026-2"])
async def test_what_a_witness_has_co_signed_of_the_same_log_is_given_where_it_covers_the_exchange(origin):
    async def story(town):
        asked, _ = await town.answered()
        note = (await town.prove(asked)).checkpoint
        body = note.partition("\n\n")[0] + "\n"
        line = notes.cosign_note(body, "ndxp.example.vn/witness/1", WITNESS.sign, WITNESS.public.x, 1_795_306_800)
        size = checkpoint.stated_size(note)
        await town.bus.sequencer.submit(KeepCosigned(size=size, note=note.replace(LOG, origin) + line))
        later = await town.submit(town.world.envelope(number=9))
        return await town.prove(asked), await town.prove(later), size

    covered, later, size = await town(story)
    assert ("ndxp.example.vn/witness/1" in covered.checkpoint) == (origin == LOG)
    assert (checkpoint.stated_size(covered.checkpoint) == size) == (origin == LOG)
    assert "ndxp.example.vn/witness/1" not in later.checkpoint
    assert (ours(evidence.encode(covered)), ours(evidence.encode(later))) == (None, None)
