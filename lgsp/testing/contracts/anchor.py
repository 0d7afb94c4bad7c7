"""What every witness promises: it co-signs a log that grows, and nothing that contradicts what it has co-signed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from lgsp.domain import merkle, notes
from lgsp.domain.checkpoint import Checkpoint, checkpoint_body, open_checkpoint
from lgsp.domain.keys import PrivateKey
from lgsp.domain.notes import LOG_KEY, NoteKey
from lgsp.ports.anchor import Anchor, AnchorAway, Cosigned, HoldsSize, OtherRoot
from lgsp.testing.world import LOG, signer_named


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeLog:
    """A log of made-up leaves, as the fixture's witness knows it."""

    origin: str = LOG
    signer: PrivateKey = field(default_factory=lambda: signer_named("log"))
    leaves: tuple[bytes, ...] = tuple(merkle.leaf_hash(bytes([number])) for number in range(40))

    @property
    def key(self) -> NoteKey:
        """What the witness knows it by."""
        return NoteKey(name=self.origin, kind=LOG_KEY, public=self.signer.public.x)

    def note(self, size: int) -> str:
        """Return the signed checkpoint over the first leaves."""
        stated = Checkpoint(origin=self.origin, size=size, root=merkle.root(self.leaves[:size]))
        return notes.sign_note(checkpoint_body(stated), self.origin, self.signer.sign, self.signer.public.x)

    def path(self, old: int, new: int) -> list[bytes]:
        """Return the consistency path between two sizes."""
        return merkle.consistency_path(self.leaves[:new], old)

    def changed(self, place: int) -> MadeLog:
        """Return the same log with one leaf changed."""
        leaves = list(self.leaves)
        leaves[place] = merkle.leaf_hash(b"another")
        return MadeLog(origin=self.origin, signer=self.signer, leaves=tuple(leaves))


class AnchorContract:
    """Promises of `lgsp.ports.anchor`; the fixture `anchor` is a witness that has seen nothing and knows `MadeLog()`."""

    log = MadeLog()

    async def grow(self, anchor: Anchor, *sizes: int) -> None:
        """Have the log co-signed at these sizes, one after the other."""
        for old, new in zip((0, *sizes), sizes, strict=False):
            answer = await anchor.add_checkpoint(old, self.log.path(old, new), self.log.note(new))
            assert isinstance(answer, Cosigned)

    async def test_a_first_checkpoint_is_cosigned(self, anchor: Anchor) -> None:
        answer = await anchor.add_checkpoint(0, [], self.log.note(7))
        assert isinstance(answer, Cosigned)
        assert open_checkpoint(self.log.note(7) + answer.lines, self.log.key, [anchor.key]).size == 7

    async def test_a_log_over_nothing_is_cosigned(self, anchor: Anchor) -> None:
        assert isinstance(await anchor.add_checkpoint(0, [], self.log.note(0)), Cosigned)

    async def test_a_log_that_grows_is_cosigned_whatever_its_sizes(self, anchor: Anchor) -> None:
        await self.grow(anchor, *range(1, 41))

    async def test_a_log_that_grows_by_leaps_is_cosigned(self, anchor: Anchor) -> None:
        await self.grow(anchor, 3, 8, 21, 32, 40)

    async def test_the_same_checkpoint_is_cosigned_again(self, anchor: Anchor) -> None:
        await self.grow(anchor, 7)
        assert isinstance(await anchor.add_checkpoint(7, [], self.log.note(7)), Cosigned)

    @pytest.mark.parametrize("old", [0, 3, 6])
    async def test_it_tells_the_size_that_it_has_seen(self, anchor: Anchor, old: int) -> None:
        await self.grow(anchor, 5, 7)
        answer = await anchor.add_checkpoint(old, self.log.path(old, 9), self.log.note(9))
        assert answer == HoldsSize(size=7)

    async def test_a_shorter_log_learns_that_more_was_seen(self, anchor: Anchor) -> None:
        await self.grow(anchor, 5, 20)
        assert await anchor.add_checkpoint(5, self.log.path(5, 9), self.log.note(9)) == HoldsSize(size=20)
        assert await anchor.add_checkpoint(0, [], self.log.note(0)) == HoldsSize(size=20)

    async def test_another_root_for_a_size_is_not_cosigned(self, anchor: Anchor) -> None:
        await self.grow(anchor, 7)
        assert await anchor.add_checkpoint(7, [], self.log.changed(2).note(7)) == OtherRoot()

    @pytest.mark.parametrize("place", [0, 6])
    async def test_a_log_that_was_changed_is_not_cosigned(self, anchor: Anchor, place: int) -> None:
        await self.grow(anchor, 7)
        other = self.log.changed(place)
        assert await anchor.add_checkpoint(7, other.path(7, 20), other.note(20)) == OtherRoot()
        await self.grow_on(anchor, 7, 20)

    async def grow_on(self, anchor: Anchor, old: int, new: int) -> None:
        """Show that a refusal left nothing behind."""
        assert isinstance(await anchor.add_checkpoint(old, self.log.path(old, new), self.log.note(new)), Cosigned)

    @pytest.mark.parametrize("path", [[], [bytes(32)], [bytes(32)] * 60])
    async def test_a_path_that_proves_nothing_is_not_enough(self, anchor: Anchor, path: list[bytes]) -> None:
        await self.grow(anchor, 7)
        assert await anchor.add_checkpoint(7, path, self.log.note(20)) == OtherRoot()

    async def test_a_log_that_it_does_not_know_gets_no_word(self, anchor: Anchor) -> None:
        stranger = MadeLog(origin=f"{LOG}/other")
        with pytest.raises(AnchorAway):
            await anchor.add_checkpoint(0, [], stranger.note(7))

    async def test_a_checkpoint_that_the_log_did_not_sign_gets_no_word(self, anchor: Anchor) -> None:
        forged = MadeLog(signer=signer_named("registrar"))
        with pytest.raises(AnchorAway):
            await anchor.add_checkpoint(0, [], forged.note(7))
        await self.grow(anchor, 5)

    async def test_of_two_checkpoints_that_come_at_once_after_one_size_the_second_learns_of_the_first(
        self, anchor: Anchor
    ) -> None:
        await self.grow(anchor, 5)
        answers = await asyncio.gather(
            *(anchor.add_checkpoint(5, self.log.path(5, size), self.log.note(size)) for size in (7, 9))
        )
        assert [type(answer) for answer in answers].count(Cosigned) == 1
        assert {HoldsSize(size=7), HoldsSize(size=9)} & set(answers)
