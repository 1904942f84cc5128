"""Another process on an SQLite file: `python sqlite_peer.py COMMAND PATH …`. Each command says what it prints."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from reinhardt_tasks.backends.sqlite import SqliteBackend, forking
from reinhardt_tasks.errors import BackendError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import AnyMessage, Beat, Message, Outcome


def say(*words: object) -> None:
    """One line, at once."""
    print(*words, flush=True)  # noqa: T201 - the test reads it


def message(body: bytes = b"body") -> AnyMessage:
    """A fresh message."""
    return Message(id=TaskId.new(), name="task", body=body)


async def put_for_ever(path: str, durability: str) -> None:
    """The id of each message once it is stored, until killed."""
    async with SqliteBackend(path, durability=durability) as backend:
        while True:
            say((await backend.enqueue(message())).id)


async def put_many(path: str, count: str) -> None:
    """The ids of `count` messages, put ten at a time."""
    async with SqliteBackend(path, durability="off") as backend:
        for _ in range(int(count) // 10):
            for put in await backend.put([message() for _ in range(10)]):
                say(put.id)


async def work_off(path: str, worker: str, count: str) -> None:
    """The id of each message it is given and finishes, until no message of `count` is unfinished."""
    async with SqliteBackend(path, durability="off") as backend:
        await backend.beat(Beat(worker=worker, number=1, lease=300.0))
        outcomes: list[Outcome] = []
        sequence = 0
        while True:
            sequence += 1
            answer = await backend.exchange(worker, outcomes, want=7, queues=None, sequence=sequence)
            for claim in answer.claims:
                say(claim.id)
            outcomes = [Outcome.success(claim, b"r") for claim in answer.claims]
            if not outcomes:
                counts = await backend.counts()
                if counts and counts[0].by_status.get("success", 0) == int(count):  # type: ignore[call-overload]
                    return
                await backend.wait(worker, None, 0.5)


async def wait_and_finish(path: str) -> None:
    """ready, then the id of the message that woke it, which it finishes."""
    async with SqliteBackend(path) as backend:
        await backend.beat(Beat(worker="peer", number=1, lease=300.0))
        await backend.exchange("peer", (), want=1, queues=None, sequence=1)
        say("ready")
        woken = await backend.wait("peer", None, 60.0)
        (claim,) = (await backend.exchange("peer", (), want=1, queues=None, sequence=2)).claims
        await backend.exchange("peer", (Outcome.success(claim, b"r"),), want=0, queues=(), sequence=3)
        say(woken, claim.id)


async def fork(path: str) -> None:
    """What parent and child of a fork could do: each one line, the child's first."""
    backend = SqliteBackend(path)
    await backend.open()
    await backend.put([message()])
    await backend.counts()  # the reader is open too
    await backend.wait("w", None, 0.01)  # and the watcher
    child = os.fork()
    if child == 0:
        _in_child(backend)
    os.waitpid(child, 0)  # noqa: ASYNC222 - the child is what this process is about
    await backend.put([message(), message()])
    say("parent", (await backend.counts())[0].ready, (await backend.check())["integrity"])
    await backend.close()


def _in_child(backend: SqliteBackend) -> None:
    async def act() -> None:
        try:
            await backend.counts()
        except BackendError as error:
            refused = "not open in this process" in str(error)
        await backend.open()
        await backend.put([message()])
        say("child", refused, (await backend.counts())[0].ready)
        await backend.close()

    asyncio.set_event_loop_policy(None)
    asyncio._set_running_loop(None)  # noqa: SLF001 - the parent's loop runs in the parent only
    asyncio.run(act())
    os._exit(0)


async def fork_while_busy(path: str) -> None:
    """What becomes of a child that is forked in the middle of a step: refused, with what to do."""
    backend = SqliteBackend(path)
    await backend.open()
    forking._PATIENCE = 0.05  # type: ignore[misc]  # noqa: SLF001
    engine = backend._engine  # noqa: SLF001
    assert engine is not None
    with engine.gates[0]:
        child = os.fork()
    if child == 0:
        asyncio._set_running_loop(None)  # noqa: SLF001
        try:
            asyncio.run(SqliteBackend(path).open())
        except BackendError as error:
            say("child", error)
        os._exit(0)
    os.waitpid(child, 0)  # noqa: ASYNC222
    await backend.put([message()])
    say("parent", (await backend.counts())[0].ready)
    await backend.close()


async def leave_open(path: str) -> None:
    """Nothing: it ends with the backend open and calls under way."""
    backend = SqliteBackend(path)
    await backend.open()
    await backend.enqueue(message())
    loop = asyncio.get_running_loop()
    _calls.extend(loop.create_task(backend.enqueue(message())) for _ in range(20))
    _calls.append(loop.create_task(backend.wait("w", None, 60.0)))
    await asyncio.sleep(0)


_calls: list[Any] = []


def abandon(path: str) -> None:
    """Nothing: its loop is closed under calls that are under way, and the interpreter ends."""
    loop = asyncio.new_event_loop()
    backend = SqliteBackend(path)
    loop.run_until_complete(backend.open())
    _calls.append(backend)
    engine = backend._engine  # noqa: SLF001
    assert engine is not None

    async def ask() -> None:
        calls = [backend.enqueue(message()), backend.counts(), backend.wait_result(TaskId.new(), 60.0)]
        for call in calls:
            call.send(None)  # handed to the threads, and never awaited again
        _calls.extend(calls)

    loop.run_until_complete(ask())
    loop.close()


COMMANDS: dict[str, Callable[..., Awaitable[None]]] = {
    command.__name__: command
    for command in (put_for_ever, put_many, work_off, wait_and_finish, fork, fork_while_busy, leave_open)
}

if __name__ == "__main__":
    name, *arguments = sys.argv[1:]
    if name == "abandon":
        abandon(*arguments)
    else:
        asyncio.run(COMMANDS[name](*arguments))  # type: ignore[arg-type]
