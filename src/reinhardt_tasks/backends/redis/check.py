"""Whether a Redis server can keep the promises, looked at when a backend opens; and what an operator should know."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from reinhardt_tasks.backends.redis.connection import Hello
from reinhardt_tasks.backends.redis.lane import Copies
from reinhardt_tasks.errors import BackendError, BackendFullError, ConfigurationError, SchemaError

LAYOUT: Final = 1
"""How this version lays out the keys of a prefix."""
OLDEST: Final = (6, 2)
"""The oldest server that knows all commands and options in use."""
_NEARLY_FULL: Final = 0.8

Ask = Callable[..., Awaitable[Any]]
"""Sends a command and gives the reply."""


async def admit(ask: Ask, hello: Hello, layout: bytes | None, *, place: str, root: bytes, allow_eviction: bool) -> None:
    """Raise unless the server is new enough, evicts nothing, and holds data of this layout or none.

    Raises ConfigurationError or SchemaError, which say what to do, and what `ask` raises.
    """
    if hello.version < OLDEST:
        raise ConfigurationError(
            f"Redis at {place} is too old: at least version 6.2 is needed, and any Valkey will do. Upgrade the server.",
            setting="url",
        )
    policy = (await _info(ask, "memory")).get("maxmemory_policy", "noeviction")
    if policy != "noeviction" and not allow_eviction:
        raise ConfigurationError(
            f"Redis at {place} has maxmemory-policy {policy}: when memory runs out it silently deletes keys, and "
            "messages with them. Type CONFIG SET maxmemory-policy noeviction (and write it into redis.conf), use "
            "another server, or accept the loss with allow_eviction=true.",
            setting="allow_eviction",
        )
    await _claim(ask, layout, place, root)


async def _claim(ask: Ask, layout: bytes | None, place: str, root: bytes) -> None:
    """See that the data is laid out as this version does it; say so where there is none yet."""
    if layout is None:
        try:
            await ask(b"SET", root + b"format", LAYOUT, b"NX")
        except BackendFullError:
            return  # whoever opens next says it
        layout = await ask(b"GET", root + b"format")
    found = int(layout or 0) if (layout or b"0").isdigit() else 0
    if found > LAYOUT:
        raise SchemaError(
            f"the keys of {root.decode(errors='replace')} at {place} are laid out by a newer reinhardt-tasks (format "
            f"{found}; this one knows {LAYOUT}). Upgrade reinhardt-tasks, or use another prefix.",
            place=place,
            found=found,
            known=LAYOUT,
        )


# For operators --------------------------------------------------------------------------------------------------------


async def facts(ask: Ask, hello: Hello, *, place: str, root: bytes, copies: Copies) -> dict[str, str]:
    """Versions, durability, sizes, and warnings."""
    info = await _info(ask)
    fsync = await _setting(ask, "appendfsync")
    found = {
        "backend": "redis",
        "place": place,
        "prefix": root.decode(errors="replace"),
        "server": f"{info.get('server_name', 'redis')} {info.get('valkey_version', info.get('redis_version', '?'))}",
        "mode": hello.mode,
        "durability": _durability(info, fsync),
        "replicas": f"{info.get('connected_slaves', '?')} connected, {copies.wanted} waited for",
        "memory": f"{info.get('used_memory', '?')} bytes used",
        "maxmemory": _limit(info),
        "keys": str(await ask("DBSIZE")),
        "messages": str(await ask("HLEN", root + b"messages")),
    }
    return {**found, **_warnings(info, fsync, copies)}


async def _info(ask: Ask, *section: str) -> dict[str, str]:
    text: str = (await ask("INFO", *section)).decode(errors="replace")
    pairs = (line.partition(":") for line in text.splitlines() if not line.startswith("#"))
    return {name: value for name, _, value in pairs}


async def _setting(ask: Ask, name: str) -> str:
    """A server's setting; empty where the user may not ask, as CONFIG is often kept from applications."""
    try:
        pair = await ask("CONFIG", "GET", name)
    except BackendError:
        return ""
    return pair[1].decode() if pair else ""


def _durability(info: dict[str, str], fsync: str) -> str:
    if info.get("aof_enabled") != "1":
        return "snapshots only, or none: a crash of the server loses what came after the last one"
    return {
        "always": "always: each write is on the disk before its call returns",
        "everysec": "everysec: a crash of the server may take back the last second or two",
        "no": "no: a crash of the machine may take back the last half minute; one of the server alone takes none",
    }.get(fsync, "a log of all writes; how often it is written to the disk this user may not ask (CONFIG GET)")


def _limit(info: dict[str, str]) -> str:
    limit = info.get("maxmemory", "0")
    return f"{limit} bytes, {info.get('maxmemory_policy', '?')}" if limit != "0" else "none"


def _warnings(info: dict[str, str], fsync: str, copies: Copies) -> dict[str, str]:
    warnings: dict[str, str] = {}
    if info.get("aof_enabled") != "1":
        warnings["warning durability"] = (
            "there is no append-only file: a restart of the server loses messages. Set appendonly yes."
        )
    elif fsync in {"everysec", "no"}:
        warnings["warning durability"] = (
            f"with appendfsync {fsync} a crash may lose the last writes. Set appendfsync always where none may be lost."
        )
    if info.get("maxmemory_policy", "noeviction") != "noeviction":
        warnings["warning eviction"] = (
            f"maxmemory-policy {info['maxmemory_policy']} deletes messages when memory runs out. Set noeviction."
        )
    if _number(info, "maxmemory") and _number(info, "used_memory") > _NEARLY_FULL * _number(info, "maxmemory"):
        warnings["warning memory"] = (
            f"{info['used_memory']} of {info['maxmemory']} bytes are used; enqueue fails when nothing is left. Let "
            "workers catch up or raise maxmemory."
        )
    if _number(info, "connected_slaves") < copies.wanted:
        warnings["warning replicas"] = (
            f"{info.get('connected_slaves', '0')} replicas are connected where wait_replicas={copies.wanted}: every "
            "write ends as unavailable. See to the replicas or lower wait_replicas."
        )
    for field in ("aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status"):
        if info.get(field, "ok") != "ok":
            warnings[f"warning {field}"] = "the server cannot write to its disk. See its log, and free space."
    return warnings


def _number(info: dict[str, str], name: str) -> int:
    text = info.get(name, "0")
    return int(text) if text.isdigit() else 0
