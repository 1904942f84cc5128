"""One virtual environment per peer, so that no peer's pins move another's."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
_ENVIRONMENTS = HERE / ".envs"
_REQUIREMENTS = HERE / "requirements"


class MissingEnvironmentError(Exception):
    """A peer has no environment yet."""

    def __init__(self, peer: str) -> None:
        super().__init__(peer)
        self.peer = peer

    def __str__(self) -> str:
        return f"{self.peer} has no environment yet; make it with: python -m benchmarks setup {self.peer}"


def peers() -> list[str]:
    """Every peer with a file of pinned requirements."""
    return sorted(file.stem for file in _REQUIREMENTS.glob("*.txt"))


def interpreter(peer: str) -> Path:
    """The Python of a peer's environment. Raises MissingEnvironmentError."""
    python = _ENVIRONMENTS / peer / "bin" / "python"
    if not python.exists():
        raise MissingEnvironmentError(peer)
    return python


def make(peer: str) -> None:
    """Make or bring up to date one environment, with the pip of the interpreter that runs this.

    Raises CalledProcessError when pip fails; what it says goes to this terminal.
    """
    where = _ENVIRONMENTS / peer
    venv.create(where, symlinks=True, with_pip=False)
    target = ["--python", str(where / "bin" / "python")]
    wanted = ["--requirement", str(_REQUIREMENTS / f"{peer}.txt")]
    quiet = ["-qq", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", *target, "install", *quiet, *wanted], cwd=ROOT, check=True)
