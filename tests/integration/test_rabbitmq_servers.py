"""The RabbitMQ servers of the tests: private nodes disturb nobody, and where there is none it is said."""

from __future__ import annotations

import subprocess

import pytest

from tests.servers.process import MissingServerError
from tests.servers.rabbitmq import GivenRabbit, RabbitServer, choose, own


@pytest.mark.xdist_group("rabbitmq")
def test_a_private_node_is_known_to_its_own_port_mapper_alone() -> None:
    """Erlang's usual one, and so every other node of the machine, hears nothing of it."""
    server = own()
    usual = subprocess.run(["epmd", "-names"], capture_output=True, check=False, text=True).stdout
    assert server.name.partition("@")[0] not in usual
    assert server.name in server.control("eval", "node().")


def test_without_any_server_tests_fail_with_how_to_get_one(monkeypatch, tmp_path):
    """One sentence, and no skip."""
    monkeypatch.delenv("REINHARDT_TEST_AMQP_URL", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    monkeypatch.setattr("tests.servers.rabbitmq.PROGRAMS", tmp_path)
    with pytest.raises(MissingServerError, match=r"sudo apt-get install rabbitmq-server.*REINHARDT_TEST_AMQP.*Docker"):
        choose()
    with pytest.raises(MissingServerError, match="sudo apt-get install rabbitmq-server"):
        RabbitServer()


def test_a_server_that_is_named_is_the_one(monkeypatch):
    """Nothing is started, and its URL is used as it is."""
    monkeypatch.setenv("REINHARDT_TEST_AMQP_URL", "amqp://user:word@host/%2F")
    server = choose()
    assert isinstance(server, GivenRabbit)
    assert server.url(heartbeat=1) == "amqp://user:word@host/%2F?heartbeat=1"
