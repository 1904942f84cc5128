"""What a Redis URL says, and what is said of a wrong one."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reinhardt_tasks.backends.redis.connection import Address
from reinhardt_tasks.backends.redis.place import Place, parse
from reinhardt_tasks.errors import ConfigurationError

SECRET = "s3cr3t"


def place(url: str) -> Place:
    """The place alone."""
    return parse(url)[0]


def test_url_without_anything_is_the_local_server():
    """`redis://` alone is port 6379 of this machine, database 0, without a login and without TLS."""
    found = place("redis://")
    assert (found.kind, found.seeds) == ("server", (Address("localhost", 6379),))
    assert found.credentials == (None, None, 0, None)


def test_url_names_host_port_login_and_database():
    """Each part is where redis-py has it, percent signs decoded."""
    found = place("redis://us%40er:p%2Fa%3Ass@cache.example:7000/3")
    assert found.seeds == (Address("cache.example", 7000),)
    assert found.credentials[:3] == ("us@er", "p/a:ss", 3)


@pytest.mark.parametrize(
    ("url", "login"),
    [
        ("redis://:word@host", (None, "word")),
        ("redis://name@host", ("name", None)),
        ("redis://name:a:b@host", ("name", "a:b")),
        ("redis://name:a@b@host", ("name", "a@b")),
    ],
)
def test_login_may_be_half(url, login):
    """A password alone belongs to the default user; what follows the first colon is the password."""
    assert place(url).credentials[:2] == login


def test_database_may_be_an_option():
    """`?db=3` is another way to write the database."""
    assert place("redis://host?db=3").credentials.database == 3


@pytest.mark.parametrize("host", ["::1", "2001:db8::7"])
def test_ipv6_stands_in_brackets(host):
    """An IPv6 address in brackets is a host, with a port or without, and is shown in brackets."""
    assert place(f"redis://[{host}]").seeds == (Address(host, 6379),)
    assert place(f"redis://[{host}]:7000").seeds == (Address(host, 7000),)
    assert f"[{host}]:7000" in str(place(f"redis://[{host}]:7000"))


def test_socket_in_the_file_system():
    """`redis+unix:///path` is a socket, its database an option."""
    found = place("redis+unix:///run/my%20redis/redis.sock?db=2")
    assert found.seeds == (Address("/run/my redis/redis.sock", 0),)
    assert found.credentials.database == 2
    assert str(found) == "redis+unix:///run/my redis/redis.sock/2"


def test_sentinels_a_service_and_a_database():
    """Several hosts, whose port is 26379 unless given; the service stands before the database."""
    found = place("redis+sentinel://u:p@one,two:5000,[::1]/mymaster/4?sentinel_username=s&sentinel_password=t")
    assert found.kind == "sentinel"
    assert found.seeds == (Address("one", 26379), Address("two", 5000), Address("::1", 26379))
    assert (found.service, found.credentials[:3]) == ("mymaster", ("u", "p", 4))
    assert found.sentinel == ("s", "t", 0, None)


def test_cluster_has_several_nodes():
    """Any nodes of a cluster may be named; the login is for all."""
    found = place("redis+cluster://u:p@one:7000,two")
    assert (found.kind, found.seeds) == ("cluster", (Address("one", 7000), Address("two", 6379)))
    assert found.credentials[:2] == ("u", "p")


@pytest.mark.parametrize("url", ["rediss://host", "rediss+cluster://host"])
def test_tls_checks_the_server_by_default(url):
    """Over TLS the server has to prove who it is, unless the URL says otherwise."""
    assert place(url).credentials.tls == {"ssl_check_hostname": True}
    assert place(f"{url}?ssl_cert_reqs=none").credentials.tls == {
        "ssl_check_hostname": False,
        "ssl_cert_reqs": "none",
    }


def test_sentinels_are_spoken_to_over_tls_too():
    """`rediss+sentinel://` leaves nothing in the clear."""
    found = place("rediss+sentinel://host/service?ssl_check_hostname=false")
    assert found.credentials.tls == found.sentinel.tls == {"ssl_check_hostname": False}


def test_tls_files_are_looked_for_at_once(tmp_path):
    """A certificate that is not there is an error of the URL, not of a connect that fails for ever."""
    here = tmp_path / "ca.pem"
    here.write_text("")
    tls = place(f"rediss://host?ssl_ca_certs={here}&ssl_min_version=1.3").credentials.tls
    assert tls is not None
    assert (tls["ssl_ca_certs"], tls["ssl_min_version"].name) == (str(here), "TLSv1_3")
    with pytest.raises(ConfigurationError, match=r"option ssl_ca_certs .* is not a file that is there"):
        place(f"rediss://host?ssl_ca_certs={tmp_path / 'none.pem'}")


def test_query_holds_the_options_of_the_backend():
    """What the constructor takes by keyword a URL has in its query; only what it says is answered."""
    _, options = parse(
        "redis://host?prefix=shop%3A&wait_replicas=2&replica_timeout=0.5&allow_eviction=true&timeout=2.5"
    )
    assert options == {
        "prefix": "shop:",
        "wait_replicas": 2,
        "replica_timeout": 0.5,
        "allow_eviction": True,
        "timeout": 2.5,
    }
    assert parse("redis://host") == (place("redis://host"), {})


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("valkey://host", "scheme"),
        ("redis:host", "scheme"),
        ("redis://host:port", "port"),
        ("redis://host:0", "port"),
        ("redis://host:65536", "port"),
        ("redis://host:6379:1", "port"),
        ("redis://ho st", "host"),
        ("redis://[::1", "host"),
        ("redis://one,two", "host"),
        ("redis://host/first", "database"),
        ("redis://host/1/2", "database"),
        ("redis://host?db=-1", "option db"),
        ("redis+cluster://host/1", "database"),
        ("redis+cluster://host?db=1", "database"),
        ("redis+sentinel://host", "service"),
        ("redis+sentinel://host/", "service"),
        ("redis+sentinel://host/service/x", "database"),
        ("redis+unix://", "path"),
        ("redis+unix://run/redis.sock", "path"),
        ("redis://host?timeout=0", "option timeout"),
        ("redis://host?timeout=nan", "option timeout"),
        ("redis://host?replica_timeout=soon", "option replica_timeout"),
        ("redis://host?wait_replicas=-1", "option wait_replicas"),
        ("redis://host?allow_eviction=perhaps", "option allow_eviction"),
        ("redis://host?prefix=a&prefix=b", "option prefix"),
        ("redis://host?colour=red", "option colour"),
        ("redis://host?ssl_cert_reqs=none", "option ssl_cert_reqs"),
        ("redis://host?sentinel_password=x", "option sentinel_password"),
        ("rediss://host?ssl_cert_reqs=maybe", "option ssl_cert_reqs"),
        ("rediss://host?ssl_min_version=1.0", "option ssl_min_version"),
    ],
)
def test_wrong_url_is_told_by_its_part(url, part):
    """An error says which part of the URL is wrong."""
    with pytest.raises(ConfigurationError, match=f"the {part} .*in the Redis URL"):
        parse(url)


@pytest.mark.parametrize(
    "url",
    [
        "redis://:{}@host:port",
        "redis://:a/{}@host",
        "redis://:{}/b@host",
        "redis://:a?{}@host",
        "redis://:{}#b@host",
        "redis://user:{}",
        "redis://user:{}?x",
        "redis://a@b{}:@host:x",
        "redis://:a?{}@host&{}@host",
        "redis://{} x",
        "redis://:p@host/{}",
        "redis://:p@host?{}",
        "redis://:p@host?{}=1&{}=2",
        "redis://:p@one,{}",
        "redis+sentinel://:{}@host",
        "redis+unix://:{}@host/path",
        "rediss://host?ssl_min_version={}",
        "{}://host",
    ],
)
def test_no_error_shows_what_may_be_a_password(url):
    """Whichever part a badly written password has slipped into, the error does not repeat it."""
    with pytest.raises(ConfigurationError) as caught:
        parse(url.replace("{}", SECRET))
    assert SECRET not in str(caught.value)


def test_place_shows_no_password():
    """Neither the text of a place nor its repr has the login, of the server or of the sentinels."""
    url = f"redis+sentinel://user:{SECRET}@host/service/1?sentinel_password={SECRET}"
    assert str(place(url)) == "redis+sentinel://host:26379/service/1"
    assert SECRET not in f"{place(url)!r} {place(url).credentials!r} {place(url).sentinel!r}"


@given(st.text(), st.sampled_from(["redis", "rediss", "redis+unix", "redis+sentinel", "redis+cluster"]))
@example("[]", "redis")
@example(":١", "redis")
@example("/²", "redis")
@example("?db=²", "redis")
@example("\udcff?\udcff=%ff", "redis")
def test_any_text_is_a_place_or_a_wrong_url(text, scheme):
    """Whatever follows the scheme, nothing but ConfigurationError comes of it."""
    with contextlib.suppress(ConfigurationError):
        str(place(f"{scheme}://{text}"))
