"""The bad line of the tests fails as it is told to, and no otherwise."""

from __future__ import annotations

import contextlib
import socket
import time

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.eventually import eventually
from tests.servers.proxy import Proxy
from tests.servers.redis import RedisServer

ONCE = Retry(NoBackoff(), 0)


@pytest.fixture(scope="module")
def server():
    """A server behind the line."""
    with RedisServer() as made:
        yield made


@pytest.fixture
def proxy(server):
    """The line."""
    server.call("FLUSHALL")
    with Proxy(server.port) as made:
        yield made


@contextlib.contextmanager
def client_of(proxy: Proxy, timeout: float = 5.0):
    """A client that does not try again."""
    with redis.Redis(port=proxy.port, socket_timeout=timeout, retry=ONCE) as made:
        yield made


def test_what_goes_through_arrives(proxy) -> None:
    """Both ways, whatever its size, and more than one at a time."""
    big = bytes(range(256)) * 40_000
    with client_of(proxy) as one, client_of(proxy) as other:
        assert one.set("big", big)
        assert other.get("big") == big
    assert proxy.accepted == 2


def test_a_reset_is_seen_at_once(proxy) -> None:
    """By whoever waits for an answer; the next connection is good."""
    with socket.create_connection(("127.0.0.1", proxy.port)) as waiting:
        eventually(lambda: proxy.accepted == 1)
        assert proxy.reset() == 1
        with pytest.raises(ConnectionResetError):
            waiting.recv(1)
    with client_of(proxy) as client:
        assert client.ping()
        assert proxy.reset() == 1
    assert proxy.reset() == 0


def test_an_answer_is_cut_after_the_request_went_through(server, proxy) -> None:
    """The server has done it, and the client does not know."""
    proxy.cut_when(lambda request: b"count" in request)
    with client_of(proxy) as client:
        for _ in range(3):
            with pytest.raises(redis.ConnectionError):
                client.incr("count")
        assert client.ping()
        proxy.heal()
        assert client.incr("count") == 4
    assert proxy.cuts == 3


def test_what_is_swallowed_arrives_when_the_line_heals(server, proxy) -> None:
    """Nobody is told in between."""
    with client_of(proxy, timeout=0.2) as client:
        assert client.ping()
        proxy.swallow()
        with pytest.raises(redis.TimeoutError):
            client.incr("count")
        with pytest.raises(redis.TimeoutError):
            client.incr("count")
        assert server.call("GET", "count") is None
        proxy.heal()
        assert client.get("other") is None


def test_a_line_that_is_down_refuses_and_comes_back_on_its_port(proxy) -> None:
    """As a server that restarts."""
    with client_of(proxy) as client:
        assert client.ping()
        port = proxy.port
        proxy.refuse()
        for _ in range(2):
            with pytest.raises(redis.ConnectionError):
                client.ping()
        proxy.listen()
        assert client.ping()
        assert proxy.port == port


def test_a_slow_line_holds_up_both_ways(proxy) -> None:
    """Each way, by what was asked."""
    with client_of(proxy) as client:
        client.ping()
        proxy.delay(0.1, 0.02)
        began = time.monotonic()
        client.ping()
        assert time.monotonic() - began >= 0.16
        proxy.heal()


def test_a_client_that_leaves_is_not_kept(server, proxy) -> None:
    """The server's side is closed as well."""
    before = connections(server)
    with client_of(proxy) as client:
        client.ping()
        assert connections(server) == before + 1
    eventually(lambda: connections(server) == before)
    assert proxy.reset() == 0


def connections(server: RedisServer) -> int:
    """How many the server has."""
    return len(server.call("CLIENT", "LIST").splitlines())
