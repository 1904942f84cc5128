"""A workflow is shown in a shell: as a tree, as a picture and as JSON."""

from __future__ import annotations

import asyncio
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from reinhardt_tasks import Message, QueueConfig, TaskChainBuilder, TaskDAG, TaskGroup, TaskId, TaskQueue
from reinhardt_tasks.message import Envelope, encode_envelope
from tests.integration.shell import URL, Shell

STORE = "sqlite:///tasks.db"


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    """Commands on an application with an empty queue."""
    return Shell(tmp_path, monkeypatch, capsys)


class Album:
    """A workflow called `album`, message by message: tasks of the shell's application, with labels of their own."""

    def __init__(self) -> None:
        self.end = TaskId.new()
        self._messages: list[Message] = []

    def add(self, task: str, *parents: TaskId, label: str | None = None, last: bool = False, queue: str = "") -> TaskId:
        """One message that waits for `parents`; the `last` ends the workflow."""
        own = self.end if last else TaskId.new()
        wire = Envelope(
            bytes(own),
            f"app.{task}",
            queue or "default",
            b"\x81\xa4text\xa1x",
            s=label,
            f="album" if last else None,
            o=[bytes(parent) for parent in parents] or None,
        )
        self._messages.append(
            Message(
                id=own,
                name=wire.n,
                queue=wire.q,
                body=encode_envelope(wire),
                waits_on=parents,
                workflow=self.end,
            )
        )
        return own

    def put(self, **config: object) -> str:
        """Store it; its id."""
        asyncio.run(self._put(TaskQueue(STORE, QueueConfig(**config))))
        return str(self.end)

    async def _put(self, queue: TaskQueue) -> None:
        async with queue:
            backend = await queue.backend()
            for start in range(0, len(self._messages), 500):
                page = self._messages[start : start + 500]
                await backend.put([sealed(message, queue) for message in page])


def sealed(message: Message, queue: TaskQueue) -> Message:
    """The message as the queue's keys close it."""
    fields = {name: getattr(message, name) for name in message.__struct_fields__}
    return Message(**{**fields, "body": queue.seal.close(message.body)})


def failing_album() -> str:
    """Two of three middle steps succeed, in another queue, one fails."""
    album = Album()
    first = album.add("secret", label="fetch")
    middle = [album.add(task, first, queue="slow") for task in ("secret", "secret", "fail")]
    album.add("secret", *middle, last=True)
    return album.put()


def test_a_workflow_is_shown_as_a_tree(cli: Shell) -> None:
    """Before it began and after it failed; with what to do about it. Members of a group have their places."""
    id = failing_album()
    assert cli("workflow", "show", id, *URL).out.splitlines() == [
        f"album {id}: 5 pending",
        "○ fetch            pending    app.secret",
        "├─○ app.secret[0]  pending    queue slow",
        "├─○ app.secret[1]  pending    queue slow",
        "├─○ app.fail       pending    queue slow",
        "○ app.secret       pending",
    ]
    cli.work()
    ended = cli("workflow", "show", id, *URL)
    assert [line.split("  ")[0] for line in ended.out.splitlines()] == [
        f"album {id}: 3 success, 1 failure, 1 cancelled",
        "✓ fetch",
        "├─✓ app.secret[0]",
        "├─✓ app.secret[1]",
        "├─✗ app.fail",
        "⊘ app.secret",
    ]
    assert "failure    x · 1 failed run" in ended.out
    assert "cancelled  app.fail failed" in ended.out
    (failed,) = cli("list", "--dead", *URL, "--json").document["messages"]
    assert ended.err.endswith(f"the workflow goes on from there after: reinhardt-tasks requeue {failed['id']}\n")


def test_json_tells_all_of_it(cli: Shell) -> None:
    """Also by the id of a step in the middle."""
    id = failing_album()
    cli.work()
    found = cli("workflow", "show", id, *URL, "--json").document
    assert (found["id"], found["name"], len(found["steps"])) == (id, "album", 5)
    last = next(step for step in found["steps"] if step["id"] == id)
    failed = next(step for step in found["steps"] if step["task"] == "app.fail")
    assert set(last["parents"]) == {step["id"] for step in found["steps"] if step["queue"] == "slow"}
    assert (last["status"], last["reason"]) == ("cancelled", "parent_failed")
    assert (failed["status"], failed["reason"], failed["error"]) == ("failure", "failed", "x")
    assert cli("workflow", "show", failed["id"], "--target", "app:queue", "--json").document == found


