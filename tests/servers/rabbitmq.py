"""RabbitMQ servers of the tests: private nodes, each with a port mapper of its own, and the one that tests share."""

from __future__ import annotations

import functools
import itertools
import os
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote, urlencode

import pika
from pika.exceptions import AMQPError

from tests.eventually import eventually
from tests.servers.certificates import Authority
from tests.servers.container import contained
from tests.servers.process import MissingServerError, ServerProcess, free_port

URL_VARIABLE = "REINHARDT_TEST_AMQP_URL"
GET_RABBITMQ = (
    "rabbitmq-server is not on this machine: type `sudo apt-get install rabbitmq-server`, or name a server that the"
    f" tests may fill, {URL_VARIABLE}=amqp://…, or have a Docker engine and `pip install testcontainers pika`"
)
GET_OWN = (
    "this test needs a RabbitMQ node of its own, and rabbitmq-server is not on this machine: type"
    " `sudo apt-get install rabbitmq-server`"
)
IMAGE = "rabbitmq:3.13"
PROGRAMS = Path("/usr/lib/rabbitmq/bin")
"""Where Debian has the programs; those on PATH there change the user, and know one node only."""

_run = uuid.uuid4().hex[:8]
_numbers = itertools.count(1)


class PortMapper(ServerProcess):
    """The daemon that tells Erlang nodes each other's ports; a node would else start one that outlives it."""

    def command(self) -> Sequence[str | Path]:
        """In the foreground, on loopback."""
        return [_epmd(), "-port", str(self.port), "-address", "127.0.0.1"]

    def answers(self) -> bool:
        """Whether it lists its nodes."""
        return not subprocess.run(
            [_epmd(), "-port", str(self.port), "-names"], capture_output=True, check=False
        ).returncode


