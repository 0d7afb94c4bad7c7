"""What `lgsp check` says of an envelope that the bus has met before is what the bus says."""

from lgsp.backends.memory import MemoryLedger
from lgsp.bus.refusing import EnvelopeRefused
from lgsp.cli.checking import form_opinion
from lgsp.cli.kept import Kept
from lgsp.cli.keys.commands import P256_ORDER
from lgsp.domain import base64url, keys
from lgsp.domain.envelope import Wire
from lgsp.domain.opinion import LOOK_UP
from lgsp.testing.bus import running_bus
from lgsp.testing.clock import ManualClock
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.world import FISHERIES, World, key_record


def twin_of(wire: Wire) -> Wire:
    """The other valid spelling of an ES256 signature, which needs no key."""
    head, _, signature = wire.compact.rpartition(b".")
    raw = base64url.decode(signature)
    s = P256_ORDER - int.from_bytes(raw[32:], "big")
    return Wire(compact=head + b"." + base64url.encode(raw[:32] + s.to_bytes(32, "big")).encode(), body=wire.body)


async def verdicts(world, accepted, asked):
    """The code of the bus and the opinion of the command about `asked`, once `accepted` was accepted."""
    store = MemoryLedger()
    async with running_bus(world, store, clock=ManualClock(world.now), entropy=SeededEntropy(1)) as bus:
        await bus.ingress.submit(accepted, peer="test")
        kept = Kept(store=store, directory=bus.registry.current, documents=dict(world.documents))
        opinion = await form_opinion(kept, asked, world.now)
        try:
            await bus.ingress.submit(asked, peer="test")
        except EnvelopeRefused as refused:
            return refused.refusal.code, opinion
    return "", opinion


async def test_the_twin_of_an_accepted_es256_signature_is_the_same_envelope_to_command_and_bus():
    signer = keys.p256_from_scalar(20261122)
    world = World.make(added=[key_record(signer, FISHERIES)], signers={"es256": signer})
    wire = world.envelope(signer="es256")
    twin = twin_of(wire)
    code, opinion = await verdicts(world, wire, twin)
    assert twin.hash != wire.hash
    assert (code, opinion.step, opinion.refusal) == ("", LOOK_UP, None)


async def test_another_manifest_under_a_used_id_is_a_conflict_to_command_and_bus():
    world = World.make()
    code, opinion = await verdicts(world, world.envelope(), world.envelope(casefile="H01.12-20261122-0000002"))
    assert code == "id_conflict"
    assert opinion.refusal is not None
    assert (opinion.step, opinion.refusal.code, opinion.refusal.pointer) == (LOOK_UP, "id_conflict", "/id")
