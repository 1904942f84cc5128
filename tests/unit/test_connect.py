"""A URL leads to its backend, or to a text that says why not."""

from __future__ import annotations

import subprocess
import sys

import pytest

from reinhardt_tasks.backends import connect
from reinhardt_tasks.backends.dummy import DummyBackend
from reinhardt_tasks.backends.immediate import ImmediateBackend
from reinhardt_tasks.backends.memory import MemoryBackend
from reinhardt_tasks.backends.postgres import PostgresBackend
from reinhardt_tasks.backends.redis import RedisTaskBackend
from reinhardt_tasks.backends.sqlite import SqliteBackend
from reinhardt_tasks.errors import ConfigurationError


@pytest.mark.parametrize(
    ("url", "kind"),
    [("memory://", MemoryBackend), ("immediate://", ImmediateBackend), ("dummy://", DummyBackend)],
)
async def test_a_scheme_names_a_backend(url: str, kind: type[MemoryBackend]) -> None:
    """Each call gives one with a store of its own."""
    first, second = connect(url), connect(url)
    assert type(first) is type(second) is kind
    assert first is not second
    assert first.name == url.partition(":")[0]


def test_a_file_is_named_relative_or_absolute(tmp_path, monkeypatch) -> None:
    """Nothing is created before the backend is opened."""
    monkeypatch.chdir(tmp_path)
    assert isinstance(connect("sqlite:///tasks.db"), SqliteBackend)
    assert isinstance(connect(f"sqlite:///{tmp_path}/tasks.db?durability=normal"), SqliteBackend)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigurationError, match="durability"):
        connect("sqlite:///tasks.db?durability=none")


@pytest.mark.parametrize("url", ["mongo://user:hunter2@host/0", "amqp://user:hunter2@host/0", "user:hunter2@host", ""])
def test_what_is_not_there_is_refused_without_showing_a_password(url: str) -> None:
    """The text names the schemes there are."""
    with pytest.raises(ConfigurationError, match="sqlite://") as caught:
        connect(url)
    assert "hunter2" not in str(caught.value)
    assert caught.value.setting == "url"


@pytest.mark.parametrize(
    "url",
    [
        "redis://host/1",
        "rediss://host",
        "redis+unix:///run/redis.sock",
        "redis+sentinel://one,two/service",
        "rediss+sentinel://one,two/service",
        "redis+cluster://one,two",
        "rediss+cluster://one",
    ],
)
def test_redis_is_named_in_all_its_forms(url) -> None:
    """Alone, over TLS, on a socket, under sentinels and in a cluster; nothing is spoken to before it is opened."""
    backend = connect(f"{url}?prefix=shop%3A")
    assert isinstance(backend, RedisTaskBackend)
    assert "shop:" in repr(backend)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_postgresql_is_named_by_both_of_its_names(scheme) -> None:
    """Nothing is spoken to before it is opened, and the password is not shown."""
    backend = connect(f"{scheme}://ada:hunter2@host:5432/shop?table_prefix=tasks_")
    assert isinstance(backend, PostgresBackend)
    assert repr(backend) == "PostgresBackend('postgresql://ada@host:5432/shop', table_prefix='tasks_')"


@pytest.mark.parametrize("missing", ["redis", "hiredis"])
def test_package_that_is_not_installed_is_told_with_what_to_type(missing) -> None:
    """Each backend's package comes with the extra of its name."""
    program = f"""
import sys
sys.modules[{missing!r}] = None  # as if it were not installed
from reinhardt_tasks.backends import connect
connect("rediss://user:hunter2@host")
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    told = f"ConfigurationError: rediss:// needs the package '{missing}', which is not installed. Type: pip install"
    assert f"{told} 'reinhardt-tasks[redis]'" in ran.stderr.splitlines()[-1]
    assert "hunter2" not in ran.stderr.splitlines()[-1]


def test_what_is_planned_is_told_apart_from_what_is_unknown() -> None:
    """Not available in this version is another thing than misspelt."""
    with pytest.raises(ConfigurationError, match="not available in this version"):
        connect("amqp://host/db")
    with pytest.raises(ConfigurationError, match="no backend is called 'postgersql'"):
        connect("postgersql://host/db")


def test_a_store_without_a_place_takes_no_place() -> None:
    """memory://name would look like a shared store, and not be one."""
    for scheme in ("memory", "immediate", "dummy"):
        with pytest.raises(ConfigurationError, match=f"{scheme}://"):
            connect(f"{scheme}://name")