class RabbitServer(ServerProcess):
    """A node of its own, on loopback, without plugins; whoever comes as `guest:guest` is its administrator.

    On `tls_port` it speaks TLS, with a certificate that `authority` has signed.

    `settings` are lines of its configuration (`{"heartbeat": "1"}`). Raises MissingServerError where the program is
    missing.
    """

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        self._programs = program("rabbitmq-server").parent
        super().__init__()
        self.name = f"reinhardt-{uuid.uuid4().hex[:8]}@localhost"
        self._settings = dict(settings or {})
        self._mapper = PortMapper()
        self.authority = Authority(self.directory)
        self._shown = self.authority.issue("server")
        self.tls_port = free_port()

    # How it runs ------------------------------------------------------------------------------------------------------

    def start(self, *, wait: bool = True) -> None:
        """Start it, and its port mapper before it; return when it answers."""
        if not self._mapper.running:
            self._mapper.start()
        super().start(wait=wait)

    def command(self) -> Sequence[str | Path]:
        """Its configuration is written anew for each port."""
        settings = {
            "listeners.tcp.1": f"127.0.0.1:{self.port}",
            "listeners.ssl.1": f"127.0.0.1:{self.tls_port}",
            "ssl_options.cacertfile": self.authority.certificate,
            "ssl_options.certfile": self._shown.certificate,
            "ssl_options.keyfile": self._shown.key,
            "log.console": "true",
            "log.file": "false",
        }
        lines = [f"{name} = {value}\n" for name, value in {**settings, **self._settings}.items()]
        (self.directory / "rabbitmq.conf").write_text("".join(lines))
        (self.directory / "plugins").write_text("[].\n")
        (self.directory / "rabbitmq-env.conf").touch()
        cookie = self.directory / ".erlang.cookie"
        if not cookie.exists():
            cookie.write_text(uuid.uuid4().hex)
            cookie.chmod(0o400)
        return [self._programs / "rabbitmq-server"]

    def environment(self) -> Mapping[str, str]:
        """Names and places of its own. `detached` has the script become the node rather than start it."""
        return {
            **self._surroundings(),
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(self.directory / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.directory / "logs"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "detached": "1",
        }

    def _surroundings(self) -> Mapping[str, str]:
        """What tells the node, and those who administer it, from any other on this machine."""
        return {
            "HOME": str(self.directory),
            "ERL_EPMD_PORT": str(self._mapper.port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_CONFIG_FILE": str(self.directory / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(self.directory / "rabbitmq-env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.directory / "plugins"),
        }

    def answers(self) -> bool:
        """Whether it lets somebody in."""
        return lets_in(self.url())

    def pause(self) -> None:
        """Let it do nothing: connections stand, and nobody answers. Returns when each of its threads has stopped."""
        super().pause()
        eventually(lambda: all(_is_stopped(thread) for thread in Path(f"/proc/{self.pid}/task").iterdir()))

    def close(self) -> None:
        """Kill it and its port mapper, and remove their directories."""
        super().close()
        self._mapper.close()

    # What tests do with it --------------------------------------------------------------------------------------------

    def url(
        self,
        *,
        scheme: str = "amqp",
        login: str = "guest:guest",
        port: int | None = None,
        virtual_host: str = "/",
        **query: str | float | Path,
    ) -> str:
        """The URL of a virtual host on it; through another port, such as a proxy's."""
        place = f"{scheme}://{login}@127.0.0.1:{port or self.port}/{quote(virtual_host, safe='')}"
        return f"{place}?{urlencode(query)}" if query else place

    def control(self, *command: str) -> str:
        """What `rabbitmqctl` says to a command. Takes a second or two."""
        variables = {**os.environ, **self._surroundings()}
        words = [str(self._programs / "rabbitmqctl"), "--node", self.name, "--quiet", *command]
        said = subprocess.run(words, env=variables, cwd=self.directory, capture_output=True, check=False)
        if said.returncode:
            raise AssertionError(f"rabbitmqctl {' '.join(command)} failed: {(said.stderr or said.stdout).decode()}")
        return said.stdout.decode()

    def remember_leaders(self) -> None:
        """Have it write now which quorum queues lead; it does so some seconds after each was declared.

        A node that is killed before does not find the leader of such a queue when it returns, and never asks again.
        """
        self.control("eval", "[dets:sync(Table) || Table <- dets:all()].")


class GivenRabbit:
    """A server that somebody else runs."""

    def __init__(self, url: str, *, stop: Callable[[], object] = lambda: None) -> None:
        self._url = url
        self._stop = stop

    def url(self, **query: str | float) -> str:
        """The URL that was given, with these options."""
        return f"{self._url}{'&' if '?' in self._url else '?'}{urlencode(query)}" if query else self._url

    def close(self) -> None:
        """Let it be."""
        self._stop()


SharedRabbit = RabbitServer | GivenRabbit
"""A server that many tests use, each under a `fresh_name()` of its own."""


def choose() -> SharedRabbit:
    """A server for a test process: the one that is named, a private one, or a container's.

    Raises MissingServerError with how to get one, where there is none.
    """
    if given := os.environ.get(URL_VARIABLE):
        return GivenRabbit(given)
    if _find("rabbitmq-server") is not None:
        server = RabbitServer()
        server.start()
        return server
    if (container := _container()) is not None:
        return container
    raise MissingServerError(GET_RABBITMQ)


shared = functools.cache(choose)
"""The server of this test process."""


@functools.cache
def own() -> RabbitServer:
    """The private node of this test process, for tests that administer one: the shared one, unless that is given.

    Raises MissingServerError with how to get one, where there is none.
    """
    if not os.environ.get(URL_VARIABLE) and isinstance(server := shared(), RabbitServer):
        return server
    server = RabbitServer()
    server.start()
    return server


def close_shared() -> None:
    """End what tests shared."""
    for kept in (own, shared):
        if kept.cache_info().currsize:
            kept().close()
            kept.cache_clear()


def fresh_name() -> str:
    """A name that queues and exchanges of nobody else begin with."""
    return f"test-{_run}-{next(_numbers)}"


def remove(url: str, *, queues: Iterable[str] = (), exchanges: Iterable[str] = ()) -> None:
    """Delete these, where they are there."""
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        for queue in queues:
            channel.queue_delete(queue)
        for exchange in exchanges:
            channel.exchange_delete(exchange)


def lets_in(url: str) -> bool:
    """Whether a server takes connections at `url`."""
    try:
        with pika.BlockingConnection(pika.URLParameters(url)):
            return True
    except (AMQPError, OSError):
        return False


def program(name: str) -> Path:
    """A program of RabbitMQ. Raises MissingServerError where it is missing."""
    found = _find(name)
    if found is None:
        raise MissingServerError(GET_OWN)
    return found


def _find(name: str) -> Path | None:
    """The one in Debian's directory, or else on PATH."""
    return Path(found) if (found := shutil.which(name, path=str(PROGRAMS)) or shutil.which(name)) else None


def _is_stopped(thread: Path) -> bool:
    """Whether the kernel lets a thread do nothing."""
    return (thread / "stat").read_text().rpartition(")")[2].split()[0] == "T"


def _epmd() -> str:
    found = shutil.which("epmd")
    if found is None:
        raise MissingServerError(f"epmd, which comes with Erlang, is not on PATH. {GET_OWN}")
    return found


def _container() -> GivenRabbit | None:
    made = contained("rabbitmq", "RabbitMqContainer", IMAGE)
    if made is None:
        return None
    host, port = made.get_container_host_ip(), made.get_exposed_port(made.port)
    return GivenRabbit(f"amqp://{made.username}:{made.password}@{host}:{port}/%2F", stop=made.stop)
