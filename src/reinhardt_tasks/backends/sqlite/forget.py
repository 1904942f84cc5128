"""Deleting messages wholly: row, envelope, unique key and edges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from reinhardt_tasks.backends.sqlite import endings
from reinhardt_tasks.backends.sqlite.statements import statements
from reinhardt_tasks.backends.sqlite.store import Store, as_list

_SQL = statements("forget")
_STEPS: Final = ("forget_keys", "forget_messages", "forget_bodies", "forget_own_edges")


def forget(store: Store, numbers: Sequence[int]) -> None:
    """Delete messages by row number. Dependents that are still to be cancelled for their sake will be."""
    if not numbers:
        return
    store.keep_numbers()
    for step in _STEPS:
        store.run(_SQL[step], as_list(numbers))
    endings.forget_edges(store, numbers)
    store.ends = True  # who waits for their results learns that there will be none
