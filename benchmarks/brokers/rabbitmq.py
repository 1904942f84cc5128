"""RabbitMQ: a private node, with a port mapper of its own, on free ports of the loopback."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from time import monotonic, sleep

from benchmarks import trees
from benchmarks.brokers.broker import Reading
from benchmarks.guard import Guard

HOST = "127.0.0.1"
_PROGRAMS = "/usr/lib/rabbitmq/bin"  # Debian's; the one on PATH there changes the user, and knows one node only
_PATIENCE = 60  # seconds a node has to start
_GREETING = b"AMQP\x00\x00\x09\x01"


@contextmanager
def rabbitmq(guard: Guard, directory: Path, _durability: str) -> Iterator[RabbitMQ]:
    """A node without plugins. What is durable is chosen by who publishes: all peers do so persistently.

    Raises FileNotFoundError where there is no rabbitmq-server, TimeoutError when it does not start.
    """
    port, mapper, distribution = _free_port(), _free_port(), _free_port()
    environment = {**os.environ, **_surroundings(directory, port, mapper, distribution)}
    log = directory / "server.log"
    with (
        log.open("wb") as output,
        guard.running(
            [_found("epmd"), "-port", str(mapper), "-address", HOST],
            environment=environment,
            output=output,
            errors=output,
        ),
        guard.running([_server()], environment=environment, output=output, errors=output) as process,
    ):
        _wait(port)
        yield RabbitMQ(port, process.pid)


def _surroundings(directory: Path, port: int, mapper: int, distribution: int) -> Mapping[str, str]:
    """Names and places of its own. `detached` has the script become the node rather than start it."""
    (directory / "rabbitmq.conf").write_text(
        f"listeners.tcp.1 = {HOST}:{port}\nlog.console = true\nlog.console.level = warning\nlog.file = false\n"
    )
    (directory / "plugins").write_text("[].\n")
    (directory / "rabbitmq-env.conf").touch()
    return {
        "HOME": str(directory),
        "ERL_EPMD_PORT": str(mapper),
        "ERL_EPMD_ADDRESS": HOST,
        "RABBITMQ_NODENAME": f"benchmark-{port}@localhost",
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq.conf"),
        "RABBITMQ_CONF_ENV_FILE": str(directory / "rabbitmq-env.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "plugins"),
        "RABBITMQ_MNESIA_BASE": str(directory / "mnesia"),
        "RABBITMQ_LOG_BASE": str(directory / "logs"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        "detached": "1",
    }


def _server() -> str:
    return shutil.which("rabbitmq-server", path=_PROGRAMS) or _found("rabbitmq-server")


def _found(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        raise FileNotFoundError(f"no {program} on PATH; install it, with Debian as: apt-get install rabbitmq-server")
    return found


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def _wait(port: int) -> None:
    """Return when it answers to the greeting of AMQP."""
    deadline = monotonic() + _PATIENCE
    while monotonic() < deadline:
        try:
            with socket.create_connection((HOST, port), 5) as line:
                line.sendall(_GREETING)
                if line.recv(1):
                    return
        except OSError:
            sleep(0.05)
    raise TimeoutError(f"rabbitmq-server did not answer on port {port} within {_PATIENCE} s")


class RabbitMQ:
    """A running node."""

    def __init__(self, port: int, pid: int) -> None:
        self._pid = pid
        self.address = f"amqp://guest:guest@{HOST}:{port}/"
        self.settings: Mapping[str, str] = {"queues": "classic, durable", "messages": "persistent"}

    def reading(self) -> Reading:
        """What the system tells of its process. AMQP counts no commands; no case here asks for them."""
        return Reading(
            cpu_seconds=trees.cpu_seconds(self._pid), commands=0, memory=int(trees.memory(self._pid).rss * 2**20)
        )

    def filling(self) -> AbstractContextManager[None]:
        """Nothing to do."""
        return nullcontext()
