"""The Redis backend keeps every promise of the contract, on a real server whose clock is moved."""

from __future__ import annotations

import atexit
import functools

import pytest

from reinhardt_tasks.backends.redis import RedisTaskBackend
from reinhardt_tasks.testing.conformance import BackendConformance, Bench, Feature
from reinhardt_tasks.testing.conformance.machine import conformance_machine
from tests.servers.redis import RedisServer, SharedRedis, fresh_prefix, shared
from tests.servers.rights import login


class RedisBench(Bench):
    """A prefix of its own on a server, as a user with no more rights than needed. Instances share nothing but that."""

    lacks = (Feature.CONNECTIONS,)

    def __init__(self, server: SharedRedis) -> None:
        self.server = server
        self.lease = server.lease
        self.patience = server.patience
        self.prefix = fresh_prefix()

    def connect(self) -> RedisTaskBackend:
        return RedisTaskBackend(self.server.url(**login(self.server)), prefix=self.prefix)

    async def advance(self, seconds: float) -> None:
        await self.server.let_pass(seconds)


class TestRedis(BackendConformance):
    @pytest.fixture
    def bench(self) -> RedisBench:
        return RedisBench(shared())


@functools.cache
def still_server() -> RedisServer:
    """A server whose clock stands while the machine works, as the clock of its model does."""
    started = RedisServer(still=True)
    atexit.register(started.close)
    started.start()
    return started


TestRedisMachine = conformance_machine(lambda: RedisBench(still_server()), examples=25)
