"""A machine with next to nothing on it, for tests of the scripts that `make` calls."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOOLS = ("bash", "cat", "chmod", "cksum", "cp", "dirname", "env", "flock", "mkdir", "mv", "rm", "touch", "true")


class Bare:
    """A checkout of some files, with nothing on PATH but a few commands, to which a test adds its own.

    Its user is not root.
    """

    def __init__(self, directory: Path, *files: str) -> None:
        self.directory = directory
        self.bin = directory / "bin"
        self.log = directory / "log"
        for name in ("scripts", "bin"):
            (directory / name).mkdir()
        for name in ("scripts/apt.sh", *files):
            shutil.copy(ROOT / name, directory / name)
        for path in filter(None, map(shutil.which, TOOLS)):
            (self.bin / Path(path).name).symlink_to(path)
        self.command("id", "echo 1000")

    def command(self, name: str, body: str) -> None:
        """Put a command on PATH."""
        (self.bin / name).write_text(body if body.startswith("#!") else f"#!/usr/bin/env bash\n{body}\n")
        (self.bin / name).chmod(0o755)

    def run(self, script: str, **settings: str) -> tuple[int, str]:
        """Run a script; its exit code and what it said. `$BARE` is this checkout, for the commands of a test."""
        ended = subprocess.run(
            [self.bin / "bash", script],
            cwd=self.directory,
            env={"PATH": str(self.bin), "BARE": str(self.directory)} | settings,
            capture_output=True,
            text=True,
            check=False,
        )
        return ended.returncode, ended.stderr
