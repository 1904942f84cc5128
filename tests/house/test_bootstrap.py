"""`make` on a bare machine: the environment is made, or one sentence says what to type; never half of it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.house.bare import Bare

# A Python that is only a shell script: it answers what the script asks and notes what it was told to do.
# {new} and {pip} are what it does when asked whether it is new enough, and to install.
PYTHON = """#!/usr/bin/env bash
case "$*" in
    "-c "*version_info*"<"*) {new} ;;
    *"import ensurepip"*) [ -e "$BARE/ensurepip" ] ;;
    "-c "*%d*) echo 3.98 ;;
    "-m venv .venv") echo made >>"$BARE/log"; mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
    *"-m pip"*"--editable"*) {pip} ;;
    *"-m pip"*) ;;
    -V) echo Python 3.98.0 ;;
    *) ;;
esac
"""


class BareOfPython(Bare):
    """One where `make` makes its environment."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, "scripts/bootstrap", "pyproject.toml", "constraints.txt")
        self.venv = directory / ".venv"

    def python(self, name: str = "python3", *, new: str = "true", ensurepip: bool = True, pip: str = "true") -> None:
        """Put a Python on PATH."""
        self.command(name, PYTHON.format(new=new, pip=pip))
        if ensurepip:
            (self.directory / "ensurepip").touch()

    def make(self, **settings: str) -> tuple[int, str]:
        """Run the bootstrap; its exit code and what it said."""
        return self.run("scripts/bootstrap", **settings)

    @property
    def made(self) -> int:
        """How many environments were made."""
        return self.log.read_text().count("made") if self.log.exists() else 0


@pytest.fixture
def bare(tmp_path: Path) -> BareOfPython:
    """Such a machine."""
    return BareOfPython(tmp_path)


def test_it_is_made_once_and_again_only_when_its_needs_change(bare: BareOfPython) -> None:
    """A second run does nothing; a new constraint installs into the same environment."""
    bare.python(pip='echo installed >>"$BARE/log"')
    assert [bare.make()[0], bare.make()[0]] == [0, 0]
    assert bare.log.read_text().split() == ["made", "installed"]
    (bare.directory / "constraints.txt").write_text("msgspec==0.20.0\n")
    assert bare.make()[0] == 0
    assert bare.log.read_text().split() == ["made", "installed", "installed"]


def test_without_python_it_says_so(bare: BareOfPython) -> None:
    """One sentence, and nothing left behind."""
    code, said = bare.make()
    assert code == 1
    assert (
        said
        == "bootstrap: no Python 3.11 or newer on PATH. Install one, or name it: make PYTHON=/path/to/python3 TARGET\n"
    )
    assert not bare.venv.exists()


def test_an_old_python_and_a_shim_that_does_not_run_are_passed_over(bare: BareOfPython) -> None:
    """The first candidate that runs and is new enough is taken."""
    bare.python("python3", new="exit 1")
    bare.command("python3.11", "echo 'python3.11: command not found' >&2; exit 127")
    bare.python("python3.12")
    code, said = bare.make()
    assert (code, bare.made) == (0, 1)
    assert f"({bare.bin}/python3.12)" in said


def test_without_ensurepip_and_the_right_to_install_it_says_the_one_command(bare: BareOfPython) -> None:
    """A user without root types one line; nothing is half made."""
    bare.python(ensurepip=False)
    bare.command("apt-get", "exit 1")
    code, said = bare.make()
    assert code == 1
    assert said.endswith("Type this, then run make again: sudo apt-get install -y python3.98-venv\n")
    assert not bare.venv.exists()


def test_without_ensurepip_it_installs_it_where_it_can(bare: BareOfPython) -> None:
    """Root (or sudo that asks for no password) installs the package, refreshing the lists if need be, and goes on."""
    bare.python(ensurepip=False)
    bare.command("id", "echo 0")
    bare.command("apt-get", '[ "$1" = update ] && touch "$BARE/lists"; [ -e "$BARE/lists" ] && touch "$BARE/ensurepip"')
    code, _ = bare.make()
    assert (code, bare.made) == (0, 1)


def test_a_package_that_cannot_be_installed_ends_in_the_command_to_type(bare: BareOfPython) -> None:
    """The reason is passed on and the command is said."""
    bare.python(ensurepip=False)
    bare.command("id", "echo 0")
    bare.command("apt-get", "echo 'E: no network' >&2; exit 100")
    code, said = bare.make()
    assert code == 1
    assert "E: no network" in said
    assert said.endswith("apt-get install -y python3.98-venv\n")


@pytest.mark.parametrize("end", ["exit 1", "kill -9 $PPID"], ids=["failed", "killed"])
def test_an_installation_that_did_not_end_is_not_believed(bare: BareOfPython, end: str) -> None:
    """The next run makes the environment again from nothing, and then it is good."""
    bare.python(pip=f'[ -e "$BARE/again" ] || {{ touch "$BARE/again"; {end}; }}')
    code, said = bare.make()
    assert code in {1, -signal.SIGKILL}
    assert ".venv is ready" not in said
    assert not (bare.venv / "ready").exists()
    assert bare.make()[0] == 0
    assert bare.made == 2


def test_an_update_that_failed_is_tried_again_in_place(bare: BareOfPython) -> None:
    """A working environment is not thrown away because the network was."""
    bare.python(pip='[ ! -e "$BARE/offline" ]')
    assert bare.make()[0] == 0
    (bare.directory / "constraints.txt").write_text("msgspec==0.20.0\n")
    (bare.directory / "offline").touch()
    assert bare.make()[0] == 1
    assert not (bare.venv / "ready").exists()
    (bare.directory / "offline").unlink()
    assert bare.make()[0] == 0
    assert bare.made == 1


def test_a_python_named_by_hand_is_the_only_candidate(bare: BareOfPython) -> None:
    """A wrong PYTHON is an error, not a reason to take another."""
    bare.python()
    code, said = bare.make(PYTHON="/nowhere/python3")
    assert (code, bare.made) == (1, 0)
    assert said == "bootstrap: PYTHON=/nowhere/python3 is not a Python 3.11 or newer that runs. Name one that is.\n"
