"""A Redis Cluster of a test: masters that share the slots, and replicas of some of them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from typing import Self
from urllib.parse import urlencode

from redis.crc import key_slot

from tests.eventually import eventually
from tests.servers.process import free_port
from tests.servers.redis import Option, RedisServer

SLOTS = 16_384
NODE_TIMEOUT = 1_000
"""Milliseconds after which the others hold a node that is silent for dead."""


class RedisCluster:
    """`masters` nodes with a part of the slots each; the first `replicas` of them have one replica each."""

    def __init__(self, *, masters: int = 3, replicas: int = 0, options: dict[str, Option] | None = None) -> None:
        self._options = options or {}
        self._buses: dict[RedisServer, int] = {}
        self.masters = [self._node() for _ in range(masters)]
        self.replicas = [self._node() for _ in range(replicas)]
        self._stack = ExitStack()

    def _node(self) -> RedisServer:
        bus = free_port()
        node = RedisServer(
            {
                "cluster-enabled": "yes",
                "cluster-port": bus,
                "cluster-node-timeout": NODE_TIMEOUT,
                "repl-diskless-sync-delay": 0,
                **self._options,
            }
        )
        self._buses[node] = bus
        return node

    @property
    def nodes(self) -> list[RedisServer]:
        """All of them."""
        return [*self.masters, *self.replicas]

    def url(self, nodes: Iterable[RedisServer] | None = None, **query: str | float) -> str:
        """The URL of a backend on it that names these nodes, all masters unless told otherwise."""
        named = ",".join(f"127.0.0.1:{node.port}" for node in nodes or self.masters)
        return f"redis+cluster://{named}" + (f"?{urlencode(query)}" if query else "")

    def master_of(self, key: str | bytes) -> RedisServer:
        """The node that had the slot of `key` at first."""
        size = -(-SLOTS // len(self.masters))
        return self.masters[key_slot(key.encode() if isinstance(key, str) else key) // size]

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for node in self.nodes:
                stack.enter_context(node)
            self._join()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.__exit__(None, None, None)

    def _join(self) -> None:
        first, size = self.nodes[0], -(-SLOTS // len(self.masters))
        for epoch, node in enumerate(self.nodes, 1):
            node.call("CLUSTER", "SET-CONFIG-EPOCH", epoch)
            if node is not first:
                node.call("CLUSTER", "MEET", "127.0.0.1", first.port, self._buses[first])
        for number, master in enumerate(self.masters):
            master.call("CLUSTER", "ADDSLOTSRANGE", number * size, min((number + 1) * size, SLOTS) - 1)
        eventually(lambda: all(self._knows_all(node) for node in self.nodes))
        for master, replica in zip(self.masters, self.replicas, strict=False):
            replica.call("CLUSTER", "REPLICATE", master.call("CLUSTER", "MYID").decode())
        eventually(lambda: all(self._is_ready(node) for node in self.nodes))

    def _knows_all(self, node: RedisServer) -> bool:
        return int(_state(node)["cluster_known_nodes"]) == len(self.nodes)

    def _is_ready(self, node: RedisServer) -> bool:
        linked = node in self.masters or node.call("INFO", "replication").get("master_link_status") == "up"
        return linked and _state(node)["cluster_state"] == "ok"


def _state(node: RedisServer) -> dict[str, str]:
    lines: list[str] = node.call("CLUSTER", "INFO").decode().splitlines()
    return dict(line.split(":", 1) for line in lines)
