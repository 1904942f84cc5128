"""PostgreSQL servers of the tests: private ones, made from the programs of the machine, whose clock can be moved."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import math
import os
import pwd
import shutil
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from tests.servers.container import contained
from tests.servers.process import MissingServerError, ServerProcess
from tests.servers.redis import PATIENCE, SHORT_LEASE

URL_VARIABLE = "REINHARDT_TEST_POSTGRES_URL"
GET_POSTGRES = "PostgreSQL is not on this machine: type `sudo apt-get install postgresql libfaketime`"
GET_SHARED = (
    f"{GET_POSTGRES}, or name a database that the tests may fill, {URL_VARIABLE}=postgresql://…, or have a Docker"
    " engine and `pip install testcontainers`"
)
IMAGE = "postgres:16"
GET_FAKETIME = "libfaketime, which moves the clock of a server, is missing: type `sudo apt-get install libfaketime`"
GET_SETPRIV = "PostgreSQL does not run as root, and setpriv is not here: run the tests as another user"
PROGRAMS = Path("/usr/lib/postgresql")
_FAKETIME = "lib*/*/faketime/libfaketime.so.1"
_UNPRIVILEGED = ("postgres", "nobody")
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where libfaketime leaves something behind

_numbers = itertools.count(1)
_EMPTY = """
DO $$ DECLARE tables text := (
    SELECT string_agg(quote_ident(tablename), ', ') FROM pg_tables
    WHERE schemaname = current_schema() AND starts_with(tablename, '{prefix}')
        AND tablename NOT IN ('{prefix}migrations', '{prefix}counters'));
BEGIN
    IF tables IS NOT NULL THEN
        EXECUTE 'TRUNCATE ' || tables;
    END IF;
END $$
"""
_DROP = """
DO $$ DECLARE step text;
BEGIN
    FOR step IN
        SELECT format('DROP TABLE %I CASCADE', tablename) FROM pg_tables
        WHERE schemaname = current_schema() AND starts_with(tablename, '{prefix}')
        UNION ALL SELECT format('DROP SEQUENCE %I', sequencename) FROM pg_sequences
        WHERE schemaname = current_schema() AND starts_with(sequencename, '{prefix}')
    LOOP
        EXECUTE step;
    END LOOP;
    FOR step IN
        SELECT format('DROP FUNCTION %s', oid::regprocedure) FROM pg_proc
        WHERE pronamespace = current_schema()::regnamespace AND starts_with(proname, '{prefix}')
    LOOP
        EXECUTE step;
    END LOOP;
