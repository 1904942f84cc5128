"""A Redis master and its replica, watched by sentinels that promote the replica when the master is gone."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Self
from urllib.parse import quote, urlencode

from tests.eventually import eventually
from tests.servers.redis import Option, RedisServer

SERVICE = "mymaster"
PATIENCE = 1_000
"""Milliseconds of silence after which a sentinel holds a server for down."""


class Watched:
    """Two servers under three sentinels. `options` are for the servers, `watching` for the sentinels."""

    def __init__(
        self, *, options: dict[str, Option] | None = None, watching: dict[str, Option] | None = None, login: str = ""
    ) -> None:
        self._options: dict[str, Option] = {"repl-diskless-sync-delay": 0, **(options or {})}
        self._watching = watching or {}
        self._login = login
        self.first = RedisServer(self._options)
        self.second = RedisServer(self._options)
        self.sentinels: list[RedisServer] = []
        self._stack = ExitStack()

    def url(self, **query: str | float) -> str:
        """The URL of a backend on the master, whichever it is."""
        named = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        url = f"redis+sentinel://{self._login}{named}/{quote(SERVICE)}"
        return f"{url}?{urlencode(query)}" if query else url

    def master_port(self) -> int:
        """Where the first sentinel that answers says that the master is."""
        return int(self.sentinels[0].call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1])

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for server in (self.first, self.second):
                stack.enter_context(server)
            self.second.call("REPLICAOF", "127.0.0.1", self.first.port)
            eventually(lambda: self.second.call("INFO", "replication")["master_link_status"] == "up")
            self.sentinels = [RedisServer(self._lines(), sentinel=True) for _ in range(3)]
            for sentinel in self.sentinels:
                stack.enter_context(sentinel)
            eventually(lambda: all(self._knows_all(sentinel) for sentinel in self.sentinels))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.__exit__(None, None, None)

    def _lines(self) -> dict[str, Option]:
        password = self._options.get("requirepass")
        lines = [
            f"monitor {SERVICE} 127.0.0.1 {self.first.port} 2",
            f"down-after-milliseconds {SERVICE} {PATIENCE}",
            f"failover-timeout {SERVICE} 5000",
            *([f"auth-pass {SERVICE} {password}"] if password else []),
        ]
        return {"sentinel": lines, **self._watching}

    @staticmethod
    def _knows_all(sentinel: RedisServer) -> bool:
        facts = sentinel.call("INFO", "sentinel")["master0"]
        return (facts["status"], facts["slaves"], facts["sentinels"]) == ("ok", 1, 3)
