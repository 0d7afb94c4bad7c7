"""Body keys: one AES-256 key a day, wrapped under a key file, so that destroying a day's key erases the day's bodies (protocol section 6)."""

from __future__ import annotations

from dataclasses import dataclass, field

from lgsp.bus.sequencer import Sequencer
from lgsp.domain import sealing
from lgsp.domain.directory import day_of
from lgsp.domain.sealing import SealBroken
from lgsp.errors import Unusable
from lgsp.ports.clock import Clock, Entropy
from lgsp.ports.directory import DirectoryStore
from lgsp.ports.ledger import KeepBodyKey

KEY_BYTES = 32
NONCE_BYTES = 12


class DayErased(SealBroken):
    """The key of the body's day was destroyed."""


@dataclass(slots=True, kw_only=True)
class BodyKeys:
    """Seals and opens bodies with the key of the day of acceptance."""

    wrap: bytes = field(repr=False)
    store: DirectoryStore
    sequencer: Sequencer
    clock: Clock
    entropy: Entropy
    _keys: dict[str, bytes] = field(default_factory=dict, repr=False)

    async def today(self) -> str:
        """Return the day of now, after its key is durable."""
        day = day_of(self.clock.now()).isoformat()
        if day not in self._keys:
            await self.load()
        if day not in self._keys:
            fresh = self.entropy.token(KEY_BYTES)
            wrapped = sealing.seal(self.wrap, day, fresh, self.entropy.token(NONCE_BYTES))
            await self.sequencer.submit(KeepBodyKey(day=day, wrapped=wrapped))
            await self.load()
        return day

    async def load(self) -> None:
        """Unwrap every key that is kept and forget those that are not any more.

        Refuses (`key_file_broken`) a key file that did not wrap them: under it every body would seem lost.
        """
        kept = await self.store.body_keys()
        self._keys = {day: self._keys.get(day) or self._unwrap(day, wrapped) for day, wrapped in kept.items()}

    def forget(self, day: str) -> None:
        """Forget a day's key, which was destroyed."""
        self._keys.pop(day, None)

    def _unwrap(self, day: str, wrapped: bytes) -> bytes:
        try:
            return sealing.open_sealed(self.wrap, day, wrapped)
        except SealBroken:
            raise Unusable(
                "key_file_broken", "the key file of bodies is not the one that this ledger was written with"
            ) from None

    def seal(self, day: str, env: str, body: bytes) -> bytes:
        """Return the sealed body under a day's key, bound to the env hash."""
        return sealing.seal(self._keys[day], env, body, self.entropy.token(NONCE_BYTES))

    async def open(self, day: str, env: str, sealed: bytes) -> bytes:
        """Return the body; raise `SealBroken` when it does not open, `DayErased` when its day's key was destroyed."""
        if day not in self._keys:
            await self.load()
        if day not in self._keys:
            raise DayErased("the body was erased with its day")
        return sealing.open_sealed(self._keys[day], env, sealed)
