"""Bundles of evidence: what a bus brings together for one exchange, what of it holds, and that two verifiers, written apart, agree on every change to it."""

from __future__ import annotations

import asyncio
import copy
import importlib.util
import json
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from lgsp.backends.memory import MemoryLedger
from lgsp.bus import retention
from lgsp.bus.evidence import Prover
from lgsp.domain import evidence, evidence_checks, notes, strictjson
from lgsp.domain.evidence_checks import Pins
from lgsp.domain.notes import LOG_KEY, NoteKey
from lgsp.testing.bus import SECRET, ack_of, publish, running_bus
from lgsp.testing.clock import ManualClock
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.world import (
    BUS,
    FISHERIES,
    IOC,
    LOG,
    NDXP,
    ONE_STOP,
    OWNER_LIST,
    OWNER_LIST_SCHEMA,
    POLICE,
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
    store: MemoryLedger

    async def submit(self, wire):
        await self.bus.ingress.submit(wire, peer="test")
        return wire

    async def ack(self, signer, system, wire, **said):
        [ack] = ack_of(self.world, signer, system, wire.hash, **said)
        await self.bus.settlement.acknowledge(system, ack)

    async def prove(self, wire, *, wrap=None, keep=True):
        if keep:
            await self.bus.auditor.keep()
        prover = Prover(store=self.store, bus=BUS, registrar=self.world.signers["registrar"].public, wrap=wrap)
        return await prover.bundle(wire.hash)

    async def answered(self):
        """A request that the bridge took and answered, and the reply, which its asker took."""
        asked = await self.submit(self.world.envelope())
        await self.submit(self.world.envelope(number=7, casefile="H01.12-20261122-0000007"))  # somebody else's
        await self.ack("ndxp", NDXP, asked)
        reply = await self.submit(self.world.reply(asked))
        await self.ack("fisheries", FISHERIES, reply)
        return asked, reply


async def town(run, *, added=()):
    """Run a story in a town of its own and return what it gives."""
    world, store = World.make(added=added), MemoryLedger()
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


@pytest.fixture(scope="module")
def bundles():
    """The bytes of a sound bundle of each story."""
    return {name: evidence.encode(asyncio.run(town(story, added=added))) for name, (story, added) in STORIES.items()}


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
