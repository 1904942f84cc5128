"""What can be enqueued: a message with other options than its own, and the hints for what is none."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from msgspec.structs import replace

from reinhardt_tasks.codec import Seal
from reinhardt_tasks.errors import ArgumentError, OptionError
from reinhardt_tasks.message import Message, decode_envelope, encode_envelope
from reinhardt_tasks.options import Call
from reinhardt_tasks.step import Step
from reinhardt_tasks.task import Task
from reinhardt_tasks.workflow import Workflow

R = TypeVar("R")


def revised(message: Message[R], call: Call, seal: Seal) -> Message[R]:
    """`message` with the options of `call` in place of its own, in its envelope as well.

    Raises OptionError, and SignatureError for a message that was closed with other keys.
    """
    if call.unique_for is not None and call.unique_key is None and message.unique_key is None:
        raise OptionError("unique_for needs a unique_key", setting="unique_for")
    envelope = decode_envelope(seal.open(message.body))
    queue = call.queue or message.queue
    priority = message.priority if call.priority is None else call.priority
    timeout = envelope.t if call.timeout is None else call.timeout
    envelope = replace(envelope, q=queue, p=priority, t=timeout, h=call.headers or envelope.h)
    due = {} if call.run_at is None and not call.delay else {"run_at": call.run_at, "delay": call.delay}
    return replace(
        message,
        body=seal.close(encode_envelope(envelope)),
        queue=queue,
        priority=priority,
        unique_key=call.unique_key or message.unique_key,
        unique_for=message.unique_for if call.unique_for is None else call.unique_for,
        **due,
    )


def unsendable(item: object) -> ArgumentError:
    """The error for an item that cannot be enqueued, with a hint for the usual slips."""
    if isinstance(item, Task):
        short = item.name.rpartition(".")[2]
        hint = f"it is the task itself; await {short}.enqueue(…), or pass what {short}.message(…) returns"
    elif inspect.iscoroutine(item):
        item.close()
        hint = "it is a coroutine: the task was called, not enqueued; pass what task.message(…) returns"
    elif isinstance(item, type):
        hint = "it is a class; pass an instance of it"
    elif isinstance(item, Step):
        hint = "it is a step, which takes the result of another message; put it into a chain, a group or a graph"
    elif isinstance(item, Workflow):
        hint = "it is a workflow, and enqueued by itself: await queue.enqueue(…)"
    else:
        hint = "pass what task.message(…) returns, or an instance of a TaskExecutor"
    return ArgumentError(f"{item!r} cannot be enqueued: {hint}.", where="the item", given=type(item).__qualname__)


def each_of(items: object) -> Iterator[Any]:
    """What `enqueue_many` was given, one after the other. Raises ArgumentError for one item alone."""
    if isinstance(items, Iterable):
        return iter(items)
    raise ArgumentError(
        f"enqueue_many takes an iterable of messages, not {items!r}; pass [message], or call queue.enqueue(message)",
        where="the items",
        given=type(items).__qualname__,
    )
