"""The stores on a Redis server keep every promise of their contracts."""

from __future__ import annotations

import pytest

from reinhardt_tasks.backends.redis import RedisMetadataStore, RedisResultBackend
from reinhardt_tasks.testing.conformance import MetadataBench, MetadataConformance, ResultBench, ResultConformance
from reinhardt_tasks.testing.conformance.metadata_machine import metadata_machine
from tests.conformance.test_redis import still_server
from tests.servers.redis import SharedRedis, fresh_prefix, shared


class RedisResultBench(ResultBench):
    """Keys of its own on the server of this test process, whose clock is moved."""

    def __init__(self) -> None:
        self.server = shared()
        self.prefix = fresh_prefix()
        self.patience = self.server.patience

    def connect(self, **options) -> RedisResultBackend:
        return RedisResultBackend(self.server.url(), prefix=self.prefix, **options)

    async def advance(self, seconds: float) -> None:
        await self.server.let_pass(seconds)


class TestRedisResults(ResultConformance):
    @pytest.fixture
    def bench(self) -> RedisResultBench:
        return RedisResultBench()


class RedisMetadataBench(MetadataBench):
    """As RedisResultBench, on any server."""

    def __init__(self, server: SharedRedis) -> None:
        self.server = server
        self.prefix = fresh_prefix()
        self.patience = server.patience

    def connect(self, **options) -> RedisMetadataStore:
        return RedisMetadataStore(self.server.url(), prefix=self.prefix, **options)

    async def advance(self, seconds: float) -> None:
        await self.server.let_pass(seconds)


class TestRedisMetadata(MetadataConformance):
    @pytest.fixture
    def bench(self) -> RedisMetadataBench:
        return RedisMetadataBench(shared())


TestRedisMetadataMachine = metadata_machine(lambda: RedisMetadataBench(still_server()), examples=15)
