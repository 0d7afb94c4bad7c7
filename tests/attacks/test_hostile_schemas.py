"""Schemas that could be used against the bus are refused when they are registered, or bounded in what they cost; so are bodies made against good ones."""

import io
import json
import socket
import threading
import time
from contextlib import asynccontextmanager, contextmanager

import pytest

from lgsp.backends.memory import MemoryLedger
from lgsp.cli.directory.file import read_file
from lgsp.cli.keys.policy import read_policy
from lgsp.cli.registrar import draw_plan
from lgsp.domain import contracts, jws, strictjson
from lgsp.domain.directory import empty_directory
from lgsp.domain.limits import LIMITS
from lgsp.errors import Refusal
from lgsp.testing.clock import ManualClock
from lgsp.testing.edge import running_edge
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.world import BUS, OFFICER, VERIFY, World

URN = "urn:lgsp:schema:tests:hostile:1.0.0"
OTHER = "urn:lgsp:schema:tests:other:1.0.0"
LETTERS = r"^\p{Lu}[\p{L} ]{0,99}$"
SECONDS = 4.0
"""In which a document is refused and a body is judged: far from the minutes that each of these takes where nothing bounds it."""


def document(**members):
    return strictjson.compact({"$id": URN} | members)


def nested(depth):
    return b'{"$id":"%b","items":' % URN.encode() + b'{"not":' * depth + b"true" + b"}" * (depth + 1)


