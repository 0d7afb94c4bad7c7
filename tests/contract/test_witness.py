"""The mock national platform as a witness over HTTP keeps the promises of the anchor, and keeps them across its own death."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from base64 import b64encode
from contextlib import asynccontextmanager

import aiohttp
import aiohttp.web
import pytest

from adapters.ndxp.client import Credentials
from adapters.ndxp.mock import witness as mock_witness
from adapters.ndxp.mock.__main__ import main
from adapters.ndxp.mock.faults import Faults, Rates
from adapters.ndxp.mock.server import Platform, started
from adapters.ndxp.mock.service import Rules
from adapters.ndxp.mock.tokens import Tokens
from lgsp.backends.witness import HttpWitness
from lgsp.domain.checkpoint import open_checkpoint
from lgsp.domain.notes import format_vkey, parse_vkey
from lgsp.ports.anchor import AnchorAway, Cosigned, HoldsSize, OtherRoot
from lgsp.privateserver import free_port
from lgsp.testing import contracts
from lgsp.testing.contracts.anchor import MadeLog
from lgsp.tls import trusting

LOG = MadeLog()
NAME = "witness.example.vn/ndxp"


def opened(folder):
    return mock_witness.opened(folder, NAME, [format_vkey(LOG.key)], time.time)


@asynccontextmanager
async def running(witness, *, delay=0.0):
    platform = Platform(
        registry={},
        rules=Rules(procedures=frozenset(), officers=frozenset()),
        credentials=Credentials(key="k", secret="s"),
        tokens=Tokens(lifetime=1.0, clock=time.monotonic),
        faults=Faults(Rates(delay=delay), seed=1),
        witness=witness,
    )
    runner, port = await started(platform, 0)
    try:
        yield f"http://127.0.0.1:{port}/witness/"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def asking(witness, **options):
    async with running(witness, **options) as url, HttpWitness.open(url, parse_vkey(witness.key)) as anchor:
        yield anchor


@pytest.fixture
async def anchor(tmp_path):
    async with asking(opened(tmp_path / "witness")) as found:
        yield found


class TestAnchor(contracts.AnchorContract): ...


async def add(anchor, old, new, log=LOG):
    return await anchor.add_checkpoint(old, log.path(old, new), log.note(new))


async def test_it_remembers_the_largest_size_and_its_key_across_restarts(tmp_path):
    async with asking(opened(tmp_path)) as anchor:
        await add(anchor, 0, 7)
        await add(anchor, 7, 20)
        before = anchor.key
    async with asking(opened(tmp_path)) as anchor:
        assert anchor.key == before
        assert await add(anchor, 0, 9) == HoldsSize(size=20)
        assert await add(anchor, 20, 20, LOG.changed(3)) == OtherRoot()
        assert isinstance(await add(anchor, 20, 30), Cosigned)


KILLED = """
import os, signal, sys, time
from pathlib import Path
from adapters.ndxp.mock import witness
found = witness.opened(Path(sys.argv[1]), sys.argv[2], [sys.argv[3]], time.time)
found.crash = lambda: os.kill(os.getpid(), signal.SIGKILL)
found.add(sys.stdin.buffer.read())
"""


async def test_killed_after_it_wrote_and_before_it_answered_it_signs_no_second_root(tmp_path):
    opened(tmp_path).add(f"old 0\n\n{LOG.note(7)}".encode())
    path = "".join(f"{line}\n" for line in encoded(LOG.path(7, 20)))
    killed = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", KILLED, str(tmp_path), NAME, format_vkey(LOG.key)],
        input=f"old 7\n{path}\n{LOG.note(20)}".encode(),
        timeout=60,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    async with asking(opened(tmp_path)) as anchor:
        assert await add(anchor, 7, 20, LOG.changed(12)) == HoldsSize(size=20)
        assert await add(anchor, 20, 20, LOG.changed(12)) == OtherRoot()
        assert isinstance(await add(anchor, 20, 20), Cosigned)


def encoded(hashes):
    return [b64encode(each).decode() for each in hashes]


async def test_what_cannot_be_written_is_not_signed(tmp_path, monkeypatch):
    witness = opened(tmp_path)

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    async with asking(witness) as anchor:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(AnchorAway, match="500"):
                await add(anchor, 0, 7)
        assert isinstance(await add(anchor, 0, 9), Cosigned)
    assert opened(tmp_path)._seen[LOG.origin][0] == 9


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"old 0\n", 400),
        (b"old -1\n\n" + LOG.note(7).encode(), 400),
        (b"old 01\n\n" + LOG.note(7).encode(), 400),
        (b"size 0\n\n" + LOG.note(7).encode(), 400),
        (b"old 0\n" + b"AAAA\n" * 64 + b"\n" + LOG.note(7).encode(), 400),
        (b"old 0\nAA\n\n" + LOG.note(7).encode(), 400),
        (b"old 8\n\n" + LOG.note(7).encode(), 400),
        (b"old 0\n\n" + LOG.note(7).encode().replace(b"\n7\n", b"\n8\n"), 403),
        (b"old 0\n\n" + LOG.note(7).encode().replace(b"/91/", b"/92/"), 404),
        (b"old 3\n\n" + LOG.note(7).encode(), 409),
        (b"old 0\n" + b"A" * 43 + b"=\n\n" + LOG.note(7).encode(), 422),
        (b"old 0\n\n" + LOG.note(7).encode(), 200),
    ],
)
async def test_it_answers_as_the_protocol_says(tmp_path, body, status):
    async with (
        running(opened(tmp_path)) as url,
        aiohttp.ClientSession() as session,
        session.post(f"{url}add-checkpoint", data=body) as answer,
    ):
        assert answer.status == status
        if status == 409:
            assert (answer.content_type, await answer.text()) == ("text/x.tlog.size", "0\n")


@pytest.mark.parametrize(
    "answer",
    [
        (200, "text/plain", b"\xff" * 40_000),
        (409, "text/x.tlog.size", b"many"),
        (409, "text/x.tlog.size", b"9" * 30),
        (409, "text/plain", b"7"),
        (302, "text/plain", b""),
        (503, "text/plain", b""),
    ],
)
async def test_an_answer_that_is_none_is_no_word(answer, tmp_path):
    status, content_type, body = answer

    async def handle(_request):
        return aiohttp.web.Response(status=status, body=body, headers={"Content-Type": content_type})

    application = aiohttp.web.Application()
    application.router.add_post("/add-checkpoint", handle)
    runner = aiohttp.web.AppRunner(application, access_log=None)
    await runner.setup()
    await aiohttp.web.TCPSite(runner, "127.0.0.1", 0).start()
    key = parse_vkey(opened(tmp_path).key)
    async with HttpWitness.open(f"http://127.0.0.1:{runner.addresses[0][1]}", key) as anchor:
        with pytest.raises(AnchorAway):
            await add(anchor, 0, 7)
    await runner.cleanup()


async def test_an_answer_that_comes_in_pieces_is_read_whole(tmp_path):
    witness = opened(tmp_path)

    async def handle(request):
        line = witness.add(await request.read()).encode()
        response = aiohttp.web.StreamResponse()
        await response.prepare(request)
        for at in range(0, len(line), 16):
            await response.write(line[at : at + 16])
            await asyncio.sleep(0)
        return response

    application = aiohttp.web.Application()
    application.router.add_post("/add-checkpoint", handle)
    runner = aiohttp.web.AppRunner(application, access_log=None)
    await runner.setup()
    await aiohttp.web.TCPSite(runner, "127.0.0.1", 0).start()
    async with HttpWitness.open(f"http://127.0.0.1:{runner.addresses[0][1]}", parse_vkey(witness.key)) as anchor:
        answer = await add(anchor, 0, 7)
        assert open_checkpoint(LOG.note(7) + answer.lines, LOG.key, [anchor.key]).size == 7
    await runner.cleanup()


@pytest.mark.parametrize("vkey", ["", "a log", "a+b+c", format_vkey(LOG.key).replace("+", "+0", 1)])
def test_a_key_that_is_none_is_refused_before_it_listens(tmp_path, vkey, capsys):
    account = {"NDXP_CONSUMER_KEY": "k", "NDXP_CONSUMER_SECRET": "s"}
    arguments = ["--count", "1", "--witness", str(tmp_path), "--witness-log", vkey]
    assert main(arguments, account) == 2
    assert capsys.readouterr().err.startswith("--witness: ")


async def test_its_key_may_be_made_beforehand_and_gateways_on_other_machines_ask_it_by_tls(tmp_path, capsys):
    folder, port = tmp_path / "witness", free_port()
    certificate, key = certificate_in(tmp_path)
    assert main(["--make-key", str(folder)], {}) == 0
    vkey = capsys.readouterr().out.strip()
    (folder / "logs").write_text(f"{format_vkey(LOG.key)}\n")
    command = [
        sys.executable,
        "-m",
        "adapters.ndxp.mock",
        "--count",
        "1",
        "--witness",
        folder,
        "--tls",
        str(port),
        certificate,
        key,
    ]
    account = {"NDXP_CONSUMER_KEY": "k", "NDXP_CONSUMER_SECRET": "s"}
    process = await asyncio.create_subprocess_exec(*command, env=account, stdout=asyncio.subprocess.PIPE)
    try:
        assert await asyncio.wait_for(process.stdout.readline(), 60)
        url = f"https://127.0.0.1:{port}/witness"
        async with HttpWitness.open(url, parse_vkey(vkey)) as stranger:
            with pytest.raises(AnchorAway, match="Certificate"):
                await add(stranger, 0, 7)
        async with HttpWitness.open(url, parse_vkey(vkey), trusting=trusting(certificate)) as anchor:
            answer = await add(anchor, 0, 7)
        assert open_checkpoint(LOG.note(7) + answer.lines, LOG.key, [parse_vkey(vkey)]).size == 7
    finally:
        process.kill()
        await process.communicate()


def certificate_in(folder):
    """Write a certificate for 127.0.0.1, signed by itself, and its key."""
    certificate, key = folder / "tls.pem", folder / "tls.key"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-noenc",
        "-subj",
        "/CN=a witness",
    ]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return certificate, key


def test_a_certificate_that_is_none_is_refused_before_it_listens(tmp_path, capsys):
    account = {"NDXP_CONSUMER_KEY": "k", "NDXP_CONSUMER_SECRET": "s"}
    assert main(["--count", "1", "--tls", "0", str(tmp_path / "tls.pem"), str(tmp_path / "tls.key")], account) == 2
    assert capsys.readouterr().err.startswith("--tls: ")


async def test_nobody_there_is_no_word(tmp_path):
    witness = opened(tmp_path)
    async with running(witness) as url:
        pass
    async with HttpWitness.open(url, parse_vkey(witness.key)) as anchor:
        with pytest.raises(AnchorAway):
            await add(anchor, 0, 7)
