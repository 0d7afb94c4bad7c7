"""Ask the population service on the national platform; what follows from the answer is left to others.

    NdxpError
    ├── Unavailable     nobody's fault yet: try again later
    ├── Refused         an administrator must act: credentials, procedure or officer; `code` is the platform's
    └── BrokenAnswer    the platform must act: an empty or wrong body, even with HTTP status 200

No error text holds a secret or anything about a person.
"""

import asyncio
import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from adapters.ndxp import mapping, soap

OK, BAD_REQUEST, UNAUTHORISED, FORBIDDEN, FAULT = 200, 400, 401, 403, 500
TOKEN_PATH = "/token"  # noqa: S105 - a path
SERVICE_PATH = "/csdl-dan-cu/1.0"
MARGIN = 0.1  # of a token's lifetime: it is renewed this much before it expires
MOST_MARGIN_SECONDS = 60.0


class NdxpError(Exception):
    """The question was not answered."""


class Unavailable(NdxpError):
    """The platform could not be reached, took too long or reported a failure of its own."""


class Refused(NdxpError):
    """The platform refused; `code` is its own word for why."""

    def __init__(self, code: str) -> None:
        super().__init__(f"the platform refused: {code}")
        self.code = code


class BrokenAnswer(NdxpError):
    """The platform answered with something else than it promises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Key and secret of our application on the platform."""

    key: str
    secret: str = field(repr=False)

    @property
    def basic(self) -> str:
        """The value of an Authorization header."""
        return "Basic " + base64.b64encode(f"{self.key}:{self.secret}".encode()).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Token:
    value: str = field(repr=False)
    renew_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    status: int
    body: bytes = field(repr=False)


class PopulationClient:
    """Verifies citizens; the caller owns the session. Safe for many questions at a time.

    `clock` gives seconds that never go back; `seconds` limits each call of the platform.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        address: str,
        credentials: Credentials,
        clock: Callable[[], float],
        seconds: float = 3.0,
    ) -> None:
        self._session = session
        self._address = address.rstrip("/")
        self._credentials = credentials
        self._clock = clock
        self._timeout = aiohttp.ClientTimeout(total=seconds)
        self._token: _Token | None = None
        self._renewal = asyncio.Lock()

    async def verify(self, body: Mapping[str, str], asker: mapping.Asker) -> dict[str, Any]:
        """Answer a `citizen-verify-request` body with a `citizen-verify-reply` body, or raise NdxpError."""
        answer = await self._asked(mapping.question(body, asker))
        try:
            reply = mapping.answer(answer.body)
        except mapping.AnswerBroken as error:
            raise _unreadable(answer.status, error) from error
        if isinstance(reply, mapping.Fault):
            raise Refused(reply.code)
        if answer.status != OK:
            raise Unavailable(f"the platform answered with status {answer.status}")
        return reply

    async def ready(self) -> None:
        """Hold a token that is valid, or raise NdxpError: whether the platform answers and lets us in."""
        await self._valid_token()

    async def _asked(self, question: bytes) -> _Answer:
        token = await self._valid_token()
        answer = await self._ask(question, token)
        if answer.status == UNAUTHORISED:
            self._forget(token)
            answer = await self._ask(question, await self._valid_token())
        if answer.status in {UNAUTHORISED, FORBIDDEN}:
            raise Refused(f"http-{answer.status}")
        return answer

    async def _ask(self, question: bytes, token: _Token) -> _Answer:
        headers = {
            "Authorization": f"Bearer {token.value}",
            "Content-Type": f"{soap.CONTENT_TYPE}; charset=utf-8",
            "SOAPAction": f'"{mapping.ASKED}/{mapping.OPERATION}"',
        }
        return await self._post(SERVICE_PATH, data=question, headers=headers)

    async def _valid_token(self) -> _Token:
        async with self._renewal:  # one renewal for all who wait
            if self._token is None or self._clock() >= self._token.renew_at:
                self._token = await self._new_token()
            return self._token

    def _forget(self, token: _Token) -> None:
        if self._token is token:  # somebody else may have renewed it meanwhile
            self._token = None

    async def _new_token(self) -> _Token:
        asked_at = self._clock()
        answer = await self._post(
            TOKEN_PATH,
            data={"grant_type": "client_credentials"},
            headers={"Authorization": self._credentials.basic},
        )
        if answer.status in {BAD_REQUEST, UNAUTHORISED, FORBIDDEN}:
            raise Refused("invalid_client")
        if answer.status != OK:
            raise Unavailable(f"the token endpoint answered with status {answer.status}")
        return _token(answer.body, asked_at)

    async def _post(self, path: str, *, data: bytes | Mapping[str, str], headers: Mapping[str, str]) -> _Answer:
        try:
            async with self._session.post(
                self._address + path,
                data=data,
                headers=headers,
                timeout=self._timeout,
                allow_redirects=False,  # neither token nor question goes to another host
            ) as response:
                return _Answer(status=response.status, body=await _limited(response))
        except TimeoutError as error:
            raise Unavailable("the platform took too long") from error
        except aiohttp.ClientError as error:
            raise Unavailable(f"the platform cannot be reached: {type(error).__name__}") from error


async def _limited(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > soap.MOST_BYTES:
            raise BrokenAnswer("the answer is longer than 65,536 bytes")
    return bytes(body)


def _unreadable(status: int, error: mapping.AnswerBroken) -> NdxpError:
    if status == OK:
        return BrokenAnswer(str(error))
    return Unavailable(f"the platform answered with status {status}")


def _token(body: bytes, asked_at: float) -> _Token:
    try:
        answer = json.loads(body)
        value, lifetime = str(answer["access_token"]), float(answer["expires_in"])
    except (ValueError, KeyError, TypeError):
        raise BrokenAnswer("the token endpoint gave no token") from None  # the cause may quote it
    margin = min(lifetime * MARGIN, MOST_MARGIN_SECONDS)
    return _Token(value=value, renew_at=asked_at + lifetime - margin)