END $$
"""


class PostgresServer(ServerProcess):
    """A server of its own, on loopback; whoever comes is `postgres`, without a password.

    `settings` are lines of its configuration (`{"max_connections": "20"}`). `fsync=False` keeps it from waiting for the
    disk. `clock=True` gives it a clock of its own, moved by `advance`; one that is `still` moves by nothing else, and
    nothing times out there.

    Raises MissingServerError where the programs, or libfaketime, are missing.
    """

    def __init__(
        self,
        settings: Mapping[str, str] | None = None,
        *,
        fsync: bool = False,
        clock: bool = False,
        still: bool = False,
    ) -> None:
        self._programs = program("postgres").parent
        self._library = _faketime() if clock or still else None
        self._user = _unprivileged()
        super().__init__()
        self.patience = math.inf if self._library else PATIENCE
        self.lease = 30.0 if self._library else SHORT_LEASE
        self._settings = {"fsync": "on" if fsync else "off", "max_connections": "200", **(settings or {})}
        self._stamp = self.directory / "clock"
        self._began = datetime.now(UTC) if still else None
        self._ahead = 0.0
        self.advance(0)
        self._make_cluster()

    # How it runs ------------------------------------------------------------------------------------------------------

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.directory / "data"

    def _make_cluster(self) -> None:
        if self._user is not None:
            os.chown(self.directory, self._user.pw_uid, -1)
        command = [self._programs / "initdb", "-D", self.data, "-A", "trust", "-U", "postgres", "--no-sync"]
        made = subprocess.run(
            [*_as(self._user), *map(str, command), "-E", "UTF8", "--locale=C"],
            capture_output=True,
            check=False,
            cwd="/",
        )
        if made.returncode:
            raise AssertionError(f"initdb failed: {made.stderr.decode()}")

    def command(self) -> Sequence[str | Path]:
        """The clock is faked only from here on: what libfaketime shares with the server must belong to its user."""
        settings = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.directory),
            **self._settings,
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        clock = [f"{name}={value}" for name, value in self._faked().items()]
        return [*_as(self._user), "env", *clock, self._programs / "postgres", "-D", self.data, *options]

    def _faked(self) -> Mapping[str, str]:
        """What moves the clock. Timers go by the monotonic clock, which is left alone."""
        if self._library is None:
            return {}
        return {
            "LD_PRELOAD": str(self._library),
            "FAKETIME_TIMESTAMP_FILE": str(self._stamp),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "TZ": "UTC",
        }

    def answers(self) -> bool:
        """Whether it lets somebody in."""
        return _lets_in(self.url())

    def stop(self) -> None:
        """Have it end in order, though clients are connected. Its directory stays."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End it as a crash would: nothing is written any more, and the next start recovers. Its directory stays."""
        self._end(signal.SIGQUIT)

    def restart(self) -> None:
        """As after a crash."""
        if self.running:
            self.kill()
        self.start()

    def pause(self) -> None:
        """Let it do nothing: connections stand, and nobody answers."""
        self._tell_all(signal.SIGSTOP)

    def unpause(self) -> None:
        """Let it go on."""
        self._tell_all(signal.SIGCONT)

    def _tell_all(self, number: signal.Signals) -> None:
        """Its own process first, which makes those of the connections; any of them may end meanwhile."""
        os.kill(self.pid, number)
        for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), number)

    def close(self) -> None:
        """Kill it and remove its directory."""
        pid = self.pid if self._process is not None else 0
        if self.running:
            self.unpause()
        super().close()
        for name in (f"faketime_shm_{pid}", f"sem.faketime_sem_{pid}"):
            (_SHARED_MEMORY / name).unlink(missing_ok=True)

    # What tests do with it --------------------------------------------------------------------------------------------

    def url(
        self, database: str = "postgres", *, login: str = "postgres", port: int | None = None, query: str = ""
    ) -> str:
        """The URL of a database on it; through another port, such as a proxy's."""
        return f"postgresql://{login}@127.0.0.1:{port or self.port}/{database}{query}"

    def execute(self, sql: str, *, database: str = "postgres") -> list[tuple[object, ...]]:
        """The rows of a statement of an administrator."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            asked = connection.execute(sql.encode())
            return asked.fetchall() if asked.description else []

    def empty(self) -> None:
        """Leave nothing in the tables of the default prefix."""
        self.execute(_EMPTY.format(prefix="reinhardt_"))

    async def let_pass(self, seconds: float) -> None:
        """Move its clock, or wait where it cannot be moved."""
        if self._library is None:
            await asyncio.sleep(seconds)
        else:
            self.advance(seconds)

    def new_database(self) -> str:
        """The name of a fresh, empty database."""
        name = f"test{next(_numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return name

    def advance(self, seconds: float) -> None:
        """Move its clock; every statement sees it from now on. Raises ValueError where it cannot be moved so."""
        if seconds < 0 or (seconds and self._library is None):
            raise ValueError(f"the clock of this server cannot be moved by {seconds:g} s")
        self._ahead += seconds
        new = self._stamp.with_suffix(".new")
        if self._began is None:
            new.write_text(f"+{self._ahead:.6f}\n")
        else:
            new.write_text(f"{self._began + timedelta(seconds=self._ahead):%Y-%m-%d %H:%M:%S.%f}\n")
        new.chmod(0o644)
        new.rename(self._stamp)


class GivenPostgres:
    """A database of a server that somebody else runs. Time passes there as everywhere."""

    patience = PATIENCE
    """The longest time, in seconds, that may be let pass at once."""
    lease = SHORT_LEASE
    """How long the leases of workers of a conformance test should last, in seconds."""

    def __init__(self, url: str, *, stop: Callable[[], object] = lambda: None) -> None:
        self._url = url
        self._stop = stop
        self._prefix = f"test_{uuid.uuid4().hex[:12]}_"

    def url(self) -> str:
        """The URL that was given, with a prefix of this process's own."""
        return f"{self._url}{'&' if '?' in self._url else '?'}table_prefix={self._prefix}"

    def execute(self, sql: str) -> list[tuple[object, ...]]:
        """The rows of a statement."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            asked = connection.execute(sql.encode())
            return asked.fetchall() if asked.description else []

    def empty(self) -> None:
        """Leave nothing in the tables of that prefix."""
        self.execute(_EMPTY.format(prefix=self._prefix))

    async def let_pass(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    def close(self) -> None:
        """Drop what was made under that prefix."""
        self.execute(_DROP.format(prefix=self._prefix))
        self._stop()


SharedPostgres = PostgresServer | GivenPostgres
"""A server whose tables many tests use, one after the other."""


def choose() -> SharedPostgres:
    """A server for a test process: the one that is named, a private one, or a container's.

    Raises MissingServerError with how to get one, where there is none.
    """
    if given := os.environ.get(URL_VARIABLE):
        return GivenPostgres(given)
    with contextlib.suppress(MissingServerError):
        program("postgres")
        server = PostgresServer(clock=_find_faketime() is not None)
        server.start()
        return server
    if (container := _container()) is not None:
        return container
    raise MissingServerError(GET_SHARED)


shared = functools.cache(choose)
"""The server of this test process."""


def close_shared() -> None:
    """End it, if there is one."""
    if shared.cache_info().currsize:
        shared().close()
        shared.cache_clear()


def _container() -> GivenPostgres | None:
    made = contained("postgres", "PostgresContainer", IMAGE, driver=None)
    return None if made is None else GivenPostgres(made.get_connection_url(), stop=made.stop)


def program(name: str) -> Path:
    """A program of PostgreSQL: the newest in Debian's directories, or else the one on PATH."""
    found = sorted(PROGRAMS.glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1]
    elsewhere = shutil.which(name)
    if elsewhere is None:
        raise MissingServerError(GET_POSTGRES)
    return Path(elsewhere)


