"""Redis over TLS: who is trusted, who is let in, and that nothing else changes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from reinhardt_tasks.errors import BackendUnavailableError
from tests.eventually import eventually_async
from tests.servers.certificates import Authority, Certificate
from tests.servers.link import PATIENCE, link_to, linked, write
from tests.servers.process import free_port
from tests.servers.redis import RedisServer


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    """The one that the server's certificate comes from."""
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> Certificate:
    """The server's."""
    return authority.issue("server")


def options(authority: Authority, certificate: Certificate, **more: str | int) -> dict[str, str | int]:
    """What has a server speak TLS on a port of its own."""
    return {
        "tls-port": free_port(),
        "tls-cert-file": str(certificate.certificate),
        "tls-key-file": str(certificate.key),
        "tls-ca-cert-file": str(authority.certificate),
        "tls-auth-clients": "no",
        **more,
    }


@pytest.fixture(scope="module")
def server(authority: Authority, certificate: Certificate) -> Iterator[tuple[RedisServer, int]]:
    """A server that asks no client for a certificate, and its port for TLS."""
    settings = options(authority, certificate)
    with RedisServer(settings) as it:
        yield it, int(settings["tls-port"])


def url(server: tuple[RedisServer, int], **query: str | Path) -> str:
    """Where it speaks TLS."""
    it, port = server
    return it.url(scheme="rediss", port=port, **{name: str(value) for name, value in query.items()})


async def refused(address: str, told: str, *, timeout: float = PATIENCE) -> None:
    """See that no connection comes about, and why."""
    with pytest.raises(BackendUnavailableError, match=told):
        await link_to(address, timeout=timeout).open()


async def test_calls_and_pushes_travel_over_tls(server, authority):
    """With the authority named everything works as without TLS, many calls at once and large ones too."""
    async with linked(url(server, ssl_ca_certs=authority.certificate)) as link:
        await asyncio.gather(*(write(link, str(n)) for n in range(200)))
        large = b"x" * 3_000_000
        assert await link.command("ECHO", large) == large
        await link.listener.ready()
        with link.listener.sleeper(b"s") as sleeper:
            await link.command("PUBLISH", link.listener.channel, "s")
            assert await sleeper.woken(5)


async def test_connection_over_tls_is_made_anew(server, authority):
    """A lost connection comes back over TLS."""
    it, _ = server
    async with linked(url(server, ssl_ca_certs=authority.certificate)) as link:
        await write(link)
        it.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await eventually_async(lambda: link._lane is None)  # noqa: SLF001 - the loss has arrived
        assert await write(link)


async def test_server_whose_authority_is_unknown_is_not_trusted(server):
    """By default the system's authorities count, which know nothing of a private one."""
    await refused(url(server), "certificate verify failed")


async def test_server_with_another_name_is_not_trusted(authority, tmp_path):
    """A certificate for another host is refused, unless the URL says that names do not matter."""
    elsewhere = authority.issue("elsewhere", hosts=["elsewhere.example"])
    settings = options(authority, elsewhere)
    with RedisServer(settings) as it:
        where = it, int(settings["tls-port"])
        await refused(url(where, ssl_ca_certs=authority.certificate), "IP address mismatch")
        async with linked(url(where, ssl_ca_certs=authority.certificate, ssl_check_hostname="false")) as link:
            assert await write(link)


async def test_checks_can_be_turned_off(server):
    """`ssl_cert_reqs=none` encrypts and trusts anybody."""
    async with linked(url(server, ssl_cert_reqs="none")) as link:
        assert await write(link)


async def test_client_shows_its_certificate(authority, certificate):
    """A server that wants certificates of its clients gets the one named in the URL."""
    client = authority.issue("client")
    settings = options(authority, certificate, **{"tls-auth-clients": "yes"})
    with RedisServer(settings) as it:
        where = it, int(settings["tls-port"])
        await refused(url(where, ssl_ca_certs=authority.certificate), "cannot be reached")
        known = url(where, ssl_ca_certs=authority.certificate, ssl_certfile=client.certificate, ssl_keyfile=client.key)
        async with linked(known) as link:
            assert await write(link)


async def test_oldest_protocol_can_be_raised(server, authority):
    """`ssl_min_version=1.3` takes nothing older."""
    it, _ = server
    async with linked(url(server, ssl_ca_certs=authority.certificate, ssl_min_version="1.3")) as link:
        writer = link._lane._wire._writer  # type: ignore[union-attr] # noqa: SLF001 - to see what was agreed on
        assert writer is not None
        assert writer.get_extra_info("ssl_object").version() == "TLSv1.3"
    it.call("CONFIG", "SET", "tls-protocols", "TLSv1.2")
    try:
        await refused(url(server, ssl_ca_certs=authority.certificate, ssl_min_version="1.3"), "cannot be reached")
    finally:
        it.call("CONFIG", "SET", "tls-protocols", "")


async def test_tls_where_none_is_spoken_fails_soon(server):
    """`rediss://` on a port without TLS, or the other way round, is an error and no silence."""
    it, port = server
    await refused(it.url(scheme="rediss"), "cannot be reached", timeout=1.0)
    await refused(it.url(port=port), "cannot be reached", timeout=1.0)


async def test_sentinels_and_the_master_are_spoken_to_over_tls(authority, certificate):
    """`rediss+sentinel://` asks the sentinels over TLS, and goes over TLS where they send it."""
    master = options(authority, certificate, **{"tls-replication": "yes"})
    with RedisServer(master) as it:
        watching = options(authority, certificate, **{"tls-replication": "yes"})
        watching["sentinel"] = f"monitor mymaster 127.0.0.1 {master['tls-port']} 1"
        with RedisServer(watching, sentinel=True):
            trust = f"ssl_ca_certs={authority.certificate}"
            async with linked(f"rediss+sentinel://127.0.0.1:{watching['tls-port']}/mymaster?{trust}") as link:
                assert await write(link)
            assert it.call("DBSIZE") == 2


async def test_nodes_of_a_cluster_are_spoken_to_over_tls(authority, certificate):
    """`rediss+cluster://` learns the ports for TLS from the nodes."""
    cluster = {"cluster-enabled": "yes", "cluster-port": free_port(), "tls-cluster": "yes"}
    settings = options(authority, certificate, **cluster)
    with RedisServer(settings) as it:
        it.call("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        await eventually_async(lambda: b"cluster_state:ok" in it.call("CLUSTER", "INFO"))
        trust = f"ssl_ca_certs={authority.certificate}"
        async with linked(f"rediss+cluster://127.0.0.1:{settings['tls-port']}?{trust}") as link:
            assert await write(link)
