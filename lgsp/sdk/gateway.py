"""Plain calls to the gateway: the signed directory, whether it knows an envelope, and the evidence of an exchange."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import aiohttp

from lgsp.domain import strictjson
from lgsp.ports.directory import SignedRecords
from lgsp.sdk.errors import Refused, Unreachable

SECONDS: Final = aiohttp.ClientTimeout(total=20.0, connect=5.0)
LARGEST: Final = 64 * 1024 * 1024
"""Bytes of an answer; a directory of 2,000 systems has some 5 MB, and no bundle of evidence has more."""
OK: Final = 200


class Gateway:
    """The HTTP side of the gateway at the address that `url` gives then."""

    def __init__(self, *, url: Callable[[], str], http: aiohttp.ClientSession) -> None:
        self._url = url
        self._http = http

    async def directory(self, version: int | None) -> SignedRecords:
        """Return a version of the directory as the gateway gives it, believed by nobody yet; raise `Unreachable` or `Refused`."""
        query = {} if version is None else {"version": str(version)}
        try:
            async with self._http.get(
                f"{self._url()}/v1/directory", params=query, timeout=SECONDS, allow_redirects=False
            ) as response:
                return _signed(response.status, await _limited(response))
        except (aiohttp.ClientError, TimeoutError, OSError):
            raise Unreachable from None

    async def knows(self, env: str, authorization: str) -> bool:
        """Tell whether the bus knows an envelope of this system's; raise `Unreachable` or `Refused`, whatever else it says."""
        headers = {"Authorization": f"LGSP {authorization}"}
        try:
            async with self._http.get(
                self._url() + envelope_path(env), headers=headers, timeout=SECONDS, allow_redirects=False
            ) as response:
                return _is_known(response.status, await _limited(response))
        except (aiohttp.ClientError, TimeoutError, OSError):
            raise Unreachable from None

    async def evidence(self, env: str, authorization: str, body: bytes) -> bytes:
        """Return the bundle of an exchange as the gateway gives it, with bodies where the call has a body; raise `Unreachable` or `Refused`."""
        headers = {"Authorization": f"LGSP {authorization}"}
        try:
            async with self._http.request(
                "POST" if body else "GET",
                self._url() + evidence_path(env),
                data=body or None,
                headers=headers,
                timeout=SECONDS,
                allow_redirects=False,
            ) as response:
                data = await _limited(response)
        except (aiohttp.ClientError, TimeoutError, OSError):
            raise Unreachable from None
        if response.status != OK:
            raise Refused.of_problem(_members(data))
        return data


def envelope_path(env: str) -> str:
    """Return where an envelope's story is told."""
    return f"/v1/envelopes/{env}"


def evidence_path(env: str) -> str:
    """Return where an exchange's evidence is given."""
    return f"/v1/evidence/{env}"


def _members(data: bytes) -> dict[str, Any]:
    try:
        return strictjson.parse_object(data)
    except strictjson.NotStrict:
        raise Unreachable from None  # something in between answers in the gateway's place


def _is_known(status: int, data: bytes) -> bool:
    value = _members(data)
    if status == OK:
        return True
    refused = Refused.of_problem(value)
    if refused.code != "not_found":
        raise refused
    return False


async def _limited(response: aiohttp.ClientResponse) -> bytes:
    found = bytearray()
    async for chunk in response.content.iter_any():
        found += chunk
        if len(found) > LARGEST:
            raise Refused("too_large", "the gateway's answer")
    return bytes(found)


def _signed(status: int, data: bytes) -> SignedRecords:
    value = _members(data)
    if status != OK:
        raise Refused.of_problem(value)
    return _records(value)


def _records(value: dict[str, Any]) -> SignedRecords:
    version, statement, records = value.get("version"), value.get("statement"), value.get("records")
    if type(version) is not int or not isinstance(statement, str) or not isinstance(records, list):
        raise Refused("directory_invalid", "the gateway's answer is no directory")
    if not all(isinstance(record, str) for record in records):
        raise Refused("directory_invalid", "a record is not given as text")
    return SignedRecords(
        version=version, statement=statement.encode(), records=tuple(record.encode() for record in records)
    )
