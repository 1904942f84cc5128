"""`make test` on a machine without the servers that tests start: they are installed, or the command for it is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.house.bare import Bare

ALL = "redis-server libfaketime postgresql pgbouncer rabbitmq-server"
INSTALLS = """
echo "$*" >>"$BARE/log"
case "$1" in
    update) touch "$BARE/lists" ;;
    install) [ -e "$BARE/lists" ] ;;
esac
"""


class BareOfServers(Bare):
    """One where tests are to be run."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, "scripts/servers")
        self.clock = directory / "usr/lib/some-linux/faketime/libfaketimeMT.so.1"

    def make(self, **settings: str) -> tuple[int, str]:
        """Run the script; its exit code and what it said."""
        return self.run("scripts/servers", SYSTEM=str(self.directory), **settings)

    def has_servers(self) -> None:
        """Put the programs there, PostgreSQL where Debian puts it."""
        self.command("redis-server", "true")
        self.has_postgres()
        (self.directory / "usr/sbin").mkdir()
        (self.directory / "usr/sbin/pgbouncer").touch(0o755)
        self.clock.parent.mkdir(parents=True)
        self.clock.touch()
        rabbitmq = self.directory / "usr/lib/rabbitmq/bin"
        rabbitmq.mkdir(parents=True)
        (rabbitmq / "rabbitmq-server").touch(0o755)

    def has_postgres(self) -> None:
        """Put PostgreSQL there."""
        programs = self.directory / "usr/lib/postgresql/15/bin"
        programs.mkdir(parents=True)
        (programs / "postgres").touch(0o755)

    @property
    def told_apt(self) -> list[str]:
        """What apt-get was told to do."""
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def bare(tmp_path: Path) -> BareOfServers:
    """Such a machine."""
    made = BareOfServers(tmp_path)
    made.command("apt-get", INSTALLS)
    return made


def test_where_the_servers_are_nothing_is_done(bare: BareOfServers) -> None:
    """Not a word, and nothing is asked of the system."""
    bare.has_servers()
    bare.command("id", "echo 0")
    assert bare.make() == (0, "")
    assert bare.told_apt == []


def test_root_installs_what_is_missing(bare: BareOfServers) -> None:
    """All of it at once; the lists are fetched where those at hand do not do."""
    bare.command("id", "echo 0")
    code, said = bare.make()
    assert (code, said) == (0, f"servers: not on this machine: {ALL}. Installing.\n")
    install = f"install -y {ALL}"
    assert bare.told_apt == [install, "update", install]


def test_only_what_is_missing_is_installed(bare: BareOfServers) -> None:
    """A server that somebody has built is not installed over."""
    bare.command("redis-server", "true")
    bare.has_postgres()
    bare.command("id", "echo 0")
    (bare.directory / "lists").touch()
    assert bare.make()[0] == 0
    assert bare.told_apt == ["install -y libfaketime pgbouncer rabbitmq-server"]


def test_a_sudo_that_asks_for_no_password_installs_too(bare: BareOfServers) -> None:
    """And one that does is never waited for."""
    bare.command("sudo", '[ "$1" = -n ] && shift && "$@"')
    (bare.directory / "lists").touch()
    assert bare.make()[0] == 0
    assert bare.told_apt == [f"install -y {ALL}"]


@pytest.mark.parametrize("without", ["apt-get", "rights"])
def test_where_it_may_not_install_it_says_the_one_command(bare: BareOfServers, without: str) -> None:
    """The tests run all the same: most need no server."""
    if without == "apt-get":
        (bare.bin / "apt-get").unlink()
    code, said = bare.make()
    assert code == 0
    assert said == (
        f"servers: not on this machine: {ALL}; tests that need it will fail."
        f" Type this for them: sudo apt-get install -y {ALL}\n"
    )
    assert bare.told_apt == []


def test_an_installation_that_fails_says_why_and_the_one_command(bare: BareOfServers) -> None:
    """And does not keep the other tests from running."""
    bare.command("id", "echo 0")
    bare.command("apt-get", "echo 'E: no network' >&2; exit 100")
    code, said = bare.make()
    assert code == 0
    assert "E: no network" in said
    assert said.endswith(f"that failed; tests that need it will fail. Type this for them: apt-get install -y {ALL}\n")


def test_a_server_that_is_named_is_enough(bare: BareOfServers) -> None:
    """Whoever names one wants none of that kind installed."""
    bare.command("id", "echo 0")
    (bare.directory / "lists").touch()
    redis, postgres = {"REINHARDT_TEST_REDIS_URL": "redis://x"}, {"REINHARDT_TEST_POSTGRES_URL": "postgresql://x"}
    rabbitmq = {"REINHARDT_TEST_AMQP_URL": "amqp://x"}
    assert bare.make(**redis, **postgres, **rabbitmq) == (0, "")
    assert bare.told_apt == []
    assert bare.make(**redis, **rabbitmq)[0] == bare.make(**postgres)[0] == 0
    assert bare.told_apt == [
        "install -y libfaketime postgresql pgbouncer",
        "install -y redis-server libfaketime rabbitmq-server",
    ]
