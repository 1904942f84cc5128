"""A workflow is read back from its backend alone: who waits for whom, and how each message stands."""

from __future__ import annotations

import pytest

from reinhardt_tasks import BackendTaskNotFoundError, Message, TaskId, TaskQueue, TaskStatus
from reinhardt_tasks.message import Envelope, ErrorRecord, Outcome, Reason, encode_envelope
from reinhardt_tasks.workflow import read
from tests.work import Hands


def message(queue: TaskQueue, name: str, *, end: TaskId | None = None, id: TaskId | None = None, **wire) -> Message:
    """A message of a workflow as its envelope tells it."""
    own = id or TaskId.new()
    envelope = Envelope(bytes(own), name, "default", b"\x80", **wire)
    parents = [TaskId(raw) for raw in [*(wire.get("w") or {}).values(), *(wire.get("o") or [])]]
    body = queue.seal.close(encode_envelope(envelope))
    return Message(id=own, name=name, body=body, waits_on=tuple(parents), workflow=end)


async def test_a_workflow_is_read_from_the_id_of_any_of_its_messages() -> None:
    """Parents are those whose results are taken and those that are only waited for; names come from the envelopes."""
    queue = TaskQueue("memory://")
    end = TaskId.new()
    first = message(queue, "app.fetch", end=end)
    second = message(queue, "app.log", end=end)
    last = message(
        queue, "app.resize", end=end, id=end, w={"image": bytes(first.id)}, o=[bytes(second.id)], s="small", f="album"
    )
    backend = await queue.backend()
    await backend.put([first, second, last])
    for id in (first.id, end):
        tree = await read(queue, id)
        assert (tree.id, tree.name, set(tree.nodes)) == (end, "album", {first.id, second.id, end})
        assert (tree.end.label, tree.end.task, tree.end.parents) == ("small", "app.resize", (first.id, second.id))
        assert (tree.nodes[first.id].label, tree.nodes[first.id].parents) == ("app.fetch", ())
        assert tree.end.waiting_on == 2


async def test_a_node_tells_why_it_ended() -> None:
    """What failed has its own error, what was cancelled for its sake says so."""
    queue = TaskQueue("memory://")
    end = TaskId.new()
    first = message(queue, "app.fetch", end=end)
    backend = await queue.backend()
    await backend.put([first, message(queue, "app.resize", end=end, id=end, o=[bytes(first.id)])])
    hands = Hands(backend)
    error = ErrorRecord("ValueError", "no such image", reason=Reason.RETRIES_SPENT)
    await hands.settle(Outcome.failure(await hands.take(), error))
    tree = await read(queue, end)
    failed = tree.nodes[first.id]
    assert (failed.status, failed.reason, failed.error) == (
        TaskStatus.FAILURE, Reason.RETRIES_SPENT, "no such image",
    )  # fmt: skip
    assert (tree.end.status, tree.end.reason) == (TaskStatus.CANCELLED, Reason.PARENT_FAILED)


async def test_a_message_of_no_workflow_is_a_tree_of_one() -> None:
    """An unknown id is an error."""
    queue = TaskQueue("memory://")
    alone = message(queue, "app.fetch")
    await (await queue.backend()).put([alone])
    tree = await read(queue, alone.id)
    assert list(tree.nodes) == [tree.id] == [alone.id]
    with pytest.raises(BackendTaskNotFoundError):
        await read(queue, TaskId.new())


async def test_a_workflow_of_many_pages_is_read_whole() -> None:
    """However many messages there are."""
    queue = TaskQueue("memory://")
    end = TaskId.new()
    backend = await queue.backend()
    members = [message(queue, "app.fetch", end=end) for _ in range(450)]
    await backend.put(members)
    await backend.put([message(queue, "app.sum", end=end, id=end, o=[bytes(one.id) for one in members])])
    tree = await read(queue, end)
    assert len(tree.nodes) == 451
    assert len(tree.end.parents) == 450


async def test_what_cannot_be_opened_is_told_all_the_same() -> None:
    """Without the keys its name and status are known, its parents are not."""
    queue = TaskQueue("memory://")
    stray = TaskId.new()
    await (await queue.backend()).put([Message(id=stray, name="app.fetch", body=b"\xc1\x01")])
    end = (await read(queue, stray)).end
    assert (end.label, end.readable, end.parents) == ("app.fetch", False, ())
