"""`POST /v1/check`: what the bus would say about an envelope, and what it computed; nothing is sent. Open to all, for the envelope is signed."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from aiohttp import web
from pydantic import Field

from lgsp.domain import opinion
from lgsp.domain.opinion import STEPS, Verdict
from lgsp.errors import Refusal
from lgsp.http.calls import ANOTHERS, Call, Count, Form, Nothing, json_of
from lgsp.http.commands import told
from lgsp.http.envelopes import FORMS, SIGNED_PART, check_connection, wire_of
from lgsp.http.forms import Finding
from lgsp.http.problems import language_of
from lgsp.http.wiring import BUS

Absent = Field(default=0, ge=0)
"""A count of bytes that is told where there is something to tell."""


class Step(Form):
    """One step of the order of checks."""

    step: Annotated[int, Field(ge=1, le=len(STEPS))]
    title: str
    holds: bool


class Encoding(Form):
    """The part that is no base64url and its first wrong byte, or how many parts came instead of three."""

    part: Literal["protected", "payload", "signature", ""] = ""
    differs_at: int = Absent
    parts: int = Absent


class HeaderSeen(Form):
    """The header as received and, where it is another, as expected under the key that it names."""

    received: str
    expected: str = ""
    differs_at: int = Absent


class KeySeen(Form):
    """The registered key that is named."""

    kid: str
    alg: str
    owner: str
    role: str


class Measured(Form):
    """Size and hash of bytes."""

    bytes: Count
    hash: str


class SignatureSeen(Form):
    """How many bytes the signature has, and how many it should have."""

    bytes: Count
    expected_bytes: int = Absent


class ManifestSeen(Measured):
    """The manifest, and where its JSON breaks or a refused attribute stands."""

    differs_at: int = Absent
    form: Annotated[str, Field(description="The expression that the attribute should match.")] = ""


class BodySeen(Measured):
    """The body as computed and as stated; `resembles` names what was hashed in its place."""

    stated_bytes: int = Absent
    stated_hash: str = ""
    differs_at: int = Absent
    resembles: str = ""


class Computed(Form):
    """What the bus computed beside what the envelope states, as far as it could be taken apart."""

    env: str = ""
    encoding: Encoding | None = None
    header: HeaderSeen | None = None
    key: KeySeen | None = None
    signed: Measured | None = None
    signature: SignatureSeen | None = None
    manifest: ManifestSeen | None = None
    body: BodySeen | None = None


class Checked(Form):
    """What the bus would say."""

    verdict: Verdict
    env: str
    step: Annotated[int, Field(ge=1, le=len(STEPS))]
    steps: list[Step]
    rule: Annotated[str, Field(description="The grant that allows it.")] = ""
    problem: Finding | None = None
    computed: Computed


async def post_check(request: web.Request, _: Nothing) -> web.Response:
    """Judge an envelope without accepting it: 200 with the verdict, the steps and what was computed, also when it would be refused."""
    language = language_of(request.headers.get("Accept-Language", ""))
    try:
        wire = await wire_of(request)
        check_connection(request, wire)
    except Refusal as refusal:
        if refusal.code != "structured":
            raise
        return told(opinion.unread(refusal).told({}, language))
    formed, computed = await request.app[BUS].sandbox.opinion(wire)
    return told(formed.told(computed, language))


CALLS: Final = (
    Call(
        method="POST",
        path="/v1/check",
        run=post_check,
        query=Nothing,
        bodies=FORMS,
        headers=(SIGNED_PART,),
        vi="Kiểm tra thử một phong bì: kết luận, các bước và những gì trục tính được, kể cả khi phong bì sẽ bị từ chối; không gửi gì cả.",
        answers=(json_of(Checked, "The verdict."),),
        codes=ANOTHERS | {"rate_limited", "unavailable"},
    ),
)
