"""`make` on a bare machine: the environment is made, or one sentence says what to type; never half of it."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("bash", "cat", "chmod", "cksum", "cp", "dirname", "env", "flock", "mkdir", "mv", "rm", "touch")

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


class Bare:
    """A checkout on a machine with nothing on PATH but a few commands, to which a test adds its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.bin = directory / "bin"
        self.venv = directory / ".venv"
        self.log = directory / "log"
        for name in ("scripts", "bin"):
            (directory / name).mkdir()
        for name in ("scripts/bootstrap", "pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, directory / name)
        for path in filter(None, map(shutil.which, TOOLS)):
            (self.bin / Path(path).name).symlink_to(path)
        self.command("id", "echo 1000")

    def command(self, name: str, body: str) -> None:
        """Put a command on PATH."""
        (self.bin / name).write_text(body if body.startswith("#!") else f"#!/usr/bin/env bash\n{body}\n")
        (self.bin / name).chmod(0o755)

    def python(self, name: str = "python3", *, new: str = "true", ensurepip: bool = True, pip: str = "true") -> None:
        """Put a Python on PATH."""
        self.command(name, PYTHON.format(new=new, pip=pip))
        if ensurepip:
            (self.directory / "ensurepip").touch()

    def make(self, **settings: str) -> tuple[int, str]:
        """Run the bootstrap; its exit code and what it said."""
        ended = subprocess.run(
            [self.bin / "bash", "scripts/bootstrap"],
            cwd=self.directory,
            env={"PATH": str(self.bin), "BARE": str(self.directory)} | settings,
            capture_output=True,
            text=True,
            check=False,
        )
        return ended.returncode, ended.stderr

    @property
    def made(self) -> int:
        """How many environments were made."""
        return self.log.read_text().count("made") if self.log.exists() else 0


@pytest.fixture
def bare(tmp_path: Path) -> Bare:
    """Such a machine."""
    return Bare(tmp_path)


def test_it_is_made_once_and_again_only_when_its_needs_change(bare: Bare) -> None:
    """A second run does nothing; a new constraint installs into the same environment."""
    bare.python(pip='echo installed >>"$BARE/log"')
    assert [bare.make()[0], bare.make()[0]] == [0, 0]
    assert bare.log.read_text().split() == ["made", "installed"]
    (bare.directory / "constraints.txt").write_text("msgspec==0.20.0\n")
    assert bare.make()[0] == 0
    assert bare.log.read_text().split() == ["made", "installed", "installed"]


def test_without_python_it_says_so(bare: Bare) -> None:
    """One sentence, and nothing left behind."""
    code, said = bare.make()
    assert code == 1
    assert (
        said
        == "bootstrap: no Python 3.11 or newer on PATH. Install one, or name it: make PYTHON=/path/to/python3 TARGET\n"
    )
    assert not bare.venv.exists()


def test_an_old_python_and_a_shim_that_does_not_run_are_passed_over(bare: Bare) -> None:
    """The first candidate that runs and is new enough is taken."""
    bare.python("python3", new="exit 1")
    bare.command("python3.11", "echo 'python3.11: command not found' >&2; exit 127")
    bare.python("python3.12")
    code, said = bare.make()
    assert (code, bare.made) == (0, 1)
    assert f"({bare.bin}/python3.12)" in said


def test_without_ensurepip_and_the_right_to_install_it_says_the_one_command(bare: Bare) -> None:
    """A user without root types one line; nothing is half made."""
    bare.python(ensurepip=False)
    bare.command("apt-get", "exit 1")
    code, said = bare.make()
    assert code == 1
    assert said.endswith("Type this, then run make again: sudo apt-get install -y python3.98-venv\n")
    assert not bare.venv.exists()


def test_without_ensurepip_it_installs_it_where_it_can(bare: Bare) -> None:
    """Root (or sudo that asks for no password) installs the package, refreshing the lists if need be, and goes on."""
    bare.python(ensurepip=False)
    bare.command("id", "echo 0")
    bare.command("apt-get", '[ "$1" = update ] && touch "$BARE/lists"; [ -e "$BARE/lists" ] && touch "$BARE/ensurepip"')
    code, _ = bare.make()
    assert (code, bare.made) == (0, 1)


def test_a_package_that_cannot_be_installed_ends_in_the_command_to_type(bare: Bare) -> None:
    """The reason is passed on and the command is said."""
    bare.python(ensurepip=False)
    bare.command("id", "echo 0")
    bare.command("apt-get", "echo 'E: no network' >&2; exit 100")
    code, said = bare.make()
    assert code == 1
    assert "E: no network" in said
    assert said.endswith("apt-get install -y python3.98-venv\n")


@pytest.mark.parametrize("end", ["exit 1", "kill -9 $PPID"], ids=["failed", "killed"])
def test_an_installation_that_did_not_end_is_not_believed(bare: Bare, end: str) -> None:
    """The next run makes the environment again from nothing, and then it is good."""
    bare.python(pip=f'[ -e "$BARE/again" ] || {{ touch "$BARE/again"; {end}; }}')
    code, said = bare.make()
    assert code in {1, -signal.SIGKILL}
    assert ".venv is ready" not in said
    assert not (bare.venv / "ready").exists()
    assert bare.make()[0] == 0
    assert bare.made == 2


def test_an_update_that_failed_is_tried_again_in_place(bare: Bare) -> None:
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


def test_a_python_named_by_hand_is_the_only_candidate(bare: Bare) -> None:
    """A wrong PYTHON is an error, not a reason to take another."""
    bare.python()
    code, said = bare.make(PYTHON="/nowhere/python3")
    assert (code, bare.made) == (1, 0)
    assert said == "bootstrap: PYTHON=/nowhere/python3 is not a Python 3.11 or newer that runs. Name one that is.\n"