def doubling(levels):
    names = {f"a{n}": {"anyOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(levels)}
    return document(**{"$ref": "#/$defs/a0", "$defs": names | {f"a{levels}": True}})


HOSTILE = {
    "10 MB of members": document(properties={f"m{n}": {"type": "string"} for n in range(370_000)}),
    "10 MB in one description": document(description="x" * 10_000_000),
    "nested 10,000 deep": nested(10_000),
    "nested 10,000 deep in lists": b'{"$id":"%b","enum":' % URN.encode() + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "a reference to the web": document(**{"$ref": "http://127.0.0.1:PORT/schema.json"}),
    "a reference to the web within": document(properties={"a": {"items": {"$ref": "http://127.0.0.1:PORT/schema.json#/$defs/a"}}}),
    "a meta-schema in the web": document(**{"$schema": "http://127.0.0.1:PORT/meta.json"}),
    "an id in the web within": document(**{"$defs": {"a": {"$id": "http://127.0.0.1:PORT/a.json"}}}),
    "a reference to a file": document(**{"$ref": "file:///etc/passwd"}),
    "a reference to itself": document(items={"$ref": URN}),
    "a reference to its own beginning": document(properties={"a": {"$ref": "#"}}),
    "two that refer to each other": document(items={"$ref": OTHER}),
    "a dynamic reference": document(**{"$dynamicAnchor": "a", "items": {"$dynamicRef": "#a"}}),
    "references that double": doubling(30),
    "a long chain of references": document(**{"$defs": {f"a{n}": {"$ref": f"#/$defs/a{n + 1}"} for n in range(900)} | {"a900": True}}),
    "many checks of each place": document(allOf=[{"uniqueItems": True}] * 3_000),
    "many branches": document(items={"anyOf": [{"const": n} for n in range(3_000)]}),
    "a pattern with look-ahead": document(pattern="^(?=(a+)+b)"),
    "a pattern with a back reference": document(pattern=r"^(a+)+\1$"),
    "a pattern that grows without bound": document(pattern="((a{1000}){1000}){1000}"),
    "many patterns": document(allOf=[{"pattern": f"^a{n}"} for n in range(300)]),
    "many patterns of names": document(patternProperties={f"^a{n}": {} for n in range(300)}),
    "many patterns that take megabytes": document(allOf=[{"pattern": f"{LETTERS}|{n}"} for n in range(20)]),
    "wide numbers that must differ": document(required=[10**20 + n for n in range(4_000)]),
    "wide numbers within that must differ": document(required=[[10**20 + n] for n in range(4_000)]),
    "values of no order that must differ": document(required=[*({"a": n} for n in range(5_000)), "a"]),
    "a number out of all range": document(maximum=10**400),
}  # fmt: skip

CARRIED = (
    "10 MB in one description", "nested 10,000 deep", "a reference to the web", "a meta-schema in the web", "an id in the web within",
    "a reference to a file", "a reference to itself", "references that double", "a pattern that grows without bound", "wide numbers that must differ",
)  # fmt: skip
"""One of each kind, for the ways on which a schema comes to the loader."""


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_schema_is_refused_in_no_time(name):
    others = {OTHER: strictjson.compact({"$id": OTHER, "items": {"$ref": URN}})}
    started = time.perf_counter()
    with pytest.raises(Refusal) as caught:
        contracts.check_document(URN, HOSTILE[name], others)
    assert caught.value.code == "directory_invalid"
    assert time.perf_counter() - started < SECONDS


def test_the_largest_schema_that_may_be_is_read_and_one_byte_more_is_not():
    room = LIMITS.schema_bytes - len(document(description=""))
    whole = document(description="x" * room)
    assert contracts.check_document(URN, whole, {}) == jws.hash_of(whole)
    with pytest.raises(Refusal) as caught:
        contracts.check_document(URN, document(description="x" * (room + 1)), {})
    assert f"larger than {LIMITS.schema_bytes} bytes" in caught.value.detail


@contextmanager
def listening():
    """A server in the web that remembers who connects."""
    connected = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        ended = threading.Event()

        def take():
            while not ended.is_set():
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    continue
                connected.append(connection)
                connection.close()

        taker = threading.Thread(target=take)
        taker.start()
        try:
            yield server.getsockname()[1], connected
        finally:
            ended.set()
            taker.join()


def carried(port):
    """Return the schemas that are carried, with a server of this machine as the web."""
    return {name: HOSTILE[name].replace(b"PORT", str(port).encode()) for name in CARRIED}


def test_a_directory_file_with_hostile_schemas_is_refused_with_each_of_them_named_and_nobody_is_asked(tmp_path):
    with listening() as (port, connected):
        documents = carried(port)
        tables = []
        for number, data in enumerate(documents.values()):
            urn = f"urn:lgsp:schema:tests:hostile-{number}:1.0.0"
            (tmp_path / f"{number}.json").write_bytes(data.replace(URN.encode(), urn.encode()))
            tables.append(f'[[schema]]\nid = "{urn}"\nfile = "{number}.json"\n')
        path = tmp_path / "directory.toml"
        path.write_text("".join(tables))
        with pytest.raises(Refusal) as caught:
            draw_plan(empty_directory(BUS), read_file(path), {}, read_policy())
        assert caught.value.code == "directory_invalid"
        named = {line.split(": ")[0] for line in caught.value.detail.splitlines()}
        assert named == {f"schema urn:lgsp:schema:tests:hostile-{number}:1.0.0" for number in range(len(documents))}
    assert connected == []


def world_of(version=1, **changes):
    return World.make(
        version=version, changes={OFFICER: {"roles": ["registrar"]}} | changes.pop("changes", {}), **changes
    )


@asynccontextmanager
async def gateway(world):
    async with running_edge(world, MemoryLedger(), clock=ManualClock(world.now), entropy=SeededEntropy(1)) as edge:
        yield edge


def publication(following, documents):
    members = {
        "statement": following.directory.statement.decode(),
        "records": [record.decode() for record in following.directory.encoded],
        "documents": documents,
        "reason": "a test",
    }
    return json.dumps(members).encode()


async def publish(edge, following, documents):
    """Bring a version to a running gateway as an officer does from elsewhere; give status, answer and seconds."""
    body = publication(following, documents)
    headers = {"Authorization": edge.authorization("officer", "POST", "/admin/directory", body)}
    started = time.perf_counter()
    url = f"{edge.running.url}/admin/directory"
    async with edge.client.post(url, data=io.BytesIO(body), headers=headers) as answer:
        return answer.status, await answer.json(content_type=None), time.perf_counter() - started


def version_with(world, data, **changes):
    """Return version 2 as the registrar signs it: with a schema of these bytes."""
    record = {"kind": "schema", "id": URN, "hash": jws.hash_of(data)}
    return world_of(2, prev=world.directory.hash, added=[record], **changes)


async def test_a_running_gateway_refuses_each_hostile_schema_though_the_registrar_signed_for_it_and_asks_nobody():
    world = world_of()
    with listening() as (port, connected):
        async with gateway(world) as edge:
            for name, data in carried(port).items():
                status, answer, seconds = await publish(edge, version_with(world, data), {URN: data.decode()})
                assert (status, answer["code"]) == (422, "directory_invalid"), (name, answer)
                assert seconds < SECONDS, name
            assert edge.bus.registry.current.version == 1
            assert (await edge.post(world.envelope())).status == 202
    assert connected == []


CATASTROPHIC = {
    "a pattern that forks": ({"items": {"pattern": "^(a|aa)+$"}}, ["a" * 60 + "b"] * 900),
    "a pattern that forks on names": (
        {"patternProperties": {"^(a+)+$": {}}, "additionalProperties": False}, {"a" * n + "b": 1 for n in range(330)}),
    "as many checks as there may be": ({"allOf": [{"uniqueItems": True}] * 250}, [*range(9_000), 1]),
    "as many branches as there may be": ({"items": {"anyOf": [{"const": n} for n in range(250)]}}, [249] * 7_000 + [-1]),
    "as many branches as there may be, and words to find": ({"items": {"anyOf": [{"const": n} for n in range(250)]}}, [249] * 190 + [-1]),
    "elements that nothing evaluates": ({"contains": {"type": "integer"}, "unevaluatedItems": False}, [*[1] * 30_000, "a"]),
}  # fmt: skip
DEEP = {
    "10,000 lists deep": b"[" * 10_000 + b"]" * 10_000,
    "10,000 objects deep": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "10,000 lists that nobody closes": b"[" * 10_000,
}


@pytest.mark.parametrize("name", CATASTROPHIC)
async def test_a_running_gateway_judges_a_hostile_body_under_the_worst_schema_that_may_be_registered(name):
    world, (members, value) = world_of(), CATASTROPHIC[name]
    data, body = document(**members), strictjson.compact(value)
    assert len(body) < LIMITS.body_bytes
    following = version_with(world, data, changes={VERIFY: {"schemas": [URN]}})
    async with gateway(world) as edge:
        status, answer, _ = await publish(edge, following, {URN: data.decode()})
        assert (status, answer) == (200, {"version": 2})
        await edge.post(following.envelope(body=b"[]", dataschema=URN, number=1))  # compiles the schema
        started = time.perf_counter()
        answer = await edge.post(following.envelope(body=body, dataschema=URN, number=2))
        assert (answer.status, answer.code) == (422, "schema"), answer.body
        assert time.perf_counter() - started < SECONDS


async def test_a_running_gateway_refuses_bodies_that_are_10_000_deep():
    world = world_of()
    async with gateway(world) as edge:
        for number, (name, body) in enumerate(DEEP.items(), 1):
            answer = await edge.post(world.envelope(body=body, number=number))
            assert (answer.status, answer.code) == (422, "body_json"), (name, answer.body)
        assert (await edge.post(world.envelope(number=9))).status == 202
