"""One environment per peer, so that no peer's pins move another's: virtual environments, and Node packages."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
_ENVIRONMENTS = HERE / ".envs"
_REQUIREMENTS = HERE / "requirements"
LEAST_NODE = 20
_OWN_NODE = "node-linux-*/bin/node"  # where a peer that needs a newer Node than others has it, among its packages


class MissingEnvironmentError(Exception):
    """A peer has no environment yet."""

    def __init__(self, peer: str) -> None:
        super().__init__(peer)
        self.peer = peer

    def __str__(self) -> str:
        return f"{self.peer} has no environment yet; make it with: python -m benchmarks setup {self.peer}"


@dataclass(frozen=True, slots=True)
class Environment:
    """How a verb of a peer is run: this command with adapter, verb and arguments behind it, and these variables."""

    command: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)


def peers() -> list[str]:
    """Every peer with a file of pinned requirements."""
    return sorted(file.stem for kind in ("txt", "json") for file in _REQUIREMENTS.glob(f"*.{kind}"))


def environment(peer: str) -> Environment:
    """The environment of a peer. Raises MissingEnvironmentError."""
    if _packages_of(peer).exists():
        return _node_environment(peer)
    python = _ENVIRONMENTS / peer / "bin" / "python"
    if not python.exists():
        raise MissingEnvironmentError(peer)
    return Environment((str(python), "-m", "benchmarks.peer"), {"PYTHONPATH": str(ROOT)})


def _node_environment(peer: str) -> Environment:
    modules = _ENVIRONMENTS / peer / "node_modules"
    if not modules.exists():
        raise MissingEnvironmentError(peer)
    own = next(modules.glob(_OWN_NODE), None)
    return Environment((str(own or _node()), str(HERE / "peer.cjs")), {"NODE_PATH": str(modules)})


def make(peer: str) -> None:
    """Make or bring up to date one environment.

    Raises CalledProcessError when pip or npm fails; what it says goes to this terminal. Raises FileNotFoundError where
    Node is missing or too old.
    """
    if _packages_of(peer).exists():
        _make_node(peer)
    else:
        _make_python(peer)


def _make_python(peer: str) -> None:
    """With the pip of the interpreter that runs this."""
    where = _ENVIRONMENTS / peer
    venv.create(where, symlinks=True, with_pip=False)
    target = ["--python", str(where / "bin" / "python")]
    wanted = ["--requirement", str(_REQUIREMENTS / f"{peer}.txt")]
    quiet = ["-qq", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", *target, "install", *quiet, *wanted], cwd=ROOT, check=True)


def _make_node(peer: str) -> None:
    where = _ENVIRONMENTS / peer
    _node()
    where.mkdir(parents=True, exist_ok=True)
    shutil.copy(_packages_of(peer), where / "package.json")
    quiet = ["--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]
    subprocess.run(["npm", "install", *quiet], cwd=where, stdout=subprocess.DEVNULL, check=True)


def _packages_of(peer: str) -> Path:
    """The package.json of a peer that runs on Node."""
    return _REQUIREMENTS / f"{peer}.json"


def _node() -> str:
    """The Node on PATH. Raises FileNotFoundError where there is none that is new enough, or no npm beside it."""
    node = shutil.which("node")
    wanted = f"this peer needs Node {LEAST_NODE} or newer and npm on PATH"
    if node is None or shutil.which("npm") is None:
        raise FileNotFoundError(wanted)
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.lstrip("v").split(".")[0]) < LEAST_NODE:
        raise FileNotFoundError(f"{wanted}; {node} is {version}")
    return node
