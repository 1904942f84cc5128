"""What a RabbitMQ URL and RabbitMQConfig say, and what is said of wrong ones."""

from __future__ import annotations

import contextlib
import dataclasses

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reinhardt_tasks.backends.rabbitmq import DeliveryMode, RabbitMQConfig
from reinhardt_tasks.backends.rabbitmq.names import Names
from reinhardt_tasks.backends.rabbitmq.place import Address, Place, parse
from reinhardt_tasks.backends.rabbitmq.routes import Routes
from reinhardt_tasks.errors import ConfigurationError

SECRET = "s3cr3t"


def place(url: str) -> Place:
    """The place alone."""
    return parse(url)[0]


def test_url_without_anything_is_the_local_server():
    """`amqp://` alone is port 5672 of this machine, as `guest`, in the virtual host `/`."""
    found = place("amqp://")
    assert (found.seeds, found.virtual_host, found.tls) == ((Address("localhost", 5672),), "/", None)
    assert (found.user, found.password) == ("guest", "guest")
    assert place("amqps://").seeds == (Address("localhost", 5671),)


def test_url_names_hosts_login_and_virtual_host():
    """Percent signs are decoded in each; several hosts are nodes of one cluster."""
    found = place("amqp://us%40er:p%2Fa%3Ass@one:1,[::1],three:3/a%2Fb")
    assert found.seeds == (Address("one", 1), Address("::1", 5672), Address("three", 3))
    assert (found.user, found.password, found.virtual_host) == ("us@er", "p/a:ss", "a/b")
    assert str(found) == "amqp://one:1,[::1]:5672,three:3/a/b"


@pytest.mark.parametrize(
    ("url", "host"), [("amqp://h", "/"), ("amqp://h/", "/"), ("amqp://h/%2F", "/"), ("amqp://h/v", "v")]
)
def test_virtual_host_is_the_usual_one_unless_named(url, host):
    """An empty path means `/` too."""
    assert place(url).virtual_host == host


def test_url_carries_the_options_of_a_configuration_and_a_connection():
    """All but bindings can stand in it."""
    config = RabbitMQConfig.from_url(
        "amqp://h/?queue_name=shop&prefetch_count=7&delivery_mode=transient&exchange=e&exchange_type=topic"
        "&routing_key=a.b&heartbeat=9&timeout=1.5"
    )
    assert (config.queue_name, config.prefetch_count, config.delivery_mode) == ("shop", 7, DeliveryMode.TRANSIENT)
    assert (config.exchange, config.exchange_type, config.routing_key) == ("e", "topic", "a.b")
    assert (config.place.heartbeat, config.place.timeout) == (9, 1.5)
    assert RabbitMQConfig.from_url("amqp://h?queue_type=quorum").queue_type == "quorum"


def test_tls_checks_the_server_unless_told_otherwise(tmp_path):
    """Files are looked for at once."""
    authority = tmp_path / "authority.pem"
    authority.touch()
    tls = place(f"amqps://h?ssl_ca_certs={authority}&ssl_check_hostname=false").tls
    assert tls is not None
    assert (tls.authority, tls.verified, tls.host_checked) == (str(authority), True, False)
    assert "user" not in repr(place("amqps://user:word@h"))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://h", "scheme"),
        ("amqp://h:x", "port"),
        ("amqp://h:70000", "port"),
        ("amqp://a b", "host"),
        ("amqp://h/a/b", "virtual host"),
        ("amqp://h#x", "'#'"),
        ("amqp://h?nothing=1", "option nothing in"),
        ("amqp://h?prefetch_count=x", "a whole number"),
        ("amqp://h?timeout=0", "above 0"),
        ("amqp://h?heartbeat=1&heartbeat=2", "twice"),
        ("amqp://h?delivery_mode=2", "persistent or transient"),
        ("amqp://h?ssl_verify=true", "not known"),
        ("amqps://h?ssl_ca_certs=/nowhere.pem", "a file that is there"),
        ("amqps://h?ssl_min_version=1", "1.2 or 1.3"),
        ("amqps://h?ssl_verify=perhaps", "true or false"),
    ],
)
def test_a_wrong_url_is_an_error_that_names_the_part(url, said):
    """What it says is what to correct."""
    with pytest.raises(ConfigurationError, match=said):
        RabbitMQConfig.from_url(url)


