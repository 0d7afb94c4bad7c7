"""The bundle of evidence as models (protocol section 7): they describe what `lgsp.domain.evidence` writes and reads."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lgsp.http.calls import Count, Form
from lgsp.http.forms import B64u, Statement


class Record(Form):
    """One record of the directory with its proof."""

    pos: Count
    record: Annotated[str, Field(description="Its exact text.")]
    path: list[str]


class Excerpt(Form):
    """Some records of one version of the directory."""

    statement: str
    records: list[Record]


class Logged(Form):
    """One entry of the log with its proof."""

    index: Count
    entry: Annotated[str, Field(description="Its exact text.")]
    path: list[str]


class Acked(Form):
    """An ack, and the version of the directory in which its key stands."""

    version: int
    ack: Statement


class Part(Form):
    """One envelope and what was said of it; `body` is there when it was asked for, is held and may be seen."""

    envelope: Annotated[str, Field(description="The compact JWS.")]
    receipt: Statement
    acks: list[Acked]
    body: B64u = ""


class Bundle(Form):
    """The evidence of one exchange."""

    form: Literal["lgsp-evidence.v1"]
    bus: str
    checkpoint: Annotated[str, Field(description="A C2SP signed note.")]
    directories: list[Excerpt]
    entries: list[Logged]
    message: Part
    reply: Part | None = None
