"""The private RabbitMQ server of the test kit: it comes up apart from the machine's own, keeps what is durable over a kill, and leaves nothing behind."""

import asyncio
import contextlib

import aio_pika
import psutil
import pytest

from lgsp.errors import Unusable
from lgsp.testing import rabbitmq

pytestmark = pytest.mark.timeout(180)  # two starts on a machine that has other things to do


def test_a_machine_without_rabbitmq_is_told_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(rabbitmq, "PLACES", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unusable) as raised, rabbitmq.private_server(tmp_path / "server"):
        pass
    assert raised.value.code == "broker_missing"


def test_a_server_that_cannot_start_says_where_to_look(tmp_path):
    with pytest.raises(Unusable) as raised, rabbitmq.private_server(tmp_path, extra="nonsense = 1"):
        pass
    assert raised.value.code == "broker_failed"
    assert str(tmp_path) in raised.value.detail


async def test_what_is_confirmed_outlives_a_kill_and_a_stop_leaves_no_process(tmp_path):
    before = {process.pid for process in psutil.process_iter()}
    with rabbitmq.private_server(tmp_path) as server:
        async with await aio_pika.connect(server.url) as connection:
            channel = await connection.channel()
            await channel.declare_queue("kept", durable=True, arguments={"x-queue-type": "quorum"})
            await channel.default_exchange.publish(aio_pika.Message(b"kept", delivery_mode=2), "kept")
        server.kill()
        server.start()
        assert await first_of(server.url, "kept") == b"kept"
    ours = [process for process in psutil.process_iter(["pid", "cwd", "environ"]) if process.pid not in before]
    assert not [process for process in ours if (process.info["environ"] or {}).get("HOME") == str(tmp_path)]


async def first_of(url, name):
    """Return the body of a queue's first message; one that has no leader yet after a start does not answer, and is asked again."""
    async with await aio_pika.connect(url) as connection, asyncio.timeout(30):
        while True:
            channel = await connection.channel()
            queue = await channel.get_queue(name, ensure=False)
            with contextlib.suppress(TimeoutError):
                return (await queue.get(timeout=1)).body