@given(st.text())
@example(f"amqp://user:{SECRET}@h:x/")
@example(f"amqp://user:{SECRET}@h/a/b")
def test_no_text_is_more_than_a_configuration_error(text):
    """Whatever is written there; and a password is shown in none."""
    for url in (text, f"amqp://{text}", f"amqp://user:{SECRET}@h/?{text}"):
        with contextlib.suppress(ConfigurationError):
            parse(url)
    with pytest.raises(ConfigurationError) as caught:
        parse(f"amqp://user:{SECRET}@host/?{SECRET}=1")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"queue_name": ""}, "queue_name=''"),
        ({"queue_name": "a:b"}, "60 letters"),
        ({"queue_name": "x" * 61}, "60 letters"),
        ({"queue_name": "amq.mine"}, "no 'amq.'"),
        ({"prefetch_count": 0}, "from 1 to 65535"),
        ({"prefetch_count": True}, "prefetch_count=True"),
        ({"delivery_mode": 2}, "DeliveryMode.PERSISTENT"),
        ({"queue_type": "stream"}, "'classic', 'quorum'"),
        ({"exchange_type": "x-delayed-message"}, "'direct', 'topic'"),
        ({"routing_key": "a"}, "Name the exchange"),
        ({"bindings": {"mail": ["a"]}}, "Name the exchange"),
        ({"exchange": "two words"}, "no name for one"),
        ({"exchange": "e", "queue_type": "quorum"}, "Use 'classic'"),
        ({"exchange": "e", "routing_key": "x" * 256}, "longer than 255 bytes"),
        ({"exchange": "e", "bindings": {"m/l": ["a"]}}, "no name for a queue"),
        ({"exchange": "e", "bindings": {"mail": [{"kind": "a"}]}}, r"takes a key, such as 'mail.\*'"),
        ({"exchange": "e", "bindings": {"mail": ["x" * 256]}}, "longer than 255 bytes"),
        ({"exchange": "e", "exchange_type": "headers", "bindings": {"mail": ["a"]}}, "takes headers"),
    ],
)
def test_a_wrong_setting_is_an_error_that_names_it(settings, said):
    """And says what would do."""
    with pytest.raises(ConfigurationError, match=said):
        RabbitMQConfig(**settings)


def test_a_configuration_is_frozen_and_shows_no_password():
    """Its bindings as well."""
    config = RabbitMQConfig(uri=f"amqp://user:{SECRET}@h", exchange="e", bindings={"mail": ["a"]})
    assert SECRET not in repr(config)
    assert SECRET not in str(config.place)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.queue_name = "other"
    with pytest.raises(TypeError):
        config.bindings["audit"] = ["#"]


def test_prefetch_is_what_was_given_or_else_what_is_wanted():
    """At least one, and no more than the broker knows."""
    assert [RabbitMQConfig().prefetch(wanted) for wanted in (0, 20, 100_000)] == [1, 20, 65_535]
    assert RabbitMQConfig(prefetch_count=3).prefetch(20) == 3


def test_no_two_things_on_the_server_have_one_name():
    """A queue that is called like a level, or the ladder, of another is still another."""
    names = Names("app")
    made = [names.queue(queue) for queue in ("mail", "mail.9", "delay", "due", "app.mail")]
    made += [names.queue("mail", level) for level in range(10)]
    made += [names.refused("mail"), names.due, *(names.rung(power) for power in range(25))]
    assert len(set(made)) == len(made)


@given(st.text("abc.-_", min_size=1, max_size=60), st.text("abc.-_", min_size=1, max_size=128), st.integers(0, 9))
def test_the_longest_names_still_fit_into_a_routing_key(prefix, queue, priority):
    """255 bytes, the steps of a delay among them."""
    routes = Routes(RabbitMQConfig(queue_name=prefix, queue_type="quorum"))
    assert len(routes.parcel(queue, b"", id="1", priority=priority, delay=1).key) <= 60 + 1 + 128 + 2 + 50
