"""Messages are noted and said to have succeeded, and nothing runs: for tests that look at what was enqueued."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from typing import ClassVar

import msgspec

from reinhardt_tasks.backends.inline import InlineBackend
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import AnyMessage, Claim, Guard, Outcome, Put, Record
from reinhardt_tasks.status import TaskStatus


class DummyBackend(InlineBackend):
    """Runs nothing and says SUCCESS. `messages` holds what was stored, in order, for all siblings.

    Results are None, unless `set_result` gave one. Everything else is as in InlineBackend.
    """

    name: ClassVar[str] = "dummy"

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(clock=clock)
        self.messages: list[AnyMessage] = []
        self._results: dict[TaskId | str, bytes] = {}

    def set_result(self, of: TaskId | str, result: bytes) -> None:
        """Let the messages of a task (its name) or one message (its id) have this result, sealed as a worker would.

        It may be set before or after the message is put; that of the id counts before that of the name.
        """
        self._results[of] = result

    async def put(
        self, messages: Sequence[AnyMessage], *, guard: Guard | None = None, connection: object = None
    ) -> list[Put]:
        """See TaskBackend.put. Notes the messages that are new."""
        puts = await super().put(messages, guard=guard, connection=connection)
        self.messages += [message for message, put in zip(messages, puts, strict=True) if put.created]
        return puts

    async def get(self, ids: Sequence[TaskId], *, body: bool = False) -> list[Record | None]:
        """See TaskBackend.get."""
        return [record and self._with_result(record) for record in await super().get(ids, body=body)]

    async def find(
        self,
        *,
        statuses: Collection[TaskStatus] = (),
        queue: str | None = None,
        task: str | None = None,
        workflow: TaskId | None = None,
        before: TaskId | None = None,
        limit: int = 50,
    ) -> list[Record]:
        """See TaskBackend.find."""
        found = await super().find(
            statuses=statuses, queue=queue, task=task, workflow=workflow, before=before, limit=limit
        )
        return [self._with_result(record) for record in found]

    async def wait_result(self, task_id: TaskId, timeout: float | None) -> Record | None:
        """See TaskBackend.wait_result."""
        record = await super().wait_result(task_id, timeout)
        return record and self._with_result(record)

    def _with_result(self, record: Record) -> Record:
        if record.status is not TaskStatus.SUCCESS or record.expired:
            return record
        result = self._results.get(record.id, self._results.get(record.name))
        return msgspec.structs.replace(record, result=result)

    async def _run(self, claim: Claim) -> Outcome:
        return Outcome.success(claim, b"")

    def _check_ready(self) -> None:
        """Nothing is needed to run nothing."""
