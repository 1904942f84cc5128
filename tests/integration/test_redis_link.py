"""One connection that many callers share: what it does when the server stops, moves, forgets or refuses."""

from __future__ import annotations

import asyncio
import gc
import random
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator

import pytest
import uvloop

from reinhardt_tasks.errors import BackendError, BackendFullError, BackendUnavailableError
from tests.eventually import eventually, eventually_async
from tests.servers.link import TTL, link_to, linked, patiently, write
from tests.servers.proxy import Proxy
from tests.servers.redis import RedisServer

QUICK = 0.3


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server that the test may break."""
    with RedisServer({"repl-diskless-sync-delay": 0}) as it:
        yield it


def clients(server: RedisServer) -> int:
    """How many connections of ours the server has."""
    return server.call("CLIENT", "LIST").decode().count(" name=reinhardt-tasks ")


def stat(server: RedisServer, section: str, name: str) -> object:
    """One of the things that the server counts."""
    return server.call("INFO", section).get(name)


def used(server: RedisServer, command: str) -> int:
    """How often the server was sent a command."""
    found = stat(server, "commandstats", f"cmdstat_{command}")
    return found["calls"] if isinstance(found, dict) else 0


async def fate(awaitable) -> object:
    """What came of it: its value, or its error."""
    return (await asyncio.gather(awaitable, return_exceptions=True))[0]


# Many callers, one connection -----------------------------------------------------------------------------------------


async def test_callers_share_one_connection(redis_server):
    """A thousand calls at once need one connection, and each gets the reply to its own."""
    async with linked(redis_server.url()) as link:
        assert await asyncio.gather(*(link.command("ECHO", n) for n in range(1_000))) == [
            str(n).encode() for n in range(1_000)
        ]
        assert link.reconnects == 0


async def test_cancelled_callers_take_no_reply_of_others(redis_server):
    """A caller that leaves at any moment leaves its reply too: all others still get their own."""
    async with linked(redis_server.url()) as link:
        chance = random.Random(7)  # noqa: S311 - a test
        calls = [asyncio.create_task(link.command("ECHO", n)) for n in range(2_000)]
        while not all(call.done() for call in calls):
            for call in chance.sample(calls, 40):
                call.cancel()
            await asyncio.sleep(0)
        assert any(call.cancelled() for call in calls)
        answered = {n: call.result() for n, call in enumerate(calls) if not call.cancelled()}
        assert answered == {n: str(n).encode() for n in answered}


async def test_value_that_cannot_travel_harms_nobody_else(redis_server):
    """A wrong argument is its caller's error, before anything is sent."""
    async with linked(redis_server.url()) as link:
        outcomes = await asyncio.gather(
            link.command("ECHO", "a"), link.command("ECHO", None), link.command("ECHO", "b"), return_exceptions=True
        )
        assert [outcomes[0], outcomes[2]] == [b"a", b"b"]
        assert isinstance(outcomes[1], TypeError)


async def test_large_values_travel_both_ways(redis_server):
    """Requests and replies of many megabytes come through whole, and others beside them."""
    async with linked(redis_server.url()) as link:
        values = [bytes([n]) * 4_000_000 for n in range(4)]
        echoed = await asyncio.gather(*(link.command("ECHO", value) for value in values), link.command("PING"))
        assert echoed == [*values, b"PONG"]


# Scripts --------------------------------------------------------------------------------------------------------------


async def test_script_is_called_by_its_hash_and_learned_when_unknown(server):
    """The whole script travels once; then its hash is enough."""
    async with linked(server.url()) as link:
        for n in range(20):
            await write(link, str(n))
    assert (used(server, "eval"), used(server, "evalsha")) == (1, 20)


async def test_scripts_may_be_flushed_at_any_moment(server):
    """SCRIPT FLUSH without end costs callers nothing but time."""
    async with linked(server.url()) as link, linked(server.url()) as other:
        calls = asyncio.gather(*(write(link, str(n)) for n in range(100)))
        for _ in range(20):
            while not calls.done():
                await other.command("SCRIPT", "FLUSH")
            await calls
            calls = asyncio.gather(*(write(link, str(n)) for n in range(100)))
        await calls
        assert link.reconnects == 0


# The server goes away -------------------------------------------------------------------------------------------------


