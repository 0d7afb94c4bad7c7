"""A running gateway under calls that are made up from its own description: no fault of its own, and every answer as it is described."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from requests.auth import AuthBase
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from lgsp.backends.memory import MemoryLedger
from lgsp.http.settings import HttpLimits
from lgsp.sdk.background import Background
from lgsp.testing.clock import ManualClock
from lgsp.testing.edge import Edge, running_edge
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.world import OFFICER, World

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
IMPATIENT = HttpLimits(wait_seconds=0)
"""Nobody waits for what does not come."""


@dataclass(frozen=True)
class Signing(AuthBase):
    """Puts a prepared request into its plain form, and signs it where a signer is named."""

    edge: Edge
    signer: str

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.url = request.url.replace("%3A", ":")
        if self.signer:
            body = request.body or b""
            sent = body.encode() if isinstance(body, str) else body
            path = request.url.removeprefix(self.edge.running.url)
            request.headers["Authorization"] = self.edge.authorization(
                self.signer, request.method, path, sent, jti=str(uuid4())
            )
        return request


@contextmanager
def gateway() -> Iterator[Edge]:
    """Run a gateway on a thread of its own."""
    world = World.make(changes={OFFICER: {"roles": ["auditor", "operator", "registrar", "viewer"]}})
    clock = ManualClock(world.now)
    aside = Background("gateway", patience=30)
    edge = aside.open(
        running_edge(world, MemoryLedger(), clock=clock, entropy=SeededEntropy(1, clock), settings=IMPATIENT)
    )
    try:
        for number in range(1, 4):
            aside.call(edge.bus.ingress.submit(world.envelope(number=number), peer="test"))
        yield edge
    finally:
        aside.close()


def signer_for(operation) -> str:
    """Return who may make a call: an officer with every role, or a system."""
    roles = [role for each in operation.definition.raw["security"] for role in each["lgsp"]]
    if not roles:
        return ""
    return "fisheries" if roles == ["system"] else "officer"


def run(operation, mode, edge, session, *, examples) -> Counter[int]:
    """Make calls of an operation, signed and not, hold each answer against the description, and return how often which status came."""
    signers = dict.fromkeys([signer_for(operation), ""])
    seen: Counter[int] = Counter()

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def holds(case):
        for signer in signers:
            answer = case.call_and_validate(session=session, auth=Signing(edge, signer), checks=CHECKS)
            seen[answer.status_code] += 1

    try:
        holds()
    except Unsatisfiable:  # a call that takes nothing cannot be given anything wrong
        assert mode is GenerationMode.NEGATIVE
    return seen


def tried(edge: Edge, *modes: GenerationMode, examples: int) -> dict[str, Counter[int]]:
    """Try every call with so many examples of each mode: well and ill formed."""
    schema = schemathesis.openapi.from_url(f"{edge.running.url}/openapi.json")
    found: dict[str, Counter[int]] = {}
    with requests.Session() as session:
        for held in schema.get_all_operations():
            operation = held.ok()
            counts = (run(operation, mode, edge, session, examples=examples) for mode in modes)
            found[operation.label] = sum(counts, Counter())
    return found


def judge(found: dict[str, Counter[int]]) -> None:
    """Every call was made; the signed ones got beyond the door, and many a call was answered well."""
    assert len(found) > 40
    assert [label for label, seen in found.items() if seen.keys() <= {401}] == []
    assert sum(200 in seen for seen in found.values()) > 15, found


def test_calls_made_up_from_the_description_meet_no_fault_and_are_answered_as_described():
    with gateway() as edge:
        judge(tried(edge, GenerationMode.POSITIVE, examples=3))


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_many_calls_made_up_from_the_description_meet_no_fault():
    with gateway() as edge:
        judge(tried(edge, *GenerationMode, examples=200))
