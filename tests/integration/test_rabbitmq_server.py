"""The private RabbitMQ server of the test kit: it comes up apart from the machine's own, keeps what is durable over a kill, and leaves nothing behind."""

import aio_pika
import psutil
import pytest

from lgsp import privatebroker
from lgsp.errors import Unusable

pytestmark = pytest.mark.timeout(180)  # two starts on a machine that has other things to do


def test_a_machine_without_rabbitmq_is_told_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(privatebroker, "PLACES", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unusable) as raised, privatebroker.private_server(tmp_path / "server"):
        pass
    assert raised.value.code == "broker_missing"


def test_a_server_that_cannot_start_says_where_to_look(tmp_path):
    with pytest.raises(Unusable) as raised, privatebroker.private_server(tmp_path, extra="nonsense = 1"):
        pass
    assert raised.value.code == "broker_failed"
    assert str(tmp_path) in raised.value.detail


async def test_what_is_confirmed_outlives_a_kill_and_a_stop_leaves_no_process(tmp_path):
    with privatebroker.private_server(tmp_path) as server:
        async with await aio_pika.connect(server.url) as connection:
            channel = await connection.channel()
            await channel.declare_queue("kept", durable=True)
            await channel.default_exchange.publish(aio_pika.Message(b"kept", delivery_mode=2), "kept")
        server.settle()
        server.kill()
        server.start()
        async with await aio_pika.connect(server.url) as connection:
            channel = await connection.channel()
            queue = await channel.get_queue("kept")
            assert (await queue.get()).body == b"kept"
    assert not [process for process in psutil.process_iter() if home_of(process) == str(tmp_path)]


def home_of(process):
    try:
        return process.environ().get("HOME")
    except psutil.Error:
        return None
