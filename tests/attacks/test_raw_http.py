"""R18: what is sent to the real socket so that it is read in two ways, by a proxy in front and by the gateway behind it.

Each attack is followed on its connection by a call that would be served. It is refused with a problem that echoes nothing, and what follows it is
never read as a request.
"""

import asyncio
import json
import re

import pytest

from lgsp.backends.memory import MemoryLedger
from lgsp.errors import catalogue
from lgsp.testing.clock import ManualClock
from lgsp.testing.edge import running_edge
from lgsp.testing.entropy import SeededEntropy
from lgsp.testing.world import World

HOST = b"Host: bus.example.vn\r\n"
NEXT = b"GET /v1/services HTTP/1.1\r\nHost: bus.example.vn\r\nConnection: close\r\n\r\n"
SERVED = b'"services"'
"""A word of the answer to it."""
MARK = b"smuggled"
POST = b"POST /v1/envelopes HTTP/1.1\r\n" + HOST + b"lgsp-env: smuggled\r\n"
UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c211Z2dsZWRzbXVnZ2xlZA==\r\n"
STATUS = re.compile(rb"HTTP/\d\.\d (\d{3}) ")


def get(target: bytes = b"/healthz", *, head: bytes = b"", version: bytes = b"HTTP/1.1", host: bytes = HOST) -> bytes:
    return b"GET " + target + b" " + version + b"\r\n" + host + head + b"\r\n"


def post(head: bytes, body: bytes) -> bytes:
    return POST + head + b"\r\n" + body


