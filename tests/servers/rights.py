"""The least rights of a Redis user whom a backend logs in as: what the documentation tells to grant."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

from tests.servers.redis import RedisServer

# What scripts call. Redis asks for the caller's right to each.
# fmt: off
SCRIPTS = frozenset(
    {
        "del", "exists", "expire", "get", "hdel", "hget", "hgetall", "hincrby", "hkeys", "hlen", "hmget", "hscan",
        "hset", "hstrlen", "lrange", "lrem", "ltrim", "pexpire", "publish", "renamenx", "rpush", "sadd", "scard", "set",
        "sismember", "smembers", "srandmember", "srem", "time", "ttl", "zadd", "zcard", "zmscore", "zrange",
        "zrangebyscore", "zrem", "zremrangebyrank", "zremrangebyscore", "zrevrangebylex", "zunion",
    }
)
# What is sent from outside of scripts: the scripts, what opening and waiting take, and `check`.
CALLS = frozenset({"dbsize", "eval", "evalsha", "get", "hlen", "info", "ping", "set", "smembers", "subscribe"})
# What makes `check` say how often the log is written to the disk, and CLIENT LIST name its clients.
USEFUL = frozenset({"config|get", "client|setname"})
# With a database in the URL, with `wait_replicas`, and in a cluster.
FOR_OPTIONS = frozenset({"select", "wait", "cluster|slots"})
# fmt: on
# Never to be granted, as they always are: AUTH and HELLO.


def rights(*, prefix: str, commands: Iterable[str] = SCRIPTS | CALLS) -> list[str]:
    """The words of ACL SETUSER that let a user do what a backend with this prefix does; `*` stands for any letters."""
    return [f"~{{{prefix}}}*", "resetchannels", f"&{{{prefix}}}wake:*", *(f"+{command}" for command in commands)]


def add_user(server: RedisServer, name: str, *words: Any) -> None:
    """A user with the password "word" who may do this and nothing else."""
    server.call("ACL", "SETUSER", name, "reset", "on", ">word", *words)


@functools.cache
def login(server: object) -> dict[str, str]:
    """What to give `RedisServer.url` for a user with these rights on all prefixes of tests; made when first asked for.

    Nothing for a server that is not ours, where no users are to be made.
    """
    if not isinstance(server, RedisServer):
        return {}
    add_user(server, "worker", *rights(prefix="test-*"))
    return {"user": "worker", "password": "word"}
