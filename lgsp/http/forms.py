"""What travels between systems and the bus as models (protocol sections 2, 3 and 6), and the problem that every refusal is.

They describe. What comes in of these forms is read by hand in `frames` and `lgsp.domain`, what goes out is joined from texts that are signed;
tests hold both against these models.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from lgsp.domain.envelope import CODE_FORM
from lgsp.domain.exchange import State
from lgsp.domain.statements import BATCH_MAX, PATH_MAX
from lgsp.http.calls import Count, EnvHash, Form, Moment, System
from lgsp.http.frames import LEASE_LENGTH, RETRY_MAX
from lgsp.http.settings import HTTP_LIMITS

B64u = Annotated[str, Field(pattern="^[A-Za-z0-9_-]*$")]
Attempt = Annotated[int, Field(ge=1)]
Outcome = Literal["acked", "rejected", "expired", "parked"]


class Statement(Form):
    """A receipt or an ack: one item under the signature of its batch."""

    jws: Annotated[str, Field(description="The compact JWS of the batch.")]
    item: Annotated[str, Field(description="The exact JSON bytes of the item, as a text.")]
    pos: Annotated[int, Field(ge=0, lt=BATCH_MAX, description="The place of the item in the batch.")]
    path: Annotated[list[str], Field(max_length=PATH_MAX, description="Hashes from the item to the root, base64url.")]


class Envelope(Form):
    """An envelope in structured form."""

    protected: B64u
    payload: B64u
    signature: B64u
    data: Annotated[B64u, Field(description="The exact bytes of the body, base64url without padding.")]


class Accepted(Form):
    """What an accepted envelope gets."""

    receipt: Statement


class Reply(Form):
    """The reply to a request that was waited for."""

    envelope: Envelope
    receipt: Statement


class Replied(Form):
    """What a request gets whose reply came in time."""

    receipt: Statement
    reply: Reply


class Delivered(Form):
    """One delivery, leased."""

    envelope: Envelope
    receipt: Statement
    lease: str
    attempt: Attempt
    lease_until: Moment


class Inbox(Form):
    """What waited for the caller."""

    now: Moment
    items: list[Delivered]


class Told(Form):
    """What became of an envelope at one receiver; `ack` is there when it gave one."""

    env: EnvHash
    to: System
    state: Outcome
    code: str
    ack: Statement | None


class Outcomes(Form):
    """Outcomes that were not seen yet."""

    now: Moment
    items: list[Told]


class DeliveryNow(Form):
    """Where one delivery stands."""

    env: EnvHash
    to: System
    state: State
    code: str
    ack: Statement | None
    attempts: Count
    due_at: Moment | None


class History(Form):
    """An exchange with all its deliveries."""

    env: EnvHash
    id: str
    source: System
    type: str
    audience: str
    accepted_at: Moment
    expires: Moment
    reply_until: Moment | None
    cause: EnvHash | None
    reply: EnvHash | None
    policy: Annotated[int, Field(description="The version of the directory it was judged by.")]
    rule: Annotated[str, Field(description="The grant that allowed it; empty for a reply.")]
    receipt: Statement | None
    deliveries: list[DeliveryNow]


Lease = Annotated[str, Field(min_length=1, max_length=LEASE_LENGTH)]


class Open(Form):
    """Members that are read; others beside them are passed over."""

    model_config = ConfigDict(extra="ignore")


class Nack(Open):
    """A delivery put back, to be tried again after a pause in seconds."""

    env: EnvHash
    lease: Lease
    code: Annotated[str, Field(pattern=f"^{CODE_FORM.pattern}$")]
    retry_after: Annotated[float, Field(ge=0, le=RETRY_MAX)] | None = None


class Extension(Open):
    """A lease that its holder still needs."""

    env: EnvHash
    lease: Lease


class Sighting(Open):
    """An outcome that was noted, as it was told or, without `state`, whatever it is by now."""

    env: EnvHash
    to: System
    state: Outcome | Literal[""] = ""


class Settling(Form):
    """What a receiver and a sender have to say, at most 256 in all."""

    acks: Annotated[list[Statement], Field(max_length=HTTP_LIMITS.batch_items, default_factory=list)]
    nacks: Annotated[list[Nack], Field(max_length=HTTP_LIMITS.batch_items, default_factory=list)]
    extend: Annotated[list[Extension], Field(max_length=HTTP_LIMITS.batch_items, default_factory=list)]
    seen: Annotated[list[Sighting], Field(max_length=HTTP_LIMITS.batch_items, default_factory=list)]


class Finding(Form):
    """What is refused, and why. `code` is stable; title and hint come in the language that was asked for."""

    type: Annotated[str, Field(pattern="^urn:lgsp:refusal:[a-z0-9_]+$")]
    title: str
    status: int
    code: str
    retryable: Annotated[bool, Field(description="Whether the same bytes may succeed later.")]
    hint: str
    detail: str = ""
    pointer: Annotated[str, Field(description="A JSON pointer (RFC 6901) into manifest or body.")] = ""
    now: Annotated[Moment, Field(description="The time of the bus, where the sender's clock is wrong.")] = ""
    successors: Annotated[list[str], Field(description="The agencies to address instead.", default_factory=list)]
    retry_after: Annotated[int, Field(ge=0, description="Seconds after which to come back.")] = 0
    degraded: Annotated[list[str], Field(description="Parts of the gateway that are not well.", default_factory=list)]


class Problem(Finding):
    """A refusal (RFC 9457)."""

    request_id: str
    receipt: Annotated[Statement | None, Field(description="Of a refusal that has an entry of its own.")] = None


class Refused(Form):
    """One of a batch that was refused."""

    problem: Problem


class Settled(Form):
    """One ack or nack that was taken."""

    env: EnvHash


class Extended(Form):
    """One lease that was extended."""

    env: EnvHash
    lease_until: Moment


class Seen(Form):
    """One outcome that is off the list."""

    env: EnvHash
    to: System


class Results(Form):
    """One result each, in the order given; only the groups that were sent."""

    acks: Annotated[list[Settled | Refused], Field(default_factory=list)]
    nacks: Annotated[list[Settled | Refused], Field(default_factory=list)]
    extend: Annotated[list[Extended | Refused], Field(default_factory=list)]
    seen: Annotated[list[Seen | Refused], Field(default_factory=list)]
