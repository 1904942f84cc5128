"""A workflow as it is sent: its messages in the order to store them, made once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec.structs import replace

from reinhardt_tasks.codec import Seal
from reinhardt_tasks.config import QueueConfig
from reinhardt_tasks.errors import ConfigurationError, DuplicateTaskError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import AnyMessage
from reinhardt_tasks.workflow.builtin import BUILT_IN, EXPIRE
from reinhardt_tasks.workflow.expression import Expression, id_in
from reinhardt_tasks.workflow.laying import GATHER, Draft, Laying
from reinhardt_tasks.workflow.part import Workflow


@dataclass(frozen=True, slots=True)
class Plan:
    """The messages of a workflow, parents first, and the `id` of the one that ends it.

    `empty` is the result of a workflow without messages of its own, which is there at once; else None.
    """

    id: TaskId
    messages: Sequence[AnyMessage]
    has_keys: bool
    empty: Any = None


def planned(workflow: Workflow[Any], seal: Seal, config: QueueConfig) -> Plan:
    """The plan of a workflow: the same each time it is asked for, so that what is sent twice is stored once.

    Raises what cannot stand in a workflow; see `Laying` and TaskDAG.order.
    """
    if not workflow.laid or workflow.laid[0] is not seal:
        workflow.laid[:] = [seal, _laid(workflow, Laying(seal, config, workflow.ids))]
    plan: Plan = workflow.laid[1]
    return plan


def _laid(workflow: Workflow[Any], laying: Laying) -> Plan:
    try:
        plan = _made(workflow, laying)
    except RecursionError:
        raise ConfigurationError(
            f"{workflow!r} holds itself, or workflows inside each other so deep that they cannot be laid out; take a "
            "level out",
            setting="steps",
        ) from None
    for part in (workflow, *laying.nested):
        part.fixed = True
    return plan


def _made(workflow: Workflow[Any], laying: Laying) -> Plan:
    value = workflow.lay(laying, None, None)
    end = value if value.is_single and workflow.timeout is None else laying.gather(value)
    id = id_in(_reference(end.expression))
    if workflow.timeout is not None:
        _add_timer(laying, id, workflow.timeout)
    laying.name_end(id, workflow.name)
    messages = laying.closed(id)
    return Plan(id, messages, _has_keys(messages), None if value.after else value.expression)


def _reference(expression: Expression) -> bytes:
    if not isinstance(expression, bytes):
        raise TypeError(f"a workflow ends with one message, not with {expression!r}")
    return expression


def _add_timer(laying: Laying, end: TaskId, limit: float) -> None:
    """A message that is due when the workflow's time is up, and that the end of the workflow cancels."""
    arguments = BUILT_IN.tasks[EXPIRE].arguments.encode((), {"workflow": str(end), "limit": limit})
    message, envelope = laying.built_in(EXPIRE, arguments)
    message = replace(message, delay=limit)
    ending = laying.drafts.pop(end)
    laying.drafts[message.id] = Draft(message, envelope)
    laying.drafts[end] = ending
    told = {**msgspec.msgpack.decode(ending.envelope.a), "timer": str(message.id)}
    ending.envelope = replace(ending.envelope, a=BUILT_IN.tasks[GATHER].arguments.encode((), told))


def _has_keys(messages: Sequence[AnyMessage]) -> bool:
    """Whether any message has a unique key. Raises DuplicateTaskError where two have the same."""
    keys = Counter((one.name, one.unique_key) for one in messages if one.unique_key is not None)
    for (name, key), times in keys.items():
        if times > 1:
            raise DuplicateTaskError(
                f"{times} messages of task {name} in the workflow have the unique key {key!r}, which one at a time can "
                "hold; give them different keys",
                unique_key=key,
            )
    return bool(keys)
