"""The command line, `reinhardt-tasks`: run workers, enqueue, look at messages and operate on them."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the program with the process's own arguments, and exit with its code."""
    from reinhardt_tasks.cli.application import run  # noqa: PLC0415 - the parts can be imported without the whole

    sys.exit(run(sys.argv[1:]))
