"""A workflow seen from outside: `WorkflowHandle`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Final, Protocol, TypeVar

from reinhardt_tasks.codec import ValueCodec
from reinhardt_tasks.contract import MAX_PAGE, TaskBackend
from reinhardt_tasks.errors import BackendTaskNotFoundError, TaskCancelledError, TaskError, TaskTimeoutError
from reinhardt_tasks.handle import Place, TaskHandle
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import ErrorRecord, Progress, Reason, Record, decode_envelope
from reinhardt_tasks.results import TaskOutput, TaskResult, failure_in
from reinhardt_tasks.retry import Seconds
from reinhardt_tasks.status import FALLEN, TaskStatus
from reinhardt_tasks.sync import blocking
from reinhardt_tasks.workflow.chain import ChainStatus
from reinhardt_tasks.workflow.culprits import reason_of
from reinhardt_tasks.workflow.expression import WHOLE, Expression, id_in
from reinhardt_tasks.workflow.fetching import Fetched, fetch
from reinhardt_tasks.workflow.laying import BUILT_IN_NAMES, GATHER
from reinhardt_tasks.workflow.reading import Node, Tree, read
from reinhardt_tasks.workflow.requeueing import put_back
from reinhardt_tasks.workflow.stopping import stop

R_co = TypeVar("R_co", covariant=True)
_BEGUN: Final = frozenset({TaskStatus.RUNNING, TaskStatus.RETRY, TaskStatus.SUCCESS, TaskStatus.FAILURE})
_AT: Final = frozenset({TaskStatus.RUNNING, TaskStatus.RETRY})
_UNKNOWN: Final = object()


class Home(Place, Protocol):
    """What a workflow's handle needs of the queue."""

    def returns_of(self, name: str) -> ValueCodec:
        """How results of the task called `name` are read."""


