"""A cluster of three private RabbitMQ nodes: one cookie, one port mapper, each with a folder and ports of its own; they find each other by name.

When nodes lose sight of each other the smaller part pauses and comes back by itself, as is recommended where queues are replicated.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from lgsp.privatebroker import PrivateServer
from lgsp.privateserver import free_port
from tests.chaos.engines import Engine, Victim

NODES: Final = 3
FORMATION: Final = """\
cluster_formation.peer_discovery_backend = classic_config
cluster_formation.randomized_startup_delay_range.min = 0
cluster_formation.randomized_startup_delay_range.max = 1
cluster_partition_handling = pause_minority
{nodes}
"""
LEADERS: Final = """
    Names = [atom_to_list(Node) || Queue <- rabbit_amqqueue:list(), {_, Node} <- [amqqueue:get_pid(Queue)]],
    io:format("~s", [string:join(Names, " ")]).
"""


@contextmanager
def three_nodes(folder: Path) -> Iterator[Engine]:
    """Run a cluster until the block ends."""
    servers = _servers(folder)
    with ExitStack() as stack:
        for server in servers:
            stack.callback(server.stop)
            server.start()
        victims = [Victim(name=f"node-{number}", server=server) for number, server in enumerate(servers, start=1)]
        assert _members(servers[0]) == NODES, "the nodes did not find each other"
        yield Engine(url=servers[0].url, victims=victims, leader=lambda: _leader(victims))


def _servers(folder: Path) -> list[PrivateServer]:
    mapper, cookie, password = free_port(), secrets.token_hex(16), secrets.token_urlsafe(12)
    names = [f"lgsp-{secrets.token_hex(4)}@localhost" for _ in range(NODES)]
    listed = "\n".join(
        f"cluster_formation.classic_config.nodes.{at} = {name}" for at, name in enumerate(names, start=1)
    )
    servers = [
        PrivateServer(
            folder=folder / name.partition("@")[0],
            extra=FORMATION.format(nodes=listed),
            _epmd_port=mapper,
            _node=name,
            _password=password,
        )
        for name in names
    ]
    for server in servers:
        server.folder.mkdir(parents=True)
        held = server.folder / ".erlang.cookie"
        held.touch(mode=0o600)
        held.write_text(cookie, encoding="ascii")
        held.chmod(0o400)
    return servers


def _members(server: PrivateServer) -> int:
    return int(server.evaluate("length(rabbit_mnesia:cluster_nodes(running))."))


def _leader(victims: list[Victim]) -> Victim:
    """Return the node that leads most queues."""
    asked = next(victim for victim in victims if victim.server.is_running)
    said = asked.server.evaluate(LEADERS).split()
    return max(victims, key=lambda victim: said.count(victim.server._node))
