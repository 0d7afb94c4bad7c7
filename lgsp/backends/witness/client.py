"""Ask a witness over HTTP to co-sign a checkpoint: the call `add-checkpoint` of C2SP tlog-witness.

What the answer says about the log is told as it came; verifying the signature lines is left to whoever asks.
"""

from __future__ import annotations

import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Self

import aiohttp

from lgsp.domain.notes import NoteKey
from lgsp.ports.anchor import AnchorAway, Answer, Cosigned, HoldsSize, OtherRoot

SECONDS: Final = 5.0
"""How long one call may take, connecting included."""
MOST_BYTES: Final = 16_384
"""Of an answer: it is a few lines."""
SIZE_TYPE: Final = "text/x.tlog.size"
MOST_DIGITS: Final = 19
OK: Final = 200
CONFLICT: Final = 409
NOT_CONSISTENT: Final = 422
REASONS: Final = {
    400: "it does not understand the call",
    403: "it does not know the log's key",
    404: "it does not know the log",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpWitness:
    """A witness at a URL."""

    url: str
    key: NoteKey
    session: aiohttp.ClientSession

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, key: NoteKey, *, trusting: ssl.SSLContext | bool = True) -> AsyncIterator[Self]:
        """Give the witness whose calls stand under `url`, until the block ends; `trusting` is what aiohttp takes as `ssl`."""
        limit = aiohttp.ClientTimeout(total=SECONDS)
        connector = aiohttp.TCPConnector(ssl=trusting)
        async with aiohttp.ClientSession(timeout=limit, connector=connector, auto_decompress=False) as session:
            yield cls(url=url.rstrip("/"), key=key, session=session)

    async def add_checkpoint(self, old: int, path: Sequence[bytes], note: str) -> Answer:
        """Offer a signed checkpoint; see the port."""
        body = "".join([f"old {old}\n", *(b64encode(each).decode("ascii") + "\n" for each in path), "\n", note])
        try:
            async with self.session.post(
                f"{self.url}/add-checkpoint", data=body.encode(), allow_redirects=False
            ) as answer:
                return _answer(answer.status, answer.content_type, await _body(answer), old)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise AnchorAway(type(error).__name__) from None


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    read = bytearray()
    async for chunk in answer.content.iter_any():
        read += chunk
        if len(read) > MOST_BYTES:
            raise AnchorAway("its answer is too long")
    return bytes(read)


def _answer(status: int, content_type: str, body: bytes, old: int) -> Answer:
    if status == OK:
        return Cosigned(lines=body.decode("utf-8", "replace"))
    if status == NOT_CONSISTENT:
        return OtherRoot()
    if status == CONFLICT and content_type == SIZE_TYPE:
        size = _size(body)
        # The sizes agree, so it is the roots that do not.
        return OtherRoot() if size == old else HoldsSize(size=size)
    raise AnchorAway(REASONS.get(status, f"it answered {status}"))


def _size(body: bytes) -> int:
    text = body.strip()
    if not text.isdigit() or len(text) > MOST_DIGITS:
        raise AnchorAway("it answered 409 without a size")
    return int(text)
