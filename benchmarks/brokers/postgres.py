"""PostgreSQL: a private server on a free port of the loopback, from a copy of a cluster that is made once a run."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import IO, Self

from benchmarks.brokers.broker import Reading
from benchmarks.guard import Guard
from benchmarks.trees import cpu_seconds

HOST = "127.0.0.1"
DURABILITY = {"full": {"synchronous_commit": "on"}, "relaxed": {"synchronous_commit": "off"}}
_SHOWN = (
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_level",
    "wal_sync_method",
    "max_wal_size",
    "shared_buffers",
    "max_connections",
    "autovacuum",
)
_DATABASE = "bench"
_USER = "postgres"
_UNPRIVILEGED = ("postgres", "nobody")
_END = "--"
_READING = "SELECT xact_commit + xact_rollback, pg_database_size(datname) FROM pg_stat_database WHERE datname = 'bench'"
_PATIENCE = 30  # seconds a server has to start


@contextmanager
def postgres(guard: Guard, directory: Path, durability: str) -> Iterator[Postgres]:
    """A server with an empty database of its own; at relaxed durability a commit does not wait for the disk.

    Raises FileNotFoundError where PostgreSQL is missing, TimeoutError when it does not start, PermissionError where it
    cannot run as root and nobody else may come to the directory.
    """
    port, data = _free_port(), directory / "data"
    _copy(_cluster(guard), data)
    options = {
        "port": str(port),
        "listen_addresses": HOST,
        "unix_socket_directories": "",
        "fsync": "on",
        **DURABILITY[durability],
    }
    settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    command = [*_as_somebody(), _program("postgres"), "-D", str(data), *settings]
    with (
        (directory / "server.log").open("w+b") as log,
        guard.running(command, environment=os.environ, output=log, errors=log) as process,
    ):
        _started(process, data, log)
        try:
            with _Session(port) as session:
                yield Postgres(port, process.pid, session)
        finally:
            process.send_signal(signal.SIGQUIT)  # at once: what it holds is thrown away


# The cluster that servers are copies of --------------------------------------------------------------------------


def _cluster(guard: Guard) -> Path:
    """A data directory with an empty database `bench`, made by the first that asks for it in a run."""
    where = guard.directory / "cluster"
    if not where.exists():
        guard.directory.chmod(0o711)  # for the user the server runs as
        where.mkdir(0o700)
        if os.geteuid() == 0:
            user = _unprivileged()
            os.chown(where, user.pw_uid, user.pw_gid)
        made = [_program("initdb"), "-D", str(where), "-U", _USER, "-A", "trust", "-E", "UTF8", "--locale=C"]
        _done([*made, "--no-sync"])
        _done([_program("postgres"), "--single", "-D", str(where), "template1"], f"CREATE DATABASE {_DATABASE}\n")
    return where


def _copy(cluster: Path, data: Path) -> None:
    """A data directory of a server's own, with the same owner."""
    for above in (data.parent, data.parent.parent):
        above.chmod(0o711)
    subprocess.run(["cp", "--archive", "--reflink=auto", str(cluster), str(data)], check=True)


def _done(command: Sequence[str], told: str = "") -> None:
    """Run a program of PostgreSQL to its end. Raises PermissionError with what it says where it fails."""
    ran = subprocess.run([*_as_somebody(), *command], input=told, capture_output=True, text=True, cwd="/", check=False)
    if ran.returncode:
        raise PermissionError(f"{Path(command[0]).name} failed; --store may name another directory\n{ran.stderr}")


# Programs and users ----------------------------------------------------------------------------------------------


def _program(name: str) -> str:
    """A program of PostgreSQL: the newest in Debian's directories, else the one on PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    where = str(found[-1]) if found else shutil.which(name)
    if where is None:
        raise FileNotFoundError(f"no {name} of PostgreSQL; install it, with Debian as: apt-get install postgresql")
    return where


def _as_somebody() -> list[str]:
    """What, before a command, has it run as somebody else where we are root, as whom no server starts."""
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise FileNotFoundError("PostgreSQL does not run as root, and there is no setpriv to run it as another user")
    user = _unprivileged()
    return [setpriv, f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


def _unprivileged() -> pwd.struct_passwd:
    known = {user.pw_name: user for user in pwd.getpwall()}
    for name in _UNPRIVILEGED:
        if name in known:
            return known[name]
    raise FileNotFoundError("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")


# A server --------------------------------------------------------------------------------------------------------


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def _started(process: subprocess.Popen[bytes], data: Path, log: IO[bytes]) -> None:
    """Return when the server takes connections, of which the last line of its pid file tells."""
    file, deadline = data / "postmaster.pid", monotonic() + _PATIENCE
    while not (file.exists() and file.read_text().split()[-1:] == ["ready"]):
        if process.poll() is not None or monotonic() > deadline:
            log.seek(0)
            raise TimeoutError(f"PostgreSQL did not start\n{log.read().decode(errors='replace')[-2000:]}")
        sleep(0.01)


class _Session:
    """The few statements a driver needs, by a psql that ends with it; in another database than the one measured."""

    def __init__(self, port: int) -> None:
        self._psql = subprocess.Popen(
            _psql(_address(port, "postgres")),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._psql.communicate()

    def ask(self, statement: str) -> list[str]:
        """The columns of the one row of a statement; none of a command. Raises ConnectionError where it fails."""
        to, back = self._psql.stdin, self._psql.stdout
        assert to is not None and back is not None  # noqa: PT018, S101 - asked for above
        to.write(f"{statement};\n\\echo {_END}\n")
        to.flush()
        row: list[str] = []
        while (line := back.readline()) != f"{_END}\n":
            if not line:
                raise ConnectionError(f"psql has ended: {statement}")
            row = line.rstrip("\n").split("|")
        return row


def _psql(address: str) -> list[str]:
    """It prints bare values, and ends at the first error."""
    return [_program("psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", address]


def _address(port: int, database: str = _DATABASE) -> str:
    return f"postgresql://{_USER}@{HOST}:{port}/{database}"


class Postgres:
    """A running server."""

    def __init__(self, port: int, pid: int, session: _Session) -> None:
        self._pid = pid
        self._session = session
        self.address = _address(port)
        shown = {name: session.ask(f"SHOW {name}")[0] for name in _SHOWN}
        self.settings: Mapping[str, str] = {"postgresql": session.ask("SHOW server_version")[0].split()[0], **shown}

    def reading(self) -> Reading:
        """Processor time of all its processes, transactions in place of commands, and the size of the database."""
        transactions, size = self._session.ask(_READING)
        return Reading(cpu_seconds=cpu_seconds(self._pid), commands=int(transactions), memory=int(size))

    def log_bytes(self) -> int:
        """How much it has written to its write-ahead log so far."""
        return int(self._session.ask("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')")[0])

    @contextmanager
    def filling(self) -> Iterator[None]:
        """See Broker.filling: commits do not wait for the disk meanwhile, and after it the planner knows the tables."""
        self._session.ask(f"ALTER DATABASE {_DATABASE} SET synchronous_commit = off")
        yield
        self._session.ask(f"ALTER DATABASE {_DATABASE} RESET synchronous_commit")
        subprocess.run([*_psql(self.address), "-c", "ANALYZE"], check=True)
