"""The servers of the tests are what tests take them for: they keep what they promised, and leave nothing behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from tests.eventually import eventually
from tests.procfs import runs
from tests.servers.process import MissingServerError, free_port
from tests.servers.redis import GivenRedis, RedisServer, choose, fresh_prefix

HOUR = 3600
DURABLE = {"appendonly": "yes", "appendfsync": "always"}

# Starts a server, says its process and directory, and waits for its own end.
OWNER = """
import sys
from tests.servers.redis import RedisServer
server = RedisServer()
server.start()
print(server.pid, server.directory, flush=True)
sys.stdin.read()
"""


def seconds_of(server: RedisServer) -> int:
    """What its clock says, in whole seconds."""
    return int(server.call("TIME")[0])


def test_its_clock_moves_at_once_for_commands_scripts_and_expiry() -> None:
    """As if the time had really passed."""
    with RedisServer(clock=True) as server:
        server.call("SET", "soon", 1, "PX", 1_000)
        before = seconds_of(server)
        server.advance(HOUR)
        assert HOUR <= seconds_of(server) - before <= HOUR + 5
        assert int(server.call("EVAL", "return redis.call('TIME')[1]", 0)) >= before + HOUR
        assert server.call("GET", "soon") is None


def test_its_timers_go_on_when_its_clock_has_moved() -> None:
    """What it does by itself, such as dropping what has expired, it goes on doing in real time."""
    with RedisServer(clock=True) as server:
        for _ in range(3):
            server.call("SET", "soon", 1, "PX", 1_000_000)
            server.advance(HOUR)
            eventually(lambda: server.call("DBSIZE") == 0, timeout=5)


def test_its_clock_stays_where_it_was_over_a_restart() -> None:
    """Time never goes back."""
    with RedisServer(clock=True) as server:
        server.advance(HOUR)
        before = seconds_of(server)
        server.restart()
        assert seconds_of(server) >= before


@pytest.mark.parametrize("seconds", [-1, 1])
def test_a_clock_that_cannot_be_moved_so_is_not(seconds: int) -> None:
    """Not back, and not at all without one of its own."""
    server = RedisServer(clock=seconds < 0)
    try:
        with pytest.raises(ValueError, match="cannot be moved"):
            server.advance(seconds)
    finally:
        server.close()


def test_a_killed_server_comes_back_on_its_port_with_what_it_promised() -> None:
    """What was answered is on disk where it was asked for."""
    with RedisServer(DURABLE) as server:
        port = server.port
        for _ in range(2):
            server.call("INCR", "count")
            server.kill()
            assert not server.running
            with pytest.raises(redis.ConnectionError):
                server.call("PING")
            server.restart()
        assert (server.call("GET", "count"), server.port) == (b"2", port)


def test_a_paused_server_says_nothing_until_it_goes_on() -> None:
    """Connections stand, as on a machine that has frozen."""
    with RedisServer() as server, redis.Redis(port=server.port, socket_timeout=0.2, retry=None) as client:
        assert client.ping()
        server.pause()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        server.unpause()
        assert client.ping()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_server_goes_with_the_process_that_started_it(end: signal.Signals) -> None:
    """However that ends."""
    command = [sys.executable, "-c", OWNER]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], stdin=-1, stdout=-1, text=True) as owner:
        assert owner.stdout is not None
        pid, directory = owner.stdout.readline().split()
        assert runs(int(pid))
        owner.send_signal(end)
    eventually(lambda: not runs(int(pid)))
    for left in Path(directory).iterdir():
        left.unlink()
    Path(directory).rmdir()


def test_a_port_that_another_has_taken_is_not_insisted_on(monkeypatch) -> None:
    """Between the look for a free port and its use somebody else may have been quicker."""
    with RedisServer() as other:
        ports = iter([other.port, other.port, free_port()])
        monkeypatch.setattr("tests.servers.process.free_port", lambda: next(ports))
        with RedisServer() as server:
            assert server.port != other.port
            assert server.call("PING")


def test_a_server_that_cannot_start_fails_with_what_it_said() -> None:
    """Not with a wait."""
    began = time.monotonic()
    with pytest.raises(AssertionError, match="Bad directive"), RedisServer({"no-such-option": "yes"}):
        pass
    assert time.monotonic() - began < 5


# --- the one that tests share -----------------------------------------------------------------------------------------


def test_a_server_that_is_named_is_used_and_left_as_it_was(monkeypatch) -> None:
    """Of what it holds only what tests have put there is removed."""
    with RedisServer() as elsewhere:
        monkeypatch.setenv("REINHARDT_TEST_REDIS_URL", elsewhere.url() + "/3")
        server = choose()
        assert isinstance(server, GivenRedis)
        server.call("SET", "theirs", 1)
        for form in ("{{{}}}ids", "{}ids"):
            server.call("SET", form.format(fresh_prefix()), 1)
        server.close()
        assert server.call("KEYS", "*") == [b"theirs"]
        assert server.url(prefix="a:b") == f"redis://127.0.0.1:{elsewhere.port}/3?prefix=a%3Ab"


def test_without_any_server_tests_fail_with_how_to_get_one(monkeypatch, tmp_path) -> None:
    """One sentence, and no skip."""
    monkeypatch.delenv("REINHARDT_TEST_REDIS_URL", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with pytest.raises(
        MissingServerError, match=r"sudo apt-get install redis-server.*REINHARDT_TEST_REDIS_URL.*Docker"
    ):
        choose()


def test_a_test_with_a_server_of_its_own_says_that_it_needs_the_program(monkeypatch, tmp_path) -> None:
    """A server that is named does not do where one is to be killed."""
    monkeypatch.setenv("REINHARDT_TEST_REDIS_URL", "redis://127.0.0.1:1")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingServerError, match=r"a Redis server of its own.*sudo apt-get install redis-server"):
        RedisServer()
