"""`watch`: queues, workers and running messages, read anew every second; a picture at a terminal, lines elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import json as jsonlib
import os
import sys
import termios
import time
import tty
from collections.abc import AsyncGenerator, Iterator, Mapping
from typing import Annotated

import msgspec
import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from reinhardt_tasks.cli.documents import queue_document, worker_document
from reinhardt_tasks.cli.failures import FAILED, sentence
from reinhardt_tasks.cli.options import Json, Target, Url
from reinhardt_tasks.cli.place import Place, find_place
from reinhardt_tasks.cli.screen import console, print_error
from reinhardt_tasks.cli.tables import queue_table, running_table, worker_table
from reinhardt_tasks.cli.text import duration, moment, visible
from reinhardt_tasks.contract import TaskBackend
from reinhardt_tasks.errors import BackendError
from reinhardt_tasks.message import QueueCounts, Record, WorkerRecord
from reinhardt_tasks.status import FINISHED, TaskStatus

_RUNNING_SHOWN = 10


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """What there was to see at one moment. `rates`: messages that ended per second since the last one, by queue."""

    at: float
    queues: list[QueueCounts]
    workers: list[WorkerRecord]
    running: list[Record]
    rates: Mapping[str, float] = {}
    trouble: str = ""


def watch(
    *,
    every: Annotated[float, typer.Option(metavar="SECONDS", min=0.1, max=86_400, help="Time between two looks.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Look once, print, and end.")] = False,
    target: Target = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Watch queues and workers live; q or Ctrl-C ends it.

    Where no terminal is, it prints lines; with --json, one document a line.
    """
    place = find_place(target, url)
    live = sys.stdout.isatty() and not (once or json)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_watch_live(place, every) if live else _print_frames(place, every, once=once, json=json))


async def _print_frames(place: Place, every: float, *, once: bool, json: bool) -> None:
    async with contextlib.aclosing(frames(place, every)) as seen:
        async for frame in seen:
            if frame.trouble:
                print_error(frame.trouble)
            elif json:
                print(jsonlib.dumps(frame_document(frame)), flush=True)  # noqa: T201 - the command's result
            else:
                print("\n".join(frame_lines(frame)), flush=True)  # noqa: T201 - the command's result
            if once:
                raise typer.Exit(FAILED if frame.trouble else 0)


async def _watch_live(place: Place, every: float) -> None:
    screen = console()
    with keys_at_once(), Live(console=screen, screen=True, auto_refresh=False) as picture:
        ended = asyncio.create_task(_until_q())
        async for frame in frames(place, every, ended):
            picture.update(frame_picture(frame, place.url, width=screen.width), refresh=True)


async def frames(place: Place, every: float, ended: asyncio.Task[None] | None = None) -> AsyncGenerator[Frame, None]:
    """A frame now and after each `every` seconds, until `ended`. What goes wrong at the backend becomes a frame too."""
    last: Frame | None = None
    async with place.connect() as backend:
        while ended is None or not ended.done():
            try:
                last = await read_frame(backend, last)
            except BackendError as error:
                last = msgspec.structs.replace(last or _nothing(), trouble=sentence(error))
            yield last
            if ended is None:
                await asyncio.sleep(every)
            else:
                await asyncio.wait([ended], timeout=every)


def _nothing() -> Frame:
    return Frame(at=time.time(), queues=[], workers=[], running=[])


async def read_frame(backend: TaskBackend, last: Frame | None = None) -> Frame:
    """What there is to see now."""
    queues, workers = await backend.counts(), await backend.workers()
    running = await backend.find(statuses={TaskStatus.RUNNING}, limit=_RUNNING_SHOWN)
    frame = Frame(at=time.time(), queues=queues, workers=workers, running=running)
    return msgspec.structs.replace(frame, rates=rates(last, frame)) if last else frame


def rates(last: Frame, now: Frame) -> dict[str, float]:
    """Messages ended per second, by queue; a queue that was forgotten or purged meanwhile has none."""
    passed = max(now.at - last.at, 1e-9)
    before = {counts.queue: _ended(counts) for counts in last.queues}
    return {
        counts.queue: max(0, _ended(counts) - before.get(counts.queue, _ended(counts))) / passed
        for counts in now.queues
    }


def _ended(counts: QueueCounts) -> int:
    return sum(counts.by_status.get(status, 0) for status in FINISHED)


def frame_picture(frame: Frame, url: str, *, width: int = 200) -> RenderableType:
    """The frame for a terminal of `width` columns."""
    head = Text.assemble(("reinhardt-tasks ", "bold"), visible(url), (f"  {time.strftime('%H:%M:%S')}  q ends", "dim"))
    parts: list[RenderableType] = [
        head,
        Text(f"{visible(frame.trouble)} Still trying.\n", "red") if frame.trouble else "",
        queue_table(frame.queues, frame.rates) if frame.queues else Text("No messages.", "dim"),
        "",
        worker_table(frame.workers, frame.at) if frame.workers else Text("No worker is registered.", "yellow"),
        "",
        running_table(frame.running, frame.at, width=width) if frame.running else "",
    ]
    return Group(*parts)


def frame_lines(frame: Frame) -> list[str]:
    """The frame as lines of `name=value`, each opened by the time."""
    clock = time.strftime("%H:%M:%S", time.localtime(frame.at))
    lines = [_queue_line(counts, frame.rates.get(counts.queue, 0.0)) for counts in frame.queues]
    lines += [_worker_line(worker, frame.at) for worker in frame.workers]
    return [f"{clock} {visible(line)}" for line in lines or ["no messages and no worker"]]


def _queue_line(counts: QueueCounts, rate: float) -> str:
    numbers = " ".join(f"{status.value}={counts.by_status.get(status, 0)}" for status in TaskStatus)
    paused = "yes" if counts.paused else "no"
    return f"queue={counts.queue} ready={counts.ready} {numbers} per_second={rate:.0f} paused={paused}"


def _worker_line(worker: WorkerRecord, now: float) -> str:
    beat = worker.beat
    state = "suspected" if worker.suspected else "alive"
    return (
        f"worker={beat.worker} holds={worker.claims} running={beat.running}/{beat.concurrency} "
        f"finished={beat.finished} beat={duration(max(0.0, now - worker.beat_at)).replace(' ', '')} {state}"
    )


def frame_document(frame: Frame) -> dict[str, object]:
    """The frame as `--json` prints it."""
    queues = [
        {**queue_document(counts), "per_second": round(frame.rates.get(counts.queue, 0.0), 1)}
        for counts in frame.queues
    ]
    workers = [worker_document(worker) for worker in frame.workers]
    return {"at": moment(frame.at), "queues": queues, "workers": workers}


# The keyboard -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def keys_at_once() -> Iterator[None]:
    """Let keys be read as they are pressed, without echo; where standard input is no terminal, change nothing."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


async def _until_q() -> None:
    """Return when q is pressed; never where standard input is no terminal."""
    pressed = asyncio.Event()

    def look() -> None:
        if b"q" in os.read(sys.stdin.fileno(), 64).lower():
            pressed.set()

    if sys.stdin.isatty():
        asyncio.get_running_loop().add_reader(sys.stdin, look)
    await pressed.wait()