TARGETS = [
    b"/v1/%2e%2e/healthz", b"/v1/..%2fhealthz", b"/%2e%2e/%2e%2e/etc/passwd", b"/v1/%252e%252e/healthz", b"/v1/%c0%ae%c0%ae/healthz",
    "/v1/．．/healthz".encode(), b"/v1/..;/healthz", b"/v1/../healthz", b"/v1/./directory", b"/..", b"/.", b"//healthz", b"/v1//directory",
    b"/healthz/", b"/healthz//", b"///", b"/v1\\..\\healthz", b"/v1/%5c..%5chealthz", b"/healthz%00", b"/healthz%0d%0aX-Smuggled:1",
    b"/healthz%20", b"/%68ealthz", b"/healthz;x=1", b"/healthz#x", b"/healthz??x", b"/healthz?x=%2e", b"/healthz?a=b;c=d", b"/healthz?a=%00",
    b"/v1/schemas/../directory", b"/v1/schemas/..%2f..%2fetc", b"/v1/envelopes/..", b"/v1/audit/tile/0/../../../etc",
    b"/v1/audit/tile/entries/%2e%2e", b"/v1/audit/tile/..", b"http://bus.example.vn/healthz", b"https://elsewhere.example.vn/v1/directory",
    b"*", b"healthz", b"?x", b"", b"/\xff", b"/health\tz",
]  # fmt: skip
"""Encoded traversal, doubled slashes, other forms than a path."""
CHUNKED = b"Transfer-Encoding: chunked\r\n"
EMPTY = b"0\r\n\r\n"
SMUGGLING = {
    # whose request is it
    "no host": get(host=b""),
    "two hosts": get(host=HOST + b"Host: elsewhere.example.vn\r\n"),
    "the same host twice": get(host=HOST + HOST),
    "two hosts in one": get(host=b"Host: bus.example.vn, elsewhere.example.vn\r\n"),
    "a host with a path": get(host=b"Host: bus.example.vn/healthz\r\n"),
    "a host with a user": get(host=b"Host: bus@elsewhere.example.vn\r\n"),
    "a tunnel": b"CONNECT bus.example.vn:80 HTTP/1.1\r\n" + HOST + b"\r\n",
    # where does its body end
    "a length, then chunks": post(b"Content-Length: 5\r\n" + CHUNKED, EMPTY),
    "chunks, then a length": post(CHUNKED + b"Content-Length: 5\r\n", EMPTY),
    "chunks and identity": post(CHUNKED + b"Transfer-Encoding: identity\r\n", EMPTY),
    "chunks and another coding": post(CHUNKED + b"Transfer-encoding: cow\r\n", EMPTY),
    "an unknown coding": post(b"Transfer-Encoding: xchunked\r\n", EMPTY),
    "a coding after the chunks": post(b"Transfer-Encoding: chunked, identity\r\n", EMPTY),
    "a coding before the chunks": post(b"Transfer-Encoding: gzip, chunked\r\n", EMPTY),
    "identity before the chunks": post(b"Transfer-Encoding: identity, chunked\r\n", EMPTY),
    "chunks of chunks": post(b"Transfer-Encoding: chunked, chunked\r\n", EMPTY),
    "chunks in quotes": post(b'Transfer-Encoding: "chunked"\r\n', EMPTY),
    "chunks behind a vertical tab": post(b"Transfer-Encoding: \x0bchunked\r\n", EMPTY),
    "no coding and a length": post(b"Transfer-Encoding: identity\r\nContent-Length: 3\r\n", b"abc"),
    "an empty coding and a length": post(b"Transfer-Encoding:\r\nContent-Length: 3\r\n", b"abc"),
    "chunks in the old version": post(CHUNKED, EMPTY).replace(b"HTTP/1.1", b"HTTP/1.0"),
    "two lengths": post(b"Content-Length: 3\r\nContent-Length: 0\r\n", b"abc"),
    "the same length twice": post(b"Content-Length: 3\r\nContent-Length: 3\r\n", b"abc"),
    "a list of lengths": post(b"Content-Length: 3, 3\r\n", b"abc"),
    "a length with a sign": post(b"Content-Length: +3\r\n", b"abc"),
    "a length below nothing": post(b"Content-Length: -3\r\n", b"abc"),
    "a length in hexadecimal": post(b"Content-Length: 0x3\r\n", b"abc"),
    "a length with a space": post(b"Content-Length: 3 3\r\n", b"abc"),
    "a length beyond numbers": post(b"Content-Length: 99999999999999999999999\r\n", b"abc"),
    "an empty length": post(b"Content-Length:\r\n", b"abc"),
    "a length in other digits": post("Content-Length: ٣\r\n".encode(), b"abc"),
    "a chunk with a sign": post(CHUNKED, b"+3\r\nabc\r\n" + EMPTY),
    "a chunk below nothing": post(CHUNKED, b"-3\r\nabc\r\n" + EMPTY),
    "a chunk in 0x": post(CHUNKED, b"0x3\r\nabc\r\n" + EMPTY),
    "a chunk that overflows": post(CHUNKED, b"FFFFFFFFFFFFFFFF3\r\nabc\r\n" + EMPTY),
    "a chunk longer than it says": post(CHUNKED, b"3\r\nabcdef\r\n" + EMPTY),
    "a chunk with a space": post(CHUNKED, b"3 \r\nabc\r\n" + EMPTY),
    "chunks ended by bare line feeds": post(CHUNKED, b"3\nabc\n0\n\n"),
    "a chunk extension ended by a bare line feed": post(CHUNKED, b"3;a\nabc\r\n" + EMPTY),
    "a length after the chunks": post(CHUNKED, b"0\r\nContent-Length: 50\r\n\r\n"),
    # where does a header end
    "bare line feeds": b"GET /healthz HTTP/1.1\nHost: bus.example.vn\n\n",
    "a bare line feed after one header": get(head=b"A: b\nlgsp-env: smuggled\r\n"),
    "a bare line feed at the end": b"GET /healthz HTTP/1.1\r\n" + HOST + b"\n",
    "a bare carriage return in a value": get(head=b"A: b\rlgsp-env: smuggled\r\n"),
    "a folded header": get(head=b"A: b\r\n smuggled\r\n"),
    "a header folded with a tab": get(head=b"A: b\r\n\tsmuggled\r\n"),
    "a fold before the first header": get(host=b" " + HOST),
    "a space before the colon": get(head=b"Content-Length : 3\r\n"),
    "a name with a space": get(head=b"Content Length: 3\r\n"),
    "a name with a null": get(head=b"A\x00: b\r\n"),
    "a name beyond ASCII": get(head="Á: b\r\n".encode()),
    "no name": get(head=b": smuggled\r\n"),
    "no colon": get(head=b"smuggled\r\n"),
    "a null in a value": get(head=b"A: smuggled\x00\r\n"),
    "a control character in a value": get(head=b"A: smuggled\x01\r\n"),
    "more headers than anybody needs": get(head=b"".join(b"A%d: b\r\n" % number for number in range(1_000))),
    # which language is it
    "another version": get(version=b"HTTP/1.2"),
    "a later version": get(version=b"HTTP/2.0"),
    "an early version": get(version=b"HTTP/0.9"),
    "a version and more": get(version=b"HTTP/1.1x"),
    "the preface of the next HTTP": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a word too many": b"GET /healthz smuggled HTTP/1.1\r\n" + HOST + b"\r\n",
    "tabs for spaces": b"GET\t/healthz\tHTTP/1.1\r\n" + HOST + b"\r\n",
    "a method of nobody": b"SMUGGLED /healthz HTTP/1.1\r\n" + HOST + b"\r\n",
}  # fmt: skip

