"""What a Redis server is refused for when a backend opens, and what operators are told of one."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from reinhardt_tasks.backends.redis.check import LAYOUT
from reinhardt_tasks.backends.redis.link import Link
from reinhardt_tasks.backends.redis.place import parse
from reinhardt_tasks.errors import BackendUnavailableError, ConfigurationError, SchemaError
from tests.eventually import eventually
from tests.servers.link import link_to, linked, write
from tests.servers.redis import RedisServer

ROOT = b"{test:}"


def link_of(url: str, *, allow_eviction: bool = False) -> Link:
    """A link on keys that all tests of this file share, each on a server of its own."""
    return Link(parse(url)[0], root=ROOT, allow_eviction=allow_eviction)


async def refused(link: Link, told: str, *, setting: str | None = "url") -> None:
    """See that it does not open, why, and that it holds nothing afterwards."""
    with pytest.raises(ConfigurationError, match=told) as caught:
        await link.open()
    assert caught.value.setting == setting
    assert link._lane is None or link._lane.ended  # noqa: SLF001 - nothing stays open


@contextmanager
def servers_that_say(replies: dict[str, bytes]) -> Iterator[str]:
    """The URL of something that answers as a server of long ago would: there is none of those to be installed."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listening, listening.accept()[0] as line, line.makefile("rb") as asked:
            while header := asked.readline():
                words = []
                for _ in range(int(header[1:])):
                    size = int(asked.readline()[1:])
                    words.append(asked.read(size + 2)[:-2].decode())
                line.sendall(replies.get(words[0], b"-ERR unknown command `%s`\r\n" % words[0].encode()))

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"redis://127.0.0.1:{listening.getsockname()[1]}"
    thread.join(10)


async def test_server_that_evicts_is_refused_unless_that_is_allowed():
    """Any policy but noeviction deletes messages when memory runs out; `allow_eviction` takes the risk."""
    for policy in ("allkeys-lru", "volatile-ttl"):
        with RedisServer({"maxmemory-policy": policy}) as server:
            await refused(link_of(server.url()), f"maxmemory-policy {policy}.*noeviction", setting="allow_eviction")
            link = link_of(server.url(), allow_eviction=True)
            await link.open()
            assert "warning eviction" in await link.check()
            await link.close()


async def test_replica_is_refused():
    """A server that follows another takes no writes: its master is to be named."""
    with RedisServer() as server:
        server.call("REPLICAOF", "127.0.0.1", 1)
        await refused(link_of(server.url()), "read-only replica. Name its master")


@pytest.mark.parametrize("version", ["5.0.14", "6.0.16"])
async def test_old_server_is_refused(version):
    """6.2 is the first version that has all that is needed."""
    hello = b"*6\r\n$7\r\nversion\r\n$%d\r\n%s\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n"
    replies = {"CLIENT": b"+OK\r\n", "GET": b"$-1\r\n"}
    if not version.startswith("5"):
        replies["HELLO"] = hello % (len(version), version.encode())
    with servers_that_say(replies) as url:
        await refused(link_of(url), "too old: at least version 6.2")


async def test_data_of_a_newer_version_is_refused():
    """Keys that another version has laid out are not touched."""
    with RedisServer() as server:
        server.call("SET", ROOT + b"format", LAYOUT + 1)
        link = link_of(server.url())
        with pytest.raises(SchemaError, match="newer reinhardt-tasks") as caught:
            await link.open()
        assert (caught.value.found, caught.value.known) == (LAYOUT + 1, LAYOUT)


async def test_first_to_open_says_how_the_keys_are_laid_out():
    """The format is stored once, and left as it is."""
    with RedisServer() as server:
        for _ in range(2):
            link = link_of(server.url())
            await link.open()
            await link.close()
        assert server.call("GET", ROOT + b"format") == str(LAYOUT).encode()


async def test_full_server_is_opened():
    """Memory that is used up keeps no worker from finishing its work."""
    with RedisServer({"maxmemory": 1}) as server:
        link = link_of(server.url())
        await link.open()
        assert server.call("GET", ROOT + b"format") is None
        assert await write(link)
        assert "warning memory" in await link.check()
        await link.close()


@pytest.mark.parametrize(("user", "password"), [("", ""), ("", "wrong-word"), ("nobody", "wrong-word"), ("nobody", "")])
async def test_wrong_login_is_told_without_the_password(user, password):
    """A missing or wrong password is a setting to be mended."""
    with RedisServer({"requirepass": "right-word"}) as server:
        link = link_of(server.url(user=user, password=password))
        await refused(link, "does not accept the user and password")
        with pytest.raises(ConfigurationError) as caught:
            await link.open()
        assert "wrong-word" not in f"{caught.value!r} {caught.value.__cause__!r}"


