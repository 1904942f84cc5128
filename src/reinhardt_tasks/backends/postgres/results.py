"""Results in a PostgreSQL database: each verb is one statement."""

from __future__ import annotations

from typing import Any, ClassVar, Self, Unpack

from reinhardt_tasks.backends.postgres import bell, place
from reinhardt_tasks.backends.postgres.faults import NAME
from reinhardt_tasks.backends.postgres.ondatabase import OnDatabase
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.stores import ResultBackend, ResultOptions


class Options(place.Options, ResultOptions, total=False):
    """What a PostgresResultBackend takes by keyword."""


class PostgresResultBackend(OnDatabase, ResultBackend):
    """Results in the database that `url` names, for all machines that reach it; it may be that of a queue.

    URL, `table_prefix` and what else concerns the database are those of a PostgresBackend; see ResultOptions for the
    rest.
    """

    name: ClassVar[str] = NAME

    def __init__(self, url: str, **options: Unpack[Options]) -> None:
        given: Any = dict(options)
        own: Any = {name: given.pop(name) for name in ResultOptions.__annotations__ if name in given}
        ResultBackend.__init__(self, **own)
        OnDatabase.__init__(self, url, given)

    async def open(self) -> None:
        """See Store.open. Creates the tables, or brings them up to this version, where that is needed."""
        await self._open_database()

    async def close(self) -> None:
        """See Store.close. What was asked for before is finished first."""
        await self._close_database()

    def sibling(self) -> Self:
        """See Store.sibling."""
        return self._unopened()

    async def put(self, task_id: TaskId, raw: bytes, ttl: float) -> None:
        """See ResultBackend.put. Also forgets some of what is over."""
        engine = self._open_engine
        await engine.call("result_put", [task_id.uuid, raw, float(ttl)])
        engine.ringer.ring([bell.result(task_id)])

    async def read(self, task_id: TaskId) -> bytes | None:
        """See ResultBackend.read."""
        rows = await self._open_engine.read("result_read", [task_id.uuid])
        return rows[0][0] if rows else None

    async def remove(self, task_id: TaskId) -> bool:
        """See ResultBackend.remove."""
        ((there,),) = await self._open_engine.call("result_remove", [task_id.uuid])
        return bool(there)

    async def watch(self, task_id: TaskId, timeout: float | None) -> bytes | None:
        """See ResultBackend.watch."""
        return await self._told(bell.result(task_id), lambda: self.read(task_id), timeout)