STREAM = UPGRADE + b"Sec-WebSocket-Protocol: lgsp.v1\r\n"
SMUGGLED = b"Content-Length: %d\r\n" % len(NEXT)
UPGRADES = {
    "a stream in another version": (get(b"/v1/stream", head=STREAM.replace(b"Version: 13", b"Version: 777")), 400),
    "a stream in no version": (get(b"/v1/stream", head=STREAM.replace(b"Sec-WebSocket-Version: 13\r\n", b"")), 400),
    "a stream without its key": (get(b"/v1/stream", head=STREAM.replace(b"Sec-WebSocket-Key", b"Sec-Other-Key")), 400),
    "a stream of another protocol": (get(b"/v1/stream", head=UPGRADE), 400),
    "a stream that carries a call": (get(b"/v1/stream", head=UPGRADE + SMUGGLED) + NEXT, 400),
    "a stream by another method": (get(b"/v1/stream", head=STREAM).replace(b"GET", b"POST"), 405),
    "a stream elsewhere": (get(head=UPGRADE), 200),
    "a stream elsewhere that carries a call": (get(head=UPGRADE + SMUGGLED) + NEXT, 200),
    "the next HTTP": (get(head=b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"), 200),
    "the next HTTP, with a call": (get(head=b"Connection: Upgrade\r\nUpgrade: h2c\r\n" + SMUGGLED) + NEXT, 200),
    "an upgrade that no hop is told of": (get(head=b"Upgrade: websocket\r\n"), 200),
    "a stream that is made": (get(b"/v1/stream", head=STREAM), 101),
}  # fmt: skip
"""Each with the status of its only answer: whatever the gateway says, no call after it is served, as none may be that a proxy let through a tunnel."""


@pytest.fixture
async def edge():
    world = World.make()
    async with running_edge(world, MemoryLedger(), clock=ManualClock(world.now), entropy=SeededEntropy(1)) as running:
        yield running


async def said(edge, data: bytes, then: bytes = b"") -> bytes:
    """Send bytes as they are, more once they are answered, and return all that comes until the gateway closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.running.port)
    try:
        writer.write(data)
        async with asyncio.timeout(10):
            begun = await reader.readuntil(b"\r\n\r\n") if then else b""
            writer.write(then)
            return begun + await reader.read()
    finally:
        writer.close()


def problem_in(answer: bytes) -> dict[str, object]:
    """Return the one problem that an answer is."""
    assert len(STATUS.findall(answer)) == 1, "what follows is another answer"
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    assert MARK not in answer.lower(), "it echoes what was sent"
    members = json.loads(body)
    assert int(STATUS.findall(answer)[0]) == members["status"] == catalogue()[members["code"]].status
    return members


async def test_r18_a_target_that_can_be_read_in_two_ways_is_refused_and_nothing_after_it_is_served(edge):
    found = {}
    for target in TARGETS:
        found[target] = problem_in(await said(edge, get(target) + NEXT))["code"]
    assert set(found.values()) == {"bad_request"}


async def test_r18_what_follows_smuggled_headers_is_never_served(edge):
    size, found = await edge.bus.ledger.size(), {}
    for name, attack in SMUGGLING.items():
        found[name] = problem_in(await said(edge, attack + NEXT))["code"]
    assert {name: code for name, code in found.items() if code != "bad_request"} == {}
    assert await edge.bus.ledger.size() == size


@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "once it is answered"])
async def test_r18_after_an_upgrade_no_call_is_served(edge, at_once):
    found = {}
    for name, (attack, _) in UPGRADES.items():
        answer = await (said(edge, attack + NEXT) if at_once else said(edge, attack, NEXT))
        assert SERVED not in answer, name
        found[name] = [int(status) for status in STATUS.findall(answer)]
    assert found == {name: [status] for name, (_, status) in UPGRADES.items()}


async def test_what_the_attacks_are_followed_by_would_be_served(edge):
    answer = await said(edge, get() + NEXT)
    assert STATUS.findall(answer) == [b"200", b"200"]
    assert SERVED in answer
