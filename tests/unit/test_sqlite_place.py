"""Where an SQLite file may be, and what a URL says about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from reinhardt_tasks.backends.sqlite import SqliteBackend
from reinhardt_tasks.backends.sqlite.place import absolute, check_place, file_system, parse_url
from reinhardt_tasks.errors import BackendError, ConfigurationError, DirectoryMissingError

MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
server:/export /mnt/share nfs4 rw 0 0
//nas/docs /mnt/my\\040docs cifs rw 0 0
tmpfs /mnt/share/fast tmpfs rw 0 0
garbage
host:/ /mnt/far fuse.sshfs rw 0 0
"""


@pytest.mark.parametrize(
    ("url", "path", "durability"),
    [
        ("sqlite:///tasks.db", "tasks.db", "full"),
        ("sqlite:///a/b.db", "a/b.db", "full"),
        ("sqlite:////var/lib/tasks.db", "/var/lib/tasks.db", "full"),
        ("sqlite:///my%20tasks.db?durability=normal", "my tasks.db", "normal"),
        ("sqlite:///tasks.db?durability=off", "tasks.db", "off"),
    ],
)
def test_a_url_names_a_file_and_its_durability(url, path, durability):
    """Three slashes lead to a relative path, four to an absolute one."""
    assert parse_url(url) == (path, durability)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("sqlite://tasks.db", "sqlite:///tasks.db"),
        ("sqlite://", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite:///t.db?timeout=5", "'timeout'"),
        ("sqlite:///t.db?durability=most", "'most'"),
        ("sqlite:///t.db?durability=", "full, normal or off"),
        ("sqlite:///:memory:", "memory://"),
    ],
)
def test_a_url_that_cannot_work_is_refused_with_what_to_write(url, told):
    """A host, no file, an unknown option or word: each is a ConfigurationError that names it."""
    with pytest.raises(ConfigurationError, match=told.replace("?", r"\?")):
        SqliteBackend.from_url(url)


def test_a_relative_path_is_fixed_when_the_backend_is_made(tmp_path, monkeypatch):
    """A later change of the current directory does not move the database."""
    monkeypatch.chdir(tmp_path)
    backend = SqliteBackend.from_url("sqlite:///tasks.db?durability=normal")
    assert repr(backend) == f"SqliteBackend('{tmp_path / 'tasks.db'}', durability='normal')"


def test_a_link_is_followed(tmp_path):
    """SQLite keeps the log beside the file a link leads to; so do we."""
    (tmp_path / "link.db").symlink_to(tmp_path / "real.db")
    assert absolute(tmp_path / "link.db") == str(tmp_path / "real.db")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home2/me/t.db", "ext4"),
        ("/mnt/share/t.db", "nfs4"),
        ("/mnt/share/fast/t.db", "tmpfs"),
        ("/mnt/shared/t.db", "ext4"),
        ("/mnt/my docs/t.db", "cifs"),
    ],
)
def test_the_file_system_is_that_of_the_longest_mount_point(path, kind):
    """Whole names count, and spaces in them are read."""
    assert file_system(path, MOUNTS) == kind


def test_an_unknown_system_tells_no_file_system():
    """Without a list of mounts nothing is refused."""
    assert file_system("/t.db", "") is None


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "9p", "fuse.sshfs"])
def test_a_file_system_shared_by_hosts_is_refused(tmp_path, kind):
    """SQLite's locks do not hold there: an error that names the file system and other backends."""
    with pytest.raises(ConfigurationError, match=rf"{kind} file system.*PostgreSQL or Redis"):
        check_place(str(tmp_path / "t.db"), mounts=f"server:/x {tmp_path} {kind} rw 0 0")


def test_a_local_file_system_will_do(tmp_path):
    """This machine's own disks are fine, by its own list of mounts too."""
    check_place(str(tmp_path / "t.db"), mounts=f"/dev/sda1 {tmp_path} ext4 rw 0 0")
    check_place(str(tmp_path / "t.db"))


def test_a_missing_directory_is_not_made(tmp_path):
    """It would hide a mistyped path."""
    missing = tmp_path / "nowhere" / "t.db"
    with pytest.raises(DirectoryMissingError) as refused:
        check_place(str(missing))
    assert refused.value.place == str(missing)
    assert not missing.parent.exists()


def test_a_directory_is_no_database(tmp_path):
    """An error that says what it is."""
    with pytest.raises(BackendError, match="is a directory"):
        check_place(str(tmp_path))


@pytest.mark.parametrize("path", ["", ":memory:"])
def test_a_database_in_memory_is_refused(path):
    """Each connection would have one of its own."""
    with pytest.raises(ConfigurationError, match="memory://"):
        absolute(path)


def test_a_path_object_will_do(tmp_path):
    """Paths are taken as texts are."""
    assert absolute(Path(tmp_path) / "x" / ".." / "t.db") == str(tmp_path / "t.db")


def test_a_password_in_a_url_is_not_repeated():
    """SQLite has none, but whoever changes a URL may leave one standing."""
    with pytest.raises(ConfigurationError, match="names a host where SQLite has none: 'host'") as refusal:
        parse_url("sqlite://user:hunter2@host/tasks.db")
    assert "hunter2" not in str(refusal.value)
