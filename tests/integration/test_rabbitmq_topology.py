"""What is declared on a real RabbitMQ, and shared with others: exchanges, bindings, other clients, other arguments."""

from __future__ import annotations

import pika
import pytest

from reinhardt_tasks.backends.rabbitmq.config import RabbitMQConfig
from reinhardt_tasks.backends.rabbitmq.publisher import Publisher
from reinhardt_tasks.errors import BackendError, BackendUnavailableError, ConfigurationError, QueueError
from tests.integration.rabbit import Site, site, take
from tests.servers.certificates import Authority
from tests.servers.rabbitmq import fresh_name, own, remove, shared

pytestmark = pytest.mark.xdist_group("rabbitmq")


def connection(url: str) -> pika.BlockingConnection:
    """Another client, which knows nothing of us."""
    return pika.BlockingConnection(pika.URLParameters(url))


async def test_a_topic_exchange_feeds_each_queue_that_is_bound_to_it():
    """One message under one key comes to two queues; the third is bound under another."""
    bindings = {"mail": ["order.*"], "audit": ["#"], "stock": ["parcel.#"]}
    settings = {"exchange": fresh_name(), "exchange_type": "topic", "routing_key": "order.placed"}
    async with site(shared(), **settings, bindings=bindings) as here:
        await here.declare("mail", "audit", "stock")
        assert await here.put(["order"]) == [None]
        assert await here.drained(1, "mail") == ["order"]
        assert await here.drained(1, "audit") == ["order"]
        async with here.consumer("stock") as consumer:
            assert not await consumer.wait(0.3)


@pytest.mark.parametrize("kind", ["direct", "topic", "headers"])
async def test_an_exchange_leads_to_the_queue_of_a_message_unless_told_otherwise(kind):
    """Without bindings and key, each message comes to its own queue alone."""
    async with site(shared(), exchange=fresh_name(), exchange_type=kind) as here:
        await here.declare("a", "b")
        await here.put(["to a"], "a")
        await here.put(["to b"], "b")
        assert await here.drained(1, "a") == ["to a"]
        assert await here.drained(1, "b") == ["to b"]


async def test_a_fanout_exchange_leads_to_all():
    """Whatever queue it was sent to."""
    async with site(shared(), exchange=fresh_name(), exchange_type="fanout") as here:
        await here.declare("a", "b")
        await here.put(["1"], "a")
        assert [await here.drained(1, queue) for queue in ("a", "b")] == [["1"], ["1"]]


async def test_an_exchange_of_the_broker_itself_is_used_as_it_is():
    """`amq.…` cannot be declared, only looked for."""
    key = fresh_name()
    settings = {"exchange": "amq.topic", "exchange_type": "topic", "routing_key": f"{key}.x"}
    async with site(shared(), **settings, bindings={"mail": [f"{key}.*"]}) as here:
        assert await here.put(["1"]) == [None]
        assert await here.drained(1) == ["1"]


async def test_a_key_that_nothing_is_bound_under_is_an_error():
    """As an unroutable message always is; it says what to correct."""
    settings = {"exchange": fresh_name(), "exchange_type": "topic", "routing_key": "order.placed"}
    async with site(shared(), **settings, bindings={"mail": ["parcel.*"]}) as here:
        [fault] = await here.put(["1"])
        assert isinstance(fault, QueueError)
        assert "under 'order.placed'; it was not stored. Correct routing_key or bindings" in str(fault)