class WorkflowHandle(TaskHandle[R_co]):
    """A workflow by the `id` of the message that ends it; `R_co` is what the workflow comes to.

    `result` and `outcome` are the workflow's: where a step failed for good, they give that step's error, and its id.
    `status` is that of its last message; `progress` counts messages.
    """

    __slots__ = ("_home", "_known")

    def __init__(
        self, home: Home, id: TaskId, codec: ValueCodec, *, created: bool = False, known: Any = _UNKNOWN
    ) -> None:
        super().__init__(home, id, codec, created=created)
        self._home = home
        self._known = known

    def __repr__(self) -> str:
        return f"<WorkflowHandle {self.id}>"

    async def outcome(self, timeout: Seconds | None = None) -> TaskResult[R_co]:
        """How the workflow ended: a TaskOutput, or the error of the step that failed, or of what was cancelled."""
        if self._known is not _UNKNOWN:
            return TaskOutput(self.id, self._known)
        return await super().outcome(timeout)

    async def chain_status(self) -> ChainStatus:
        """How far the workflow is. At most two calls of the backend, whatever its size."""
        if self._known is not _UNKNOWN:
            return ChainStatus.COMPLETED
        record = await self._record()
        if record.status is TaskStatus.SUCCESS:
            return ChainStatus.COMPLETED
        if record.status in FALLEN:
            return ChainStatus.FAILED
        begun = record.status in _BEGUN or await (await self._home.backend()).find(
            workflow=self.id, statuses=_BEGUN, limit=1
        )
        return ChainStatus.RUNNING if begun else ChainStatus.PENDING

    async def progress(self) -> Progress | None:
        """How many messages have ended, of how many; the note names the tasks that run now, up to five."""
        done = total = 0
        at = 0.0
        running: dict[str, None] = {}
        async for record in _records(await self._home.backend(), self.id):
            total += 1
            done += record.status.finished
            at = max(at, record.updated_at)
            if record.status is TaskStatus.RUNNING:
                running[record.name] = None
        if not total:
            return await super().progress()
        return Progress(done, total, ", ".join(list(running)[:5]), at)

    async def current(self) -> list[Node]:
        """The steps that the workflow is at, by their `label`: those that run, or wait to be tried again."""
        nodes = (await self.tree()).nodes.values()
        return [node for node in nodes if node.status in _AT and not node.task.startswith(BUILT_IN_NAMES)]

    async def tree(self) -> Tree:
        """Every message of the workflow, with what it waits for and how it stands."""
        return await read(self._home, self.id)

    async def cancel(self) -> bool:
        """Cancel all that has not ended: at once what does not run, by an order to its worker what does.

        True when there was anything to cancel.
        """
        error = ErrorRecord("TaskCancelledError", "its workflow was cancelled by request", reason=Reason.CANCELLED)
        record = await self._record()
        if record.workflow != self.id:
            return await super().cancel()
        return bool(await stop(await self._home.backend(), self.id, error))

    async def requeue(self) -> int:
        """Put all that failed or was cancelled back in line, so that the workflow goes on; how many messages.

        What had succeeded does not run again. A step that is being told to end is not among them: wait for its end. The
        workflow has no time limit any more. Raises DuplicateTaskError when another message holds a step's unique key.
        """
        record, backend = await self._record(), await self._home.backend()
        if record.workflow == self.id:
            return await put_back(backend, self.id)
        return sum(await backend.requeue([self.id])) if record.status in FALLEN else 0

    # What became of it --------------------------------------------------------------------------------------------

    async def _value(self, record: Record) -> Any:
        if record.name != GATHER:
            return await super()._value(record)
        backend = await self._home.backend()
        whole = (await backend.get([self.id], body=True))[0]
        if whole is None or whole.body is None:
            raise BackendTaskNotFoundError(task_id=str(self.id))
        envelope = decode_envelope(self._home.seal.open(whole.body))
        fetched = await fetch(self._home, (envelope.w or {}).get(WHOLE, []))
        if self._codec.annotation is Any:
            return _decoded(fetched, fetched.expression, self._home.returns_of)
        raw = fetched.encoded(fetched.expression)
        return fetched.restored(fetched.expression, self._codec.for_size(len(raw)).decode(raw))

    async def _failure(self, record: Record) -> TaskError | None:
        """The error of the step that failed, where that is why the last one was cancelled."""
        failure, reason = failure_in(record), reason_of(record)
        if record.workflow == self.id and record.status is TaskStatus.CANCELLED and reason is not Reason.PARENT_FAILED:
            return _of_workflow(record)
        if failure is None or reason is not Reason.PARENT_FAILED:
            return failure
        culprit = await self._culprit()
        cause = None if culprit is None else failure_in(culprit)
        if culprit is None or cause is None or culprit.id == self.id:
            return failure
        cause.add_note(
            f"It is a step of workflow {culprit.workflow}, whose later steps were cancelled for it; requeue it, and "
            "the workflow goes on from there."
        )
        return cause

    async def _culprit(self) -> Record | None:
        """The message for whose sake this one was cancelled, as far as that can be told."""
        backend = await self._home.backend()
        gathering = await backend.find(workflow=self.id, task=GATHER, limit=2)
        if all(one.id == self.id for one in gathering):  # none that tolerates: whatever failed is why
            failed = await backend.find(workflow=self.id, statuses={TaskStatus.FAILURE}, limit=MAX_PAGE)
            if failed:
                return min(failed, key=lambda one: one.finished_at or 0.0)
        tree = await read(self._home, self.id)
        return (await backend.get([tree.culprits().get(self.id, tree.end).id]))[0]

    # Blocking -----------------------------------------------------------------------------------------------------

    def chain_status_sync(self) -> ChainStatus:
        """`chain_status` for code without an event loop."""
        return blocking(self.chain_status, instead="await handle.chain_status()")

    def current_sync(self) -> list[Node]:
        """`current` for code without an event loop."""
        return blocking(self.current, instead="await handle.current()")

    def requeue_sync(self) -> int:
        """`requeue` for code without an event loop."""
        return blocking(self.requeue, instead="await handle.requeue()")

    def tree_sync(self) -> Tree:
        """`tree` for code without an event loop."""
        return blocking(self.tree, instead="await handle.tree()")


def _decoded(fetched: Fetched, expression: Expression, returns_of: Callable[[str], ValueCodec]) -> Any:
    """The value of an expression, each result read as its own task declares it."""
    match expression:
        case bytes():
            id = id_in(expression)
            if id in fetched.errors:
                return fetched.errors[id]
            result = fetched.results[id]
            return None if result is None else returns_of(fetched.names[id]).decode(result)
        case list():
            return [_decoded(fetched, part, returns_of) for part in expression]
        case _:
            return {name: _decoded(fetched, part, returns_of) for name, part in expression.items()}


def _of_workflow(record: Record) -> TaskError:
    """The error of a workflow that was cancelled as a whole, by its end."""
    error = ErrorRecord.decode(record.error) if record.error else None
    hint = "Requeue it by handle.requeue(), or `reinhardt-tasks requeue` with its id, to let it go on."
    if error is not None and error.reason is Reason.TIMEOUT:
        return TaskTimeoutError(
            f"The workflow {record.id} {error.message.removeprefix('its workflow ')}. {hint}",
            task_id=str(record.id),
            name=record.name,
            error_type=error.type,
            error_message=error.message,
            reason=error.reason.value,
        )
    text = f"The workflow {record.id} was cancelled (requested). {hint}"
    return TaskCancelledError(text, task_id=str(record.id), name=record.name, reason="requested")


async def _records(backend: TaskBackend, workflow: TaskId) -> AsyncIterator[Record]:
    """The messages of a workflow, those that only hold it together left out."""
    before: TaskId | None = None
    while page := await backend.find(workflow=workflow, before=before, limit=MAX_PAGE):
        for record in page:
            if not record.name.startswith(BUILT_IN_NAMES):
                yield record
        before = page[-1].id
