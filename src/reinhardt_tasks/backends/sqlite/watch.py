"""What a coroutine can wait for, and how a glance at the database tells whether it has come."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Final

import apsw
import msgspec

from reinhardt_tasks.backends.sqlite import read
from reinhardt_tasks.backends.sqlite.claims import Heard
from reinhardt_tasks.backends.sqlite.lane import Answer
from reinhardt_tasks.backends.sqlite.statements import statements
from reinhardt_tasks.contract import SUSPECT_PATIENCE
from reinhardt_tasks.errors import BackendError, BackendTaskNotFoundError
from reinhardt_tasks.identity import TaskId

_SQL = statements("watch")
_COUNTERS: Final = _SQL["counters"]


class Glance:
    """What the database says now, read at most once for all who wait."""

    def __init__(self, connection: apsw.Connection, now: float) -> None:
        self._connection = connection
        self.now = now
        self.mark, self.schedules = self.rows(_COUNTERS)[0]

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """All rows of an answer."""
        return self._connection.execute(sql, values).fetchall()

    def next_moment(self) -> float | None:
        """When the next message falls due or a worker is to be emptied, by the store's clock."""
        moment: float | None = self.rows(_SQL["next_moment"], self.now, SUSPECT_PATIENCE)[0][0]
        return moment

    def ended(self, watches: Sequence[EndWatch]) -> list[Answer]:
        """The answers to those whose message has finished or is gone."""
        numbers = {watch.no for watch in watches}
        over = [no for (no,) in self.rows(_SQL["over"], _as_list(numbers))] if numbers else []
        records = read.by_number(self._connection, over) if over else {}
        gone = set(over) - records.keys()
        answers = [Answer(watch.future, records[watch.no]) for watch in watches if watch.no in records]
        return answers + [
            Answer(watch.future, error=BackendTaskNotFoundError(task_id=str(watch.task_id)))
            for watch in watches
            if watch.no in gone
        ]


def _as_list(numbers: set[int]) -> str:
    return msgspec.json.encode(numbers).decode()


class Watch(ABC):
    """One coroutine that waits. `future` is answered by the watcher's thread; once it is done nobody waits."""

    on_work: ClassVar[bool] = True
    """Whether it waits for what rings the bell of the database file; otherwise for that of its log."""

    def __init__(self, otherwise: object) -> None:
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.otherwise = otherwise
        """The answer when nothing came in time."""

    @abstractmethod
    def look(self, glance: Glance) -> Answer | None:
        """The answer, if there is one by now."""

    def at_failure(self, error: BaseException) -> Answer:
        """The answer when the database cannot be looked at."""
        return Answer(self.future, error=error)

    def at_close(self) -> Answer:
        """The answer when the backend is closed meanwhile."""
        return Answer(self.future, self.otherwise)


class WorkWatch(Watch):
    """Waits for something to claim or an order, as TaskBackend.wait does."""

    def __init__(self, worker: str, queues: Sequence[str] | None, heard: Heard) -> None:
        super().__init__(otherwise=False)
        self._worker = worker
        self._queues = queues
        self._mark = heard.mark
        self._orders = heard.orders

    def look(self, glance: Glance) -> Answer | None:
        """True when something happened since the last exchange and something is there for this worker."""
        if glance.mark == self._mark:
            return None
        self._mark = glance.mark
        return Answer(self.future, value=True) if self._is_called(glance) or self._may_claim(glance) else None

    def at_failure(self, error: BaseException) -> Answer:
        """True: the exchange that follows meets the failure itself."""
        return Answer(self.future, value=True)

    def _is_called(self, glance: Glance) -> bool:
        """Whether it has an order it has not heard, or is to hear that it is no longer registered."""
        orders = glance.rows(_SQL["orders"], self._worker)
        return orders[0][0] != self._orders if orders else self._orders >= 0

    def _may_claim(self, glance: Glance) -> bool:
        if self._queues is None:
            return bool(glance.rows(_SQL["ready_queues"]))
        return any(glance.rows(_SQL["ready_in"], queue) for queue in self._queues)


class ScheduleWatch(Watch):
    """Waits for the counter of schedules to differ from `seen`."""

    def __init__(self, seen: int) -> None:
        super().__init__(otherwise=seen)
        self._seen = seen

    def look(self, glance: Glance) -> Answer | None:
        """The counter, when it differs."""
        return None if glance.schedules == self._seen else Answer(self.future, glance.schedules)


class EndWatch(Watch):
    """Waits for the record of a finished message. `no` is its row number, known after the first look."""

    on_work = False

    def __init__(self, task_id: TaskId) -> None:
        super().__init__(otherwise=None)
        self.task_id = task_id
        self.no = 0

    def look(self, glance: Glance) -> Answer | None:
        """An error for an unknown id; a record is looked for by `Glance.ended`, for all who wait at once."""
        if not self.no:
            found = glance.rows(_SQL["number_of"], self.task_id)
            if not found:
                return Answer(self.future, error=BackendTaskNotFoundError(task_id=str(self.task_id)))
            self.no = found[0][0]
        return None

    def at_close(self) -> Answer:
        """An error: there is no telling how the message ends."""
        text = f"the backend was closed while message {self.task_id} was waited for"
        return Answer(self.future, error=BackendError(text, backend="sqlite"))