def test_a_picture_is_written_to_a_file(cli: Shell) -> None:
    """An SVG with a box for each step."""
    ended = cli("workflow", "show", failing_album(), *URL, "--svg", "album.svg")
    assert (ended.code, ended.out, ended.err) == (0, "", "5 steps drawn in album.svg\n")
    root = ET.parse("album.svg").getroot()  # noqa: S314 - our own file
    labels = [one.text for one in root.iter("{http://www.w3.org/2000/svg}text") if one.get("class") == "label"]
    assert sorted(filter(None, labels)) == ["app.fail", "app.secret", "app.secret[0]", "app.secret[1]", "fetch"]


def test_a_file_that_cannot_be_written_is_an_error_with_a_way_out(cli: Shell) -> None:
    """No such directory."""
    ended = cli("workflow", "show", failing_album(), *URL, "--svg", "nowhere/album.svg")
    assert ended.code == 1
    assert ended.err == (
        "error: nowhere/album.svg cannot be written: No such file or directory; "
        "name a file in a directory that you may write to.\n"
    )


def test_a_message_of_no_workflow_is_one_step(cli: Shell) -> None:
    """And an id that is not known, or none, says so."""
    alone = cli.enqueue("secret", '"x"')
    assert cli("workflow", "show", alone, *URL).out.splitlines() == [
        f"app.secret {alone}: 1 pending",
        "○ app.secret  pending",
    ]
    unknown = cli("workflow", "show", str(TaskId.new()), *URL)
    assert (unknown.code, "holds no message" in unknown.err) == (1, True)
    assert cli("workflow", "show", "album", *URL).code == 2


def test_a_wide_workflow_is_folded_unless_all_of_it_is_asked_for(cli: Shell) -> None:
    """A group of 600 between two steps."""
    album = Album()
    first = album.add("secret")
    album.add("secret", *[album.add("secret", first) for _ in range(600)], last=True)
    id = album.put()
    assert len(cli("workflow", "show", id, *URL).out.splitlines()) == 13
    assert "├─… 591 more" in cli("workflow", "show", id, *URL).out
    whole = cli("workflow", "show", id, *URL, "--all").out.splitlines()
    assert len(whole) == 603
    assert whole[601].startswith("├─○ app.secret[599]")


def test_what_cannot_be_read_here_is_told_without_its_edges(cli: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Encrypted messages, without the key and with it."""
    key = "a key of the tests"
    album = Album()
    album.add("secret", album.add("secret", label="fetch"), last=True)
    id = album.put(encryption_keys=[key])
    told = cli("workflow", "show", id, *URL)
    assert "2 messages cannot be read here" in told.err
    assert "REINHARDT_TASKS_ENCRYPTION_KEYS" in told.err
    assert [step["parents"] for step in cli("workflow", "show", id, *URL, "--json").document["steps"]] == [None, None]
    monkeypatch.setenv("REINHARDT_TASKS_ENCRYPTION_KEYS", key)
    assert "fetch" in cli("workflow", "show", id, *URL).out


def test_what_is_read_is_what_was_enqueued(cli: Shell) -> None:
    """A chain inside a graph with a time limit: steps of one node are told apart, and the timer is no step."""
    assert cli("counts", "--target", "app:queue").code == 0  # imports the application
    app: Any = sys.modules["app"]
    inner = TaskChainBuilder("inner").add(app.secret.message("a")).add(TaskGroup([app.secret.step(), app.fail.step()]))
    graph = TaskDAG("nightly", timeout=60)
    graph.add("first", app.secret, kwargs={"text": "x"})
    graph.add("album", inner.build(), after=["first"])
    id = str(app.queue.enqueue_sync(graph).id)
    assert [line.split("  ")[0] for line in cli("workflow", "show", id, *URL).out.splitlines()] == [
        f"nightly {id}: 5 pending",
        "○ first",
        "○ album: secret",
        "├─○ album: secret",
        "├─○ album: fail",
        "○ gather",
    ]
    assert len(cli("workflow", "show", id, *URL, "--json").document["steps"]) == 6