async def test_password_where_none_is_needed_is_told():
    """A server without a password says so when it is given one."""
    with RedisServer() as server:
        await refused(link_of(server.url(password="word")), "does not accept the user and password")


async def test_right_that_is_missing_is_named():
    """The command that the user may not use stands in the error."""
    with RedisServer() as server:
        server.call("ACL", "SETUSER", "worker", "on", ">word", "~*", "&*", "+@all", "-info")
        await refused(link_of(server.url(user="worker", password="word")), "lacks a right: .*info")


async def test_database_that_does_not_exist_is_told():
    """The number of databases is the server's to set."""
    with RedisServer({"databases": 2}) as server:
        link = link_of(f"{server.url()}/1")
        await link.open()
        await link.close()
        await refused(link_of(f"{server.url()}/2"), "DB index is out of range")


async def test_node_of_a_cluster_is_refused_without_the_cluster():
    """A plain URL that leads to a node of a cluster is answered by the URL to write."""
    with RedisServer({"cluster-enabled": "yes"}) as server:
        await refused(link_of(server.url()), r"not complete. Write redis\+cluster://")
        server.call("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        eventually(lambda: b"cluster_state:ok" in server.call("CLUSTER", "INFO"))
        link = link_of(server.url())
        await link.open()  # one node that has everything is as good as a server
        assert (await link.check())["mode"] == "cluster"
        await link.close()
        await refused(link_of(f"{server.url()}/1"), "SELECT is not allowed in cluster mode")


async def test_nobody_there_is_unavailable():
    """Where nothing listens, waiting may help, so that it is no ConfigurationError."""
    with RedisServer() as server:
        server.kill()
        link = link_to(server.url())
        with pytest.raises(BackendUnavailableError, match=f"redis://127.0.0.1:{server.port} cannot be reached"):
            await link.open()
        server.start()
        await link.open()
        await link.close()


async def test_unknown_host_is_unavailable():
    """A name that is not known yet may be known later."""
    link = link_to("redis://no-such-host.invalid")
    with pytest.raises(BackendUnavailableError, match=r"redis://no-such-host.invalid:6379 cannot be reached"):
        await link.open()


# For operators --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "durability", "warned"),
    [
        ({}, "snapshots only", "no append-only file"),
        ({"appendonly": "yes"}, "everysec: ", "appendfsync everysec"),
        ({"appendonly": "yes", "appendfsync": "no"}, "no: ", "appendfsync no"),
        ({"appendonly": "yes", "appendfsync": "always"}, "always: ", None),
    ],
)
async def test_check_says_what_a_crash_may_lose(options, durability, warned):
    """The settings of the server's log are put into words, with a warning where they may lose something."""
    with RedisServer(options) as server:
        async with linked(server.url()) as link:
            facts = await link.check()
    assert facts["durability"].startswith(durability)
    assert (warned is None) == ("warning durability" not in facts)
    assert warned is None or warned in facts["warning durability"]


async def test_check_tells_what_the_server_is_and_holds(redis_server):
    """Version, mode, memory and keys are there, and no warning where there is no reason."""
    async with linked(redis_server.url()) as link:
        facts = await link.check()
    assert facts["server"].startswith(("redis ", "valkey "))
    assert facts["mode"] == "standalone"
    assert facts["maxmemory"] == "none"
    assert int(facts["keys"]) >= 1
    assert facts["prefix"] == link.root.decode()
    assert {name for name in facts if name.startswith("warning")} <= {"warning durability"}


async def test_check_warns_of_replicas_that_are_missing():
    """More replicas waited for than there are means that no write ends well."""
    with RedisServer({"appendonly": "yes", "appendfsync": "always"}) as server:
        async with linked(server.url(), wait_replicas=2) as link:
            facts = await link.check()
    assert "wait_replicas=2" in facts["warning replicas"]


async def test_check_warns_of_a_disk_that_cannot_be_written():
    """A failed save shows, and keeps the server from taking writes."""
    with RedisServer({"save": "3600 1", "enable-protected-configs": "yes"}) as server:
        async with linked(server.url()) as link:
            server.call("CONFIG", "SET", "dbfilename", "none")
            (server.directory / "none").mkdir()
            server.call("BGSAVE")
            eventually(lambda: server.call("INFO", "persistence")["rdb_last_bgsave_status"] == "err")
            assert "disk" in (await link.check())["warning rdb_last_bgsave_status"]


async def test_check_does_without_the_right_to_ask_for_settings():
    """A user who may not use CONFIG is told all the rest."""
    with RedisServer({"appendonly": "yes"}) as server:
        server.call("ACL", "SETUSER", "worker", "on", ">word", "~*", "&*", "+@all", "-config")
        async with linked(server.url(user="worker", password="word")) as link:
            facts = await link.check()
    assert "this user may not ask" in facts["durability"]