def _faketime() -> Path:
    found = _find_faketime()
    if found is None:
        raise MissingServerError(GET_FAKETIME)
    return found


def _find_faketime() -> Path | None:
    found = (
        library for directory in (Path("/usr"), Path("/usr/local")) for library in sorted(directory.glob(_FAKETIME))
    )
    return next(found, None)


def _unprivileged() -> pwd.struct_passwd | None:
    """Whom the server runs as where we are root; None where we are not."""
    if os.geteuid() != 0:
        return None
    if shutil.which("setpriv") is None:
        raise MissingServerError(GET_SETPRIV)
    for name in _UNPRIVILEGED:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise MissingServerError(GET_SETPRIV)


def _as(user: pwd.struct_passwd | None) -> list[str]:
    """What, before a command, has it run as somebody else than root, and still end with this process."""
    if user is None:
        return []
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--pdeathsig", "KILL"]


def _lets_in(url: str) -> bool:
    try:
        with psycopg.connect(url, connect_timeout=5):
            return True
    except psycopg.OperationalError:
        return False


@contextlib.contextmanager
def running(
    settings: Mapping[str, str] | None = None, *, fsync: bool = False, clock: bool = False
) -> Iterator[PostgresServer]:
    """A server that runs inside, and is gone after."""
    with PostgresServer(settings, fsync=fsync, clock=clock) as server:
        yield server


class PgBouncer(ServerProcess):
    """A pooler in transaction mode before a server: each transaction may run on another of its few connections."""

    def __init__(self, server: PostgresServer, *, connections: int = 3) -> None:
        bouncer = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
        if bouncer is None:
            raise MissingServerError("PgBouncer is not on this machine: type `sudo apt-get install pgbouncer`")
        self._program = bouncer
        self._server = server
        self._connections = connections
        self._user = _unprivileged()
        super().__init__()
        if self._user is not None:
            os.chown(self.directory, self._user.pw_uid, -1)

    def command(self) -> Sequence[str | Path]:
        """Its configuration is written anew for each port."""
        configuration = self.directory / "pgbouncer.ini"
        configuration.write_text(
            f"""
[databases]
* = host=127.0.0.1 port={self._server.port} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {self._connections}
max_client_conn = 200
"""
        )
        configuration.chmod(0o644)
        return [*_as(self._user), self._program, configuration]

    def answers(self) -> bool:
        """Whether it lets somebody through."""
        return _lets_in(self.url())

    def url(self, database: str = "postgres") -> str:
        """The URL of a database through it."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"
