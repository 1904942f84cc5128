"""Redis under sentinels: the master is asked for, and asked for again when it has gone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from reinhardt_tasks.backends.redis.link import Link
from reinhardt_tasks.errors import BackendUnavailableError, ConfigurationError
from tests.eventually import eventually_async
from tests.servers.link import link_to, linked, patiently, shouting, write
from tests.servers.redis import RedisServer, fresh_prefix
from tests.servers.sentinels import Watched
from tests.workshop import at_work


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    """Servers that stay as they are, with a password for themselves and one for the sentinels."""
    options, watching = {"requirepass": "word", "masterauth": "word"}, {"requirepass": "password"}
    with Watched(options=options, watching=watching, login=":word@") as it:
        yield it


async def works(link: Link) -> bool:
    """Whether a call gets through now."""
    try:
        await write(link)
    except BackendUnavailableError:
        return False
    return True


def written(server: RedisServer) -> int:
    """How much a server has of its master's writes, or of its own."""
    offset: int = server.call("INFO", "replication")["master_repl_offset"]
    return offset


async def test_sentinels_name_the_master(watched):
    """The URL names the sentinels alone; calls and pushes go to the master, in the database of the URL."""
    async with linked(watched.url(sentinel_password="password", db=3)) as link:
        await write(link)
        assert watched.first.call("INFO", "keyspace")["db3"]["keys"] == 2
        await link.listener.ready()
        with link.listener.sleeper(b"s") as sleeper:
            await link.command("PUBLISH", link.listener.channel, "s")
            assert await sleeper.woken(5)
        assert watched.first.call("FLUSHALL")


async def test_sentinels_that_are_away_are_passed_over(watched):
    """One sentinel that answers is enough."""
    with RedisServer() as gone:
        gone.kill()
        url = watched.url(sentinel_password="password")
        before, _, rest = url.partition("@")
        async with linked(f"{before}@127.0.0.1:{gone.port},{rest}") as link:
            assert await write(link)


async def test_service_that_no_sentinel_knows_is_told(watched):
    """A wrong name is a setting to be mended."""
    link = link_to(watched.url(sentinel_password="password").replace("mymaster", "yours"))
    with pytest.raises(ConfigurationError, match="the sentinels know no service 'yours'"):
        await link.open()


@pytest.mark.parametrize("query", [{}, {"sentinel_password": "wrong"}])
async def test_sentinels_have_a_password_of_their_own(watched, query):
    """Sentinels that want a login are given `sentinel_password`, and say so where it does not fit."""
    with pytest.raises(ConfigurationError, match="does not accept the user and password"):
        await link_to(watched.url(**query)).open()


async def test_work_goes_on_at_the_replica_when_the_master_dies():
    """After SIGKILL of the master a worker and a producer go on at its replica by themselves, and are pushed again."""
    with Watched() as watched:
        queue, shout = shouting(watched.url(), fresh_prefix())
        async with queue, at_work(queue):
            assert await (await shout.enqueue("before")).result(timeout=20) == "BEFORE"
            later = await shout.using(delay=1).enqueue("later")
            await eventually_async(lambda: written(watched.first) == written(watched.second))
            waiting = asyncio.create_task(patiently(lambda: later.result(timeout=60), timeout=60))
            watched.first.kill()
            handle = await patiently(lambda: shout.enqueue("after"))
            assert await handle.result(timeout=30) == "AFTER"
            assert await waiting == "LATER"
            assert watched.second.call("ROLE")[0] == b"master"


async def test_master_that_hangs_is_left():
    """A frozen master is replaced as a dead one is, by those who have a connection to it, too."""
    with Watched() as watched:
        async with linked(watched.url(), timeout=1.0) as link:
            await write(link)
            watched.first.pause()
            assert await patiently(lambda: write(link))
            assert watched.second.call("ROLE")[0] == b"master"
            watched.first.unpause()
            assert await works(link)
