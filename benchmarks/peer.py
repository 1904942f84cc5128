"""What runs in a peer's interpreter: `python -m benchmarks.peer ADAPTER VERB ARGUMENTS`; answers one line of JSON.

ARGUMENTS is a JSON object for the verb. The job comes through the environment (`benchmarks.adapter.Job`).
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import Callable, Coroutine, Iterable, Mapping
from importlib import import_module
from importlib.metadata import distributions
from time import monotonic_ns, perf_counter
from typing import Any

from benchmarks.adapter import Adapter, Composer, Job, Producer, SyncAdapter
from benchmarks.stamps import Stamps, open_stamps

Answer = dict[str, Any]

WARM_UP = 100  # messages put before the clock starts: connections, statements and code are warm on every side
IN_FLIGHT = 100
CHAIN_WARM_UP = 20  # steps of the chain that runs before the measured one
BULK = 1000
LOOK = 0.0005  # seconds between two looks whether a message has run
PATIENCE = 30  # seconds to wait for a message that an idle worker should run at once


async def fill(producer: Producer, *, messages: int) -> Answer:
    """Put `messages` quickly."""
    await _bulk(producer, range(messages))
    return {}


async def single(producer: Producer, *, messages: int) -> Answer:
    """One message at a time, each awaited."""
    return await _timed(_one_by_one, producer, messages)


async def gathered(producer: Producer, *, messages: int) -> Answer:
    """A hundred coroutines, each with one message in flight."""
    return await _timed(_all_at_once, producer, messages)


async def bulk(producer: Producer, *, messages: int) -> Answer:
    """A thousand messages a call, one call at a time."""
    return await _timed(_bulk, producer, messages)


Put = Callable[[Producer, Iterable[int]], Coroutine[Any, Any, None]]


async def _timed(put: Put, producer: Producer, messages: int) -> Answer:
    await put(producer, range(WARM_UP))
    started = perf_counter()
    await put(producer, range(messages))
    return {"messages": messages, "seconds": perf_counter() - started}


async def _one_by_one(producer: Producer, numbers: Iterable[int]) -> None:
    for number in numbers:
        await producer.put(number)


async def _all_at_once(producer: Producer, numbers: Iterable[int]) -> None:
    shared = iter(numbers)
    async with asyncio.TaskGroup() as lanes:
        for _ in range(IN_FLIGHT):
            lanes.create_task(_one_by_one(producer, shared))


async def _bulk(producer: Producer, numbers: Iterable[int]) -> None:
    wanted = list(numbers)
    for start in range(0, len(wanted), BULK):
        await producer.put_many(wanted[start : start + BULK])


async def latency(producer: Producer, *, warm_up: int, messages: int) -> Answer:
    """Milliseconds from before the enqueue call to inside the task, with an idle worker in another process.

    The pause before each message is drawn from 4 to 12 ms, so that no poll interval can fall in step with it.
    """
    slots = open_stamps(Job.from_environment().stamps)
    pauses = random.Random(1)
    took = []
    for number in range(warm_up + messages):
        put_at = monotonic_ns()
        await producer.put(number)
        await _ran(slots, number)
        took.append((slots[number] - put_at) / 1e6)
        await asyncio.sleep(pauses.uniform(0.004, 0.012))
    return {"milliseconds": took[warm_up:]}


async def _ran(slots: Stamps, number: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while not slots[number]:  # noqa: ASYNC110 - no event reaches across processes
            await asyncio.sleep(LOOK)


async def chain(producer: Composer, *, steps: int, round_trips: int) -> Answer:
    """Seconds from before the enqueue of a chain to its result; before it, milliseconds of single round trips.

    What warms up and what makes round trips stamps the slot behind those of the chain.
    """
    await producer.run_chain([steps] * CHAIN_WARM_UP)
    took = []
    for _ in range(round_trips):
        asked_at = perf_counter()
        await producer.ask(steps)
        took.append((perf_counter() - asked_at) * 1e3)
    started = perf_counter()
    await producer.run_chain(range(steps))
    return {"seconds": perf_counter() - started, "milliseconds": took}


async def group(producer: Composer, *, messages: int, first: int) -> Answer:
    """Put a group, the numbers of which begin with `first`, and whose callback has the number behind theirs."""
    started = perf_counter()
    await producer.put_group(range(first, first + messages), first + messages)
    return {"seconds": perf_counter() - started}


PRODUCING: Mapping[str, Callable[..., Coroutine[Any, Any, Answer]]] = {
    verb.__name__: verb for verb in (fill, single, gathered, bulk, latency, chain, group)
}


async def _produce(adapter: Adapter, verb: str, arguments: dict[str, Any]) -> Answer:
    async with adapter.producer() as producer:
        return await PRODUCING[verb](producer, **arguments)


def sync(adapter: SyncAdapter, *, messages: int) -> Answer:
    """One message at a time, by code that has no event loop."""
    with adapter.put_now() as put:
        for number in range(WARM_UP):
            put(number)
        started = perf_counter()
        for number in range(messages):
            put(number)
        return {"messages": messages, "seconds": perf_counter() - started}


def describe(adapter: Adapter) -> Answer:
    """Interpreter, packages and store of this environment."""
    packages = {found.metadata["Name"]: found.version for found in distributions()}
    runtime = f"Python {sys.version.split()[0]}"
    return {"runtime": runtime, "packages": packages, "store": dict(adapter.describe())}


def _run(main: Coroutine[Any, Any, Answer]) -> Answer:
    """Run `main` on uvloop where the peer's environment has it, as its users would."""
    try:
        import uvloop  # noqa: PLC0415 - not every peer uses it
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)


def main(name: str, verb: str, arguments: str) -> None:
    """Do one verb of one adapter."""
    adapter: Any = import_module(f"benchmarks.adapters.{name}")
    wanted = json.loads(arguments)
    if verb == "worker":
        adapter.worker()
        return
    if verb == "describe":
        answer = describe(adapter)
    elif verb == "sync":
        answer = sync(adapter, **wanted)
    elif verb == "body":
        answer = {"bytes": adapter.body()}
    elif verb == "claims":
        answer = _run(adapter.claims(**wanted))
    else:
        answer = _run(_produce(adapter, verb, wanted))
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
