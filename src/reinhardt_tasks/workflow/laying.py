"""Any nesting of workflows laid out flat: messages that wait for others, parents first.

No message gathers in the middle as long as one message alone takes what several others return: it waits for all of
them, and takes an expression of their results. Only where many take from many, where errors count as values, or where
nothing stands at the end, one more message gathers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from reinhardt_tasks.codec import Limits, Seal
from reinhardt_tasks.config import QueueConfig
from reinhardt_tasks.errors import ArgumentError, ConfigurationError, OptionError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import AnyMessage, Envelope, Message, decode_envelope, encode_envelope
from reinhardt_tasks.names import OWN_QUEUE
from reinhardt_tasks.retry import seconds
from reinhardt_tasks.step import Step
from reinhardt_tasks.workflow.expression import (
    GATHERED,
    TOLERANT,
    WHOLE,
    Expression,
    depth_of,
    id_in,
    reference,
    references,
)
from reinhardt_tasks.workflow.part import Ground, Part, Value, Workflow, name_of, unique, waits_of

BUILT_IN_NAMES: Final = "reinhardt_tasks.workflow."
"""What the names of tasks begin with that hold workflows together."""
GATHER: Final = BUILT_IN_NAMES + "gather"
"""The task of messages that stand for the results of others."""
_FIRST: Final = 9
"""The priority of messages that hold a workflow together."""
_LOOKS: Final = msgspec.msgpack.encode({"looks": True})


@dataclass(slots=True)
class Draft:
    """A message before it is closed, with the `envelope` that will be its body."""

    message: AnyMessage
    envelope: Envelope
    waits_on: tuple[TaskId, ...] = ()
    tolerant: bool = False


@dataclass(slots=True)
class Laying(Ground):
    """The messages of one workflow while it is laid out. Gathering messages are made by the settings `config`.

    `ids` are those that the messages got when it was laid out before, to which new ones are added.
    """

    seal: Seal
    config: QueueConfig
    ids: list[TaskId] = field(default_factory=list)
    drafts: dict[TaskId, Draft] = field(default_factory=dict)
    nested: list[Workflow[Any]] = field(default_factory=list)
    _made: int = 0

    # Parts --------------------------------------------------------------------------------------------------------

    def part(self, part: Part, before: Value | None, label: str | None) -> Value:
        """See Ground."""
        if isinstance(part, Step):
            return self._step(part, before, label)
        if isinstance(part, Message):
            return self.message(part, {}, waits_of(before), label)
        return self._nested(part, before, label)

    def _nested(self, nested: Workflow[Any], before: Value | None, label: str | None) -> Value:
        if nested.timeout is not None:
            raise OptionError(
                f"{nested!r} has a timeout, and stands inside another workflow; give the timeout to the outermost one, "
                "or to each task",
                setting="timeout",
            )
        self.nested.append(nested)
        return nested.lay(self, before, label)

    def _step(self, step: Step[Any, Any], before: Value | None, label: str | None) -> Value:
        if before is None:
            raise ArgumentError(
                f"{name_of(step)} is a step, which takes the result of what comes before it, and nothing does; begin "
                "with what task.message(…) returns",
                name=step.message.name,
                where=f"parameter {next(iter(step.takes))!r}",
            )
        return self.filled(step, dict.fromkeys(step.takes, before.expression), before.after, label)

    def filled(
        self, step: Step[Any, Any], inputs: Mapping[str, Expression], waits: tuple[TaskId, ...], label: str | None
    ) -> Value:
        """See Ground."""
        return self.message(step.message, inputs, waits, label)

    def message(
        self, message: AnyMessage, inputs: Mapping[str, Expression], waits: tuple[TaskId, ...], label: str | None
    ) -> Value:
        """What a message like this one returns. Raises ConfigurationError for inputs that no step could decode."""
        for parameter, expression in inputs.items():
            _check_depth(expression, message.name, parameter)
        message = replace(message, id=self._next_id())
        envelope = _told(replace(self._opened(message), s=label), inputs, waits)
        self.drafts[message.id] = Draft(message, envelope, waits)
        return Value(reference(message.id), (message.id,))

    def _next_id(self) -> TaskId:
        """The id of the message that is laid next."""
        if self._made == len(self.ids):
            self.ids.append(TaskId.new())
        self._made += 1
        return self.ids[self._made - 1]

    def _opened(self, message: AnyMessage) -> Envelope:
        """The envelope of a message, under its id. Raises SignatureError where it was closed by other keys."""
        return replace(decode_envelope(self.seal.open(message.body)), i=bytes(message.id))

    # Gathering ----------------------------------------------------------------------------------------------------

    def gathered(self, members: Sequence[Value], before: Value | None) -> Value:
        """See Ground."""
        waits = unique(member.after for member in members) if members else waits_of(before)
        return Value([member.expression for member in members], waits)

    def tolerated(self, members: Sequence[Value], before: Value | None) -> Value:
        """See Ground."""
        if not members:
            return self.gathered(members, before)
        ends = [member if member.is_single else self.gather(member) for member in members]
        marked: list[Expression] = [_marked(end.expression, TOLERANT) for end in ends]
        whole = self.gather(Value(marked, unique(end.after for end in ends)), tolerant=True)
        if not waits_of(before):
            return whole
        # What tolerates succeeds also when what is before it has failed, and a requeue of that does not bring it back.
        # It brings back this one, which looks.
        return self.gather(Value(whole.expression, unique([whole.after, waits_of(before)])), looks=True)

    def single(self, value: Value | None) -> Value | None:
        """See Ground."""
        return value if value is None or len(value.after) <= 1 else self.gather(value)

    def gather(self, value: Value, *, tolerant: bool = False, looks: bool = False) -> Value:
        """A message that stands for `value`; it `looks` whether that is there where others may not have."""
        parents = [self.drafts[parent].message for parent in value.after]
        message, envelope = self.built_in(GATHER, _LOOKS if looks else b"\x80")
        if parents:
            message = replace(message, result_ttl=max(parent.result_ttl for parent in parents))
        envelope = _told(envelope, {WHOLE: value.expression}, value.after)
        self.drafts[message.id] = Draft(message, envelope, value.after, tolerant)
        return Value(reference(message.id, GATHERED), (message.id,))

    def built_in(self, name: str, arguments: bytes) -> tuple[AnyMessage, Envelope]:
        """A message of a task that every worker knows, in the queue that every worker serves."""
        id = self._next_id()
        message: AnyMessage = Message(
            id=id,
            name=name,
            body=b"",
            queue=OWN_QUEUE,
            priority=_FIRST,
            result_ttl=seconds(self.config.result_ttl, what="result_ttl"),
            max_losses=self.config.max_losses,
        )
        return message, Envelope(bytes(id), name, OWN_QUEUE, arguments, _FIRST)

    # Closing ------------------------------------------------------------------------------------------------------

    def name_end(self, id: TaskId, name: str) -> None:
        """Let the message that ends the workflow tell its name."""
        draft = self.drafts[id]
        draft.envelope = replace(draft.envelope, f=name)

    def closed(self, end: TaskId) -> list[AnyMessage]:
        """The messages, as part of the workflow that ends with `end`."""
        return [self._closed(draft, end) for draft in self.drafts.values()]

    def _closed(self, draft: Draft, end: TaskId) -> AnyMessage:
        body = self.seal.close(encode_envelope(draft.envelope))
        return replace(draft.message, body=body, waits_on=draft.waits_on, tolerant=draft.tolerant, workflow=end)


def _told(envelope: Envelope, inputs: Mapping[str, Expression], waits: tuple[TaskId, ...]) -> Envelope:
    """The envelope with what fills its parameters, and what it waits for besides."""
    taken = {id_in(one) for expression in inputs.values() for one in references(expression)}
    others = [bytes(id) for id in waits if id not in taken]
    return replace(envelope, w=dict(inputs) or None, o=others or None)


def _check_depth(expression: Expression, task: str, parameter: str) -> None:
    """Raise ConfigurationError for lists in lists deeper than arguments may be."""
    limit = Limits().max_depth - 1  # one level is the call itself
    if (depth := depth_of(expression)) > limit:
        raise ConfigurationError(
            f"parameter {parameter!r} of {task} would be given lists nested {depth} levels deep, and {limit} can be "
            "decoded; give the workflows in it callbacks, or take a level out",
            setting="steps",
        )


def _marked(expression: Expression, mark: bytes) -> bytes:
    """A reference with one more mark."""
    if not isinstance(expression, bytes):
        raise TypeError(f"only a reference can be marked, not {expression!r}")
    return expression + mark