async def test_server_that_hangs_is_told_within_the_timeout(server):
    """A server that says nothing more is unavailable after `timeout`; once it is back, calls go through."""
    async with linked(server.url(), timeout=QUICK) as link:
        server.pause()
        started = time.monotonic()
        outcomes = await asyncio.gather(*(write(link, str(n)) for n in range(50)), return_exceptions=True)
        assert QUICK <= time.monotonic() - started < QUICK + 8
        assert {type(outcome) for outcome in outcomes} == {BackendUnavailableError}
        assert "not answered within 0.3 s" in str(outcomes[0])
        assert isinstance(await fate(write(link)), BackendUnavailableError)  # a connect hangs just as well
        server.unpause()
        assert await patiently(lambda: write(link), timeout=10)
        assert link.reconnects == 1


async def test_hanging_server_does_not_hang_open():
    """Where somebody listens and never answers, `open` is over after `timeout`."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        link = link_to(f"redis://127.0.0.1:{silent.getsockname()[1]}", timeout=QUICK)
        started = time.monotonic()
        with pytest.raises(BackendUnavailableError, match=r"no answer within 0.3 s"):
            await link.open()
        assert time.monotonic() - started < QUICK + 8


async def test_process_that_stood_still_keeps_its_connection(redis_server):
    """A loop that was blocked for longer than the timeout finds the replies that have come meanwhile."""
    async with linked(redis_server.url(), timeout=QUICK) as link:
        calls = [asyncio.create_task(link.command("ECHO", n)) for n in range(10)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        time.sleep(2 * QUICK)  # noqa: ASYNC251 - that is what some applications do
        assert await asyncio.gather(*calls) == [str(n).encode() for n in range(10)]
        assert link.reconnects == 0


async def test_calls_under_way_when_the_server_dies_are_unavailable(server):
    """Whoever waits for a reply is told that nothing is known; the restarted server serves the same link."""
    async with linked(server.url()) as link:
        server.pause()
        calls = [asyncio.create_task(write(link, str(n))) for n in range(100)]
        await asyncio.sleep(0)
        server.kill()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {BackendUnavailableError}
        assert len({id(outcome) for outcome in outcomes}) == 100
        with pytest.raises(
            BackendUnavailableError, match=f"Redis at redis://127.0.0.1:{server.port} cannot be reached"
        ):
            await write(link)
        server.restart()
        assert await patiently(lambda: write(link), timeout=10)


async def test_lost_connection_is_made_anew_by_the_next_call_once_for_all(server):
    """A hundred callers who find the connection gone share one new one."""
    async with linked(server.url()) as link:
        await link.command("PING")
        before = stat(server, "stats", "total_connections_received")
        server.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await eventually_async(lambda: link._lane is None)  # noqa: SLF001 - the loss has arrived
        await asyncio.gather(*(write(link, str(n)) for n in range(100)))
        kills_and_stats = 2
        assert stat(server, "stats", "total_connections_received") - before == 1 + kills_and_stats
        assert (link.reconnects, clients(server)) == (1, 1)


async def test_callers_without_patience_do_not_storm_a_dead_server(server):
    """Attempts to connect have pauses between them, however often callers ask."""
    async with linked(server.url()) as link:
        server.kill()
        started, failures = time.monotonic(), 0
        while time.monotonic() - started < 1.5:
            outcomes = await asyncio.gather(*(write(link) for _ in range(20)), return_exceptions=True)
            assert all(isinstance(outcome, BackendUnavailableError) for outcome in outcomes)
            failures += 1
        assert failures < 60


async def test_caller_that_leaves_during_a_connect_takes_it_from_nobody(server):
    """Of two who wait for the same connect one may be cancelled."""
    async with linked(server.url()) as link:
        server.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await eventually_async(lambda: link._lane is None)  # noqa: SLF001 - the loss has arrived
        first, second = asyncio.create_task(write(link)), asyncio.create_task(write(link))
        await asyncio.sleep(0)
        first.cancel()
        assert await second
        assert first.cancelled()


async def test_close_answers_those_who_wait(server):
    """Nobody waits for ever on a link that was closed; a call afterwards says that it is not open."""
    link = link_to(server.url())
    await link.open()
    server.pause()
    call = asyncio.create_task(write(link))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await link.close()
    assert isinstance(await fate(call), BackendUnavailableError)
    server.unpause()
    with pytest.raises(BackendError, match="not open in this process"):
        await write(link)
    await link.open()
    assert await write(link)
    await link.close()


async def test_opening_twice_at_once_opens_once(server):
    """Whoever opens a link that is being opened waits until it is open; a failure is everybody's own."""
    link = link_to(server.url())
    await asyncio.gather(*(link.open() for _ in range(5)))
    assert await write(link)
    assert clients(server) == 1
    await link.close()
    server.kill()
    outcomes = await asyncio.gather(*(link.open() for _ in range(3)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {BackendUnavailableError}


async def test_link_that_is_closed_while_it_opens_is_closed(server):
    """A close that overtakes an open leaves no connection behind."""
    link = link_to(server.url())
    opening = asyncio.create_task(link.open())
    await eventually_async(lambda: clients(server) == 1)
    await link.close()
    await fate(opening)
    await eventually_async(lambda: clients(server) == 0)


async def test_nothing_is_left_open(redis_server):
    """Opened and closed, used or lost, a link leaves no transport behind."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            async with linked(redis_server.url()) as link:
                await link.listener.ready()
                await write(link)
        del link
        gc.collect()
    assert clients(redis_server) == 0


def test_request_in_the_moment_of_a_loss_is_told_so_on_uvloop_too(redis_server):
    """That loop refuses to write on what it has closed, which asyncio's takes without a word."""

    async def call_all_the_time() -> list[object]:
        async with linked(redis_server.url(port=proxy.port)) as link:
            calls = []
            for number in range(100):
                calls.append(asyncio.create_task(fate(link.command("PING"))))
                if number % 20 == 10:
                    proxy.reset()
                await asyncio.sleep(0)
            return await asyncio.gather(*calls)

    with Proxy(redis_server.port) as proxy, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        answers = runner.run(call_all_the_time())
    assert {type(answer) for answer in answers} == {bytes, BackendUnavailableError}


# The server is another ------------------------------------------------------------------------------------------------


async def test_server_that_loads_its_data_is_waited_for():
    """A server that is up but still reading its data is unavailable, and then it is not."""
    with RedisServer({"key-load-delay": 2_000, "loading-process-events-interval-bytes": 1024}) as server:
        async with linked(server.url()) as link:
            await asyncio.gather(*(link.command("SET", f"key{n}", "x" * 100) for n in range(500)))
            server.call("SAVE")
            server.kill()
            server.start(wait=False)
            outcomes = []
            while not outcomes or isinstance(outcomes[-1], BackendUnavailableError):
                outcomes.append(await fate(write(link)))
            assert any("LOADING" in str(outcome) for outcome in outcomes)
            assert isinstance(outcomes[-1], bytes)


async def test_master_that_became_a_replica_is_left(server):
    """READONLY is a loss of the connection: calls are unavailable until the server takes writes again."""
    async with linked(server.url()) as link:
        await write(link)
        server.call("REPLICAOF", "127.0.0.1", 1)
        outcome = await fate(write(link, "other"))
        assert isinstance(outcome, BackendUnavailableError)
        assert "READONLY" in str(outcome)
        assert "replica" in str(await fate(write(link, "other")))
        server.call("REPLICAOF", "NO", "ONE")
        assert await patiently(lambda: write(link), timeout=10)


async def test_call_that_waits_while_its_master_is_demoted_is_unavailable(server):
    """UNBLOCKED, which ends a WAIT on a server that has become a replica, is a loss of the connection."""
    async with linked(server.url(), wait_replicas=1, replica_timeout=20.0) as link:
        call = asyncio.create_task(write(link))
        await eventually_async(lambda: stat(server, "clients", "blocked_clients") == 1)
        server.call("REPLICAOF", "127.0.0.1", 1)
        outcome = await fate(call)
        assert isinstance(outcome, BackendUnavailableError)
        assert "UNBLOCKED" in str(outcome)


async def test_full_memory_is_a_full_backend():
    """OOM is told as a backend that takes nothing new, and the link goes on."""
    with RedisServer({"maxmemory": "3mb"}) as server:
        async with linked(server.url()) as link:
            values = (link.command("SET", f"key{n}", b"x" * 100_000) for n in range(100))
            with pytest.raises(BackendFullError, match="maxmemory"):
                await asyncio.gather(*values)
            assert await write(link)  # a script that may go on
            assert link.reconnects == 0


async def test_scripts_say_what_memory_they_may_use():
    """A script with the flag, and one without, are told apart by the server when memory is full."""
    with RedisServer({"maxmemory": "1"}) as server:
        async with linked(server.url()) as link:
            assert await write(link)
            with pytest.raises(BackendFullError):
                await link.call("save_schedule", "name", "spec", 0, "")


async def test_right_that_is_taken_away_is_named():
    """A command that the user may no longer use is named in the error, and the link goes on with the others."""
    with RedisServer() as server:
        server.call("ACL", "SETUSER", "worker", "on", ">word", "~*", "&*", "+@all")
        async with linked(server.url(user="worker", password="word")) as link:
            await write(link)
            server.call("ACL", "SETUSER", "worker", "-evalsha")
            with pytest.raises(BackendError, match=r"lacks a right: .*evalsha") as caught:
                await write(link)
            assert not isinstance(caught.value, BackendUnavailableError)
            assert await link.command("PING") == b"PONG"


async def test_password_that_was_changed_is_told_without_the_old_one():
    """When the login no longer fits, a reconnect says so."""
    with RedisServer({"requirepass": "first-word"}) as server:
        async with linked(server.url(password="first-word")) as link:
            server.call("CONFIG", "SET", "requirepass", "second-word")
            server._options["requirepass"] = "second-word"  # noqa: SLF001 - for `call`
            server.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await eventually_async(lambda: link._lane is None)  # noqa: SLF001 - the loss has arrived
            with pytest.raises(BackendError, match="does not accept the user and password") as caught:
                await write(link)
            assert "first-word" not in f"{caught.value!r} {caught.value.__cause__!r}"


# Replicas -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def replica(server: RedisServer) -> Iterator[RedisServer]:
    """A replica of the server, up to date."""
    with RedisServer({"replicaof": f"127.0.0.1 {server.port}"}) as it:
        eventually(lambda: stat(it, "replication", "master_link_status") == "up")
        yield it


async def test_write_waits_for_its_replicas(server, replica):
    """With `wait_replicas` a write returns when the replica has it, too."""
    async with linked(server.url(), wait_replicas=1) as link:
        await write(link)
        assert replica.call("EXISTS", link.root + b"lock:name") == 1


async def test_too_few_replicas_make_a_write_unavailable_and_are_counted(server, replica):
    """The number that WAIT answers is looked at: a write that no replica confirmed in time is not called done."""
    replica.pause()
    async with linked(server.url(), wait_replicas=1, replica_timeout=QUICK) as link:
        with pytest.raises(BackendUnavailableError, match="only 0 of the 1 replicas"):
            await write(link)
        assert (await link.call("acquire_lock", "name", "token", TTL)) is not None  # without `replicate`
        replica.unpause()
        assert await patiently(lambda: write(link), timeout=10)
        assert link.reconnects == 0


async def test_writes_together_share_a_wait(server, replica):
    """A thousand concurrent writes cost a few WAITs, and every one is confirmed."""
    async with linked(server.url(), wait_replicas=1) as link:
        await asyncio.gather(*(write(link, str(n)) for n in range(1_000)))
        assert 0 < used(server, "wait") < 20
        assert len(replica.call("KEYS", link.root + b"lock:*")) == 1_000


async def test_writes_behind_missing_replicas_are_all_told_soon(server, replica):
    """However many writes come one after the other, none waits longer than two replica timeouts."""
    replica.pause()
    async with linked(server.url(), wait_replicas=1, replica_timeout=QUICK) as link:
        calls = []
        for n in range(20):
            calls.append(asyncio.create_task(write(link, str(n))))
            await asyncio.sleep(QUICK / 20)
        started = time.monotonic()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert time.monotonic() - started < 2 * QUICK + 3
        assert all("only 0 of the 1" in str(outcome) for outcome in outcomes)
        assert link.reconnects == 0


# The listener ---------------------------------------------------------------------------------------------------------


async def test_listener_opens_when_somebody_waits(server):
    """One who never waits has no second connection."""
    async with linked(server.url()) as link:
        assert clients(server) == 1
        await asyncio.gather(*(link.listener.ready() for _ in range(10)))
        assert clients(server) == 2
        assert server.call("PUBSUB", "NUMSUB", link.listener.channel) == [link.listener.channel, 1]


async def test_sleepers_are_woken_by_their_topic_alone(server):
    """A published word wakes those who sleep on it, each of them, and no others."""
    async with linked(server.url()) as link:
        await link.listener.ready()
        with (
            link.listener.sleeper(b"wone") as one,
            link.listener.sleeper(b"wone") as too,
            link.listener.sleeper(b"wtwo") as two,
        ):
            assert [await sleeper.woken(0.001) for sleeper in (one, too, two)] == [False, False, False]
            server.call("PUBLISH", link.listener.channel, "wone")
            assert [await one.woken(5), await too.woken(5)] == [True, True]
            assert not await two.woken(0.001)
            assert not await one.woken(0.001)


async def test_word_before_the_wait_is_not_lost(server):
    """What is published between the making of a sleeper and its wait wakes it."""
    async with linked(server.url()) as link:
        await link.listener.ready()
        with link.listener.sleeper(b"s") as early, link.listener.sleeper(b"s") as other:
            server.call("PUBLISH", link.listener.channel, "s")
            assert await other.woken(None)
            assert await early.woken(0)


async def test_sleepers_are_woken_when_a_word_may_have_been_missed(server):
    """After the listener's connection was lost and made anew everybody looks."""
    async with linked(server.url()) as link:
        await link.listener.ready()
        with link.listener.sleeper(b"s") as sleeper:
            server.call("CLIENT", "KILL", "TYPE", "pubsub")
            assert await sleeper.woken(10)
            await link.listener.ready()
            server.call("PUBLISH", link.listener.channel, "s")
            assert await sleeper.woken(10)


async def test_listener_says_that_the_server_is_away_and_returns_by_itself(server):
    """`ready` fails while there is no server; sleepers are woken once there is one again."""
    async with linked(server.url()) as link:
        await link.listener.ready()
        with link.listener.sleeper(b"s") as sleeper:
            server.kill()
            await eventually_async(lambda: link.listener._wire is None)  # noqa: SLF001 - the loss has arrived
            with pytest.raises(BackendUnavailableError, match="cannot be reached"):
                await link.listener.ready()
            server.restart()
            assert await sleeper.woken(10)
            await link.listener.ready()


async def test_listener_notices_a_silent_loss(server, monkeypatch):
    """A connection on which nothing comes is asked whether it still stands; one that does not answer is left."""
    monkeypatch.setattr("reinhardt_tasks.backends.redis.listener._SILENCE", 0.05)
    async with linked(server.url(), timeout=QUICK) as link:
        await link.listener.ready()
        await eventually_async(lambda: used(server, "ping") > 1)
        with link.listener.sleeper(b"s") as sleeper:
            assert not await sleeper.woken(0.2)  # probes wake nobody
            server.pause()
            await eventually_async(lambda: link.listener._wire is None)  # noqa: SLF001 - the loss was noticed
            server.unpause()
            assert await sleeper.woken(10)


async def test_closing_wakes_all(server):
    """Nobody sleeps on after the link was closed."""
    link = link_to(server.url())
    await link.open()
    await link.listener.ready()
    with link.listener.sleeper(b"s") as sleeper:
        sleeping = asyncio.create_task(sleeper.woken(None))
        await asyncio.sleep(0)
        await link.close()
        assert await sleeping


# Processes and loops --------------------------------------------------------------------------------------------------

FORKS = """
import asyncio, os, sys
from tests.servers.link import link_to, write
from reinhardt_tasks.errors import BackendError

link = link_to(sys.argv[1])

async def parent(loop):
    await link.open()
    await link.listener.ready()
    await write(link)

async def child():
    try:
        await write(link)
    except BackendError as error:
        assert "not open in this process" in str(error), error
    else:
        raise AssertionError("the child used its parent's connection")
    channel = link.listener.channel
    await link.open()
    await link.listener.ready()
    assert link.listener.channel != channel
    assert await write(link)
    await link.close()
    await link.close()

loop = asyncio.new_event_loop()
loop.run_until_complete(parent(loop))
pid = os.fork()
if pid == 0:
    asyncio.set_event_loop(None)
    asyncio.run(child())
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

async def after():
    assert await write(link)
    assert link.reconnects == 0
    with link.listener.sleeper(b"s") as sleeper:
        await link.command("PUBLISH", link.listener.channel, "s")
        assert await sleeper.woken(5)
    await link.close()

loop.run_until_complete(after())
loop.close()
print("done")
"""


@pytest.mark.parametrize("scheme", ["redis", "redis+unix"])
def test_forked_child_leaves_its_parents_connections_alone(server, scheme):
    """A child finds the link closed and may open it; the parent's goes on as if nothing had been."""
    url = server.url() if scheme == "redis" else f"redis+unix://{server.directory / 'socket'}"
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORKS, url], capture_output=True, text=True, timeout=30, check=False
    )
    assert (ran.stdout, ran.stderr) == ("done\n", "")
    eventually(lambda: clients(server) == 0)


def test_link_is_open_on_one_loop(redis_server):
    """On another loop it is refused while the first one lives, and opened anew when that has gone."""
    link = link_to(redis_server.url())

    async def opened() -> None:
        await link.open()
        assert await write(link)

    async def refused() -> None:
        for attempt in (write(link), link.open()):
            with pytest.raises(BackendError, match="event loop"):
                await attempt

    first = asyncio.new_event_loop()
    first.run_until_complete(opened())
    asyncio.run(refused())
    first.run_until_complete(link.close())
    first.close()

    async def again() -> None:
        await opened()
        await link.close()

    asyncio.run(again())