async def test_another_client_publishes_to_a_queue_of_ours_and_reads_from_it():
    """Any AMQP client: what it leaves out is taken as the broker takes it, and its headers are kept."""
    async with site(shared()) as here:
        await here.put(["ours"], headers={"kind": "ours"})
        line = here.config.names.queue("mail")
        with connection(here.config.uri) as theirs:
            channel = theirs.channel()
            method, properties, body = channel.basic_get(line, auto_ack=True)
            assert (body, method.redelivered) == (b"ours", False)
            assert (properties.message_id, properties.priority, properties.delivery_mode) == ("ours", 5, 2)
            assert properties.headers == {"kind": "ours"}
            channel.basic_publish("", line, b"bare")
            known = pika.BasicProperties(
                priority=7, message_id="known", headers={"a": 1}, content_type="text/plain", expiration="60000"
            )
            channel.basic_publish("", line, b"dressed", known)
        async with here.consumer() as consumer:
            dressed, bare = await take(consumer, 2)
            assert (dressed.body, dressed.priority, dressed.id, dressed.headers) == (b"dressed", 7, "known", {"a": 1})
            assert (bare.body, bare.priority, bare.id, bare.headers) == (b"bare", None, "", {})


async def test_a_queue_that_was_declared_otherwise_is_explained_and_left_alone():
    """Not a closed channel: the error names queue, difference and remedy. What others do on the server goes on."""
    async with site(shared()) as here:
        line = here.config.names.queue("mail")
        with connection(here.config.uri) as theirs:
            theirs.channel().queue_declare(line, durable=True, arguments={"x-max-length": 5})
            with pytest.raises(ConfigurationError, match=rf"already has '{line}'.*x-max.*another queue_name"):
                await here.declare("mail")
            theirs.channel().basic_publish("", line, b"still there")
        remove(here.config.uri, queues=[line])
        assert await here.put(["1"]) == [None]


async def test_a_consumer_of_a_queue_declared_otherwise_does_not_open():
    """It says why, and leaves no thread that goes on trying."""
    async with site(shared(), queue_type="quorum") as here:
        line = here.config.names.queue("mail", 9)
        with connection(here.config.uri) as theirs:
            theirs.channel().queue_declare(line, durable=True)
        with pytest.raises(ConfigurationError, match="was left as it is"):
            async with here.consumer():
                pass
        remove(here.config.uri, queues=[line])


async def test_who_may_not_declare_uses_what_an_operator_has_made():
    """A user with the rights to write and read, and none to configure; what is missing is said to lack that right."""
    server = own()
    server.control("add_user", "clerk", "word")
    server.control("set_permissions", "clerk", "", ".*", ".*")
    async with site(server) as operator:
        await operator.put(["1"])
        config = RabbitMQConfig(uri=server.url(login="clerk:word"), queue_name=operator.config.queue_name)
        clerk = Site(server, config=config)
        assert await clerk.drained(1) == ["1"]
        with pytest.raises(BackendError, match=r"lacks a right: ACCESS_REFUSED.*set_permissions"):
            await clerk.declare("other")


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ({"login": "guest:wrong"}, "does not accept the user and password of the URL"),
        ({"virtual_host": "nowhere"}, "does not let the user into this virtual host"),
    ],
)
async def test_a_login_that_is_refused_is_a_wrong_setting(place, said):
    """It says which; nobody tries again and again."""
    config = RabbitMQConfig(uri=own().url(**place))
    publisher = Publisher(config.place)
    with pytest.raises(ConfigurationError, match=said) as caught:
        await publisher.open()
    assert "wrong" not in str(caught.value)


async def test_over_tls_the_certificate_of_the_server_is_checked(tmp_path):
    """Messages go both ways where its authority is trusted; where it is not, nothing is sent, and it is said why."""
    server = own()
    secret = {"scheme": "amqps", "port": server.tls_port}
    async with site(server) as here:
        trusting = RabbitMQConfig(
            uri=server.url(**secret, ssl_ca_certs=server.authority.certificate), queue_name=here.config.queue_name
        )
        there = Site(server, config=trusting)
        await there.declare("mail")
        await here.put(["1"])
        assert await there.drained(1) == ["1"]
    stranger = Authority(tmp_path, "stranger")
    config = RabbitMQConfig(uri=server.url(**secret, ssl_ca_certs=stranger.certificate))
    with pytest.raises(BackendUnavailableError, match="certificate verify failed"):
        await Publisher(config.place).open()
