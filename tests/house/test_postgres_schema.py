"""What databases hold by now is not changed under its number: tables and functions are told apart by their versions."""

from __future__ import annotations

import hashlib
from importlib import resources

from reinhardt_tasks.backends.postgres.statements import Names, functions, migrations

NAMES = Names("public", "reinhardt_")
FILE = resources.files("reinhardt_tasks.backends.postgres") / "migrations" / "digests.txt"
ADVICE = """
A database that was migrated once runs no migration again, and gets new functions only with a new one. So, after a
change of tables, functions, or numbers in layout.py, add a migration with the next number (a comment alone will do for
functions) and its line to digests.txt. While the newest version was never released, its line may be replaced instead:
{line}
"""


def digest(text: str) -> str:
    """What stands for a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def noted() -> list[list[str]]:
    """The lines of the file: version, digest of its migration, digest of the functions that came with it."""
    return [line.split() for line in FILE.read_text().splitlines() if not line.startswith("#")]


def test_each_migration_is_the_one_that_was_noted() -> None:
    """Nobody would run a changed one again."""
    found = [[str(number), digest(text)] for number, text in migrations(NAMES)]
    newest = f"{found[-1][0]} {found[-1][1]} {digest(functions(NAMES))}"
    assert [line[:2] for line in noted()] == found, ADVICE.format(line=newest)


def test_functions_change_with_the_version_only() -> None:
    """A database that has them keeps those it has until a migration brings others."""
    number, text = migrations(NAMES)[-1]
    functions_now = digest(functions(NAMES))
    assert noted()[-1][2] == functions_now, ADVICE.format(line=f"{number} {digest(text)} {functions_now}")
