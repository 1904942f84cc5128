"""What workflows are turned into, and what is refused before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, NoReturn
from uuid import UUID

import pytest

from reinhardt_tasks import (
    ArgumentError,
    ChainStatus,
    ConfigurationError,
    DuplicateTaskError,
    OptionError,
    QueueConfig,
    SignatureError,
    TaskChainBuilder,
    TaskDAG,
    TaskExecutor,
    TaskGroup,
    TaskQueue,
    TransitionError,
)
from reinhardt_tasks.codec import ValueCodec
from reinhardt_tasks.message import AnyMessage, decode_envelope
from reinhardt_tasks.names import OWN_QUEUE
from reinhardt_tasks.workflow import Workflow
from reinhardt_tasks.workflow.expression import id_in, parents_in, references
from reinhardt_tasks.workflow.fit import misfits
from reinhardt_tasks.workflow.plan import Plan, planned

queue = TaskQueue("memory://")


@dataclass
class Photo:
    path: Path


@queue.task
async def fetch(url: str) -> Photo:
    """A photo."""
    return Photo(Path(url))


@queue.task
async def resize(photo: Photo, width: int = 90) -> Photo:
    """A photo."""
    return photo


@queue.task
async def album(photos: list[Photo]) -> str:
    """A text."""
    return str(len(photos))


@queue.task
async def tell() -> None:
    """Nothing."""


@queue.task
async def take(anything) -> None:
    """Whatever it is given."""


@queue.task(unique=True)
async def once(photo: Photo) -> None:
    """Unique by what it is given."""


def plan_of(workflow: Workflow[Any]) -> Plan:
    """What would be sent."""
    return planned(workflow, queue.seal, queue.config)


def waits(plan: Plan) -> list[list[int]]:
    """For each message, in order, the places of those it waits for."""
    places = {message.id: number for number, message in enumerate(plan.messages)}
    return [[places[parent] for parent in message.waits_on] for message in plan.messages]


def names(plan: Plan) -> list[str]:
    """The last words of the messages' tasks."""
    return [message.name.rpartition(".")[2] for message in plan.messages]


def envelope(message: AnyMessage):
    """What a worker reads."""
    return decode_envelope(queue.seal.open(message.body))


# Laid out flat --------------------------------------------------------------------------------------------------------


def test_a_chain_is_its_steps_and_nothing_else():
    """Each waits for the one before, and the last is the workflow."""
    plan = plan_of(TaskChainBuilder("c").add(fetch.message("a")).add(resize.step(3)).add(tell.message()).build())
    assert names(plan) == ["fetch", "resize", "tell"]
    assert waits(plan) == [[], [0], [1]]
    assert {message.workflow for message in plan.messages} == {plan.id} == {plan.messages[-1].id}
    assert envelope(plan.messages[1]).w == {"photo": bytes(plan.messages[0].id)}
    assert envelope(plan.messages[2]).o == [bytes(plan.messages[1].id)]
    assert envelope(plan.messages[2]).f == "c"


def test_a_callback_gathers_by_itself():
    """It waits for all members and takes the list of their results; members alone wait for nothing."""
    members = [fetch.message(url) for url in "abc"]
    plan = plan_of(TaskGroup(members, album.step()))
    assert names(plan) == ["fetch", "fetch", "fetch", "album"]
    assert waits(plan) == [[], [], [], [0, 1, 2]]
    assert envelope(plan.messages[3]).w == {"photos": [bytes(message.id) for message in plan.messages[:3]]}
    assert [envelope(message).a for message in plan.messages[:3]] == [envelope(member).a for member in members]


def test_nothing_gathers_in_the_middle_unless_many_take_from_many():
    """From one to many, and from many to one, there is no message between; from many to many there is one."""
    two = [fetch.message("a"), fetch.message("b")]
    narrow = TaskChainBuilder().add(TaskGroup(two)).add(album.step()).add(TaskGroup([tell.message(), tell.message()]))
    assert names(plan_of(narrow.build())) == ["fetch", "fetch", "album", "tell", "tell", "gather"]
    two = [fetch.message("a"), fetch.message("b")]
    wide = TaskChainBuilder().add(TaskGroup(two)).add(TaskGroup([album.step(), album.step()], tell.message()))
    plan = plan_of(wide.build())
    assert names(plan) == ["fetch", "fetch", "gather", "album", "album", "tell"]
    assert waits(plan) == [[], [], [0, 1], [2], [2], [3, 4]]


def test_what_stands_alone_at_the_end_is_gathered():
    """A group without a callback, the sinks of a graph, and whatever has a time limit."""
    assert names(plan_of(TaskGroup([tell.message(), tell.message()]))) == ["tell", "tell", "gather"]
    dag = TaskDAG()
    dag.add("a", fetch, kwargs={"url": "a"})
    plan = plan_of(dag)
    assert names(plan) == ["fetch", "gather"]
    assert envelope(plan.messages[1]).w == {"": {"a": bytes(plan.messages[0].id)}}
    limited = TaskChainBuilder(timeout=5).add(tell.message()).build()
    plan = plan_of(limited)
    assert names(plan) == ["tell", "expire", "gather"]
    assert [message.delay for message in plan.messages] == [0, 5, 0]


def test_errors_as_values_are_gathered_by_a_message_that_bears_them():
    """It waits whatever the ends are; one behind it also waits for what came before the group."""
    group = TaskGroup([tell.message(), TaskGroup([tell.message(), tell.message()])], tell.message(), return_errors=True)
    plan = plan_of(TaskChainBuilder().add(tell.message()).add(group).build())
    assert names(plan) == ["tell", "tell", "tell", "tell", "gather", "gather", "gather", "tell"]
    assert waits(plan) == [[], [0], [0], [0], [2, 3], [1, 4], [5, 0], [6]]
    assert [message.tolerant for message in plan.messages] == [False] * 5 + [True, False, False]


def test_a_gathering_message_goes_where_every_worker_looks():
    """Into a queue of its own, ahead of all else, and it is kept as long as its members are."""
    far = [tell.using(queue="far", priority=8).message() for _ in range(2)]
    end = plan_of(TaskGroup(far)).messages[-1]
    assert (end.queue, end.priority, end.result_ttl) == (OWN_QUEUE, 9, far[0].result_ttl)


def test_nodes_carry_their_names():
    """Those of a nested graph behind the outer one's; steps of a chain that is a node carry the node's."""
    inner = TaskDAG()
    inner.add("x", tell)
    outer = TaskDAG()
    outer.add("in", inner)
    outer.add("line", TaskChainBuilder().add(tell.message()).add(tell.message()).build(), after=["in"])
    plan = plan_of(outer)
    assert [envelope(message).s for message in plan.messages] == ["in/x", "line", "line", None]
    assert [parents_in(envelope(message)) for message in plan.messages] == [list(one.waits_on) for one in plan.messages]


def test_the_same_workflow_is_the_same_messages_each_time():
    """So that sending it twice stores it once; built anew it is another one."""
    group = TaskGroup([fetch.message("a")], album.step())
    assert plan_of(group) is plan_of(group)
    step = album.step()
    ids = {plan_of(TaskGroup([fetch.message("a")], step)).id for _ in range(2)}
    assert len(ids) == 2


def test_expressions_name_all_their_messages():
    """In order, to any depth."""
    a, b, c = (bytes([number]) * 16 for number in (1, 2, 3))
    assert [id_in(one) for one in references({"x": [a, [b + b"?"]], "y": c + b"*"})] == [a, b, c]


def test_what_stands_in_a_workflow_is_a_pattern():
    """Messages, steps and workflows may stand in many places: each time they are messages of their own."""
    message, step = fetch.message("a"), resize.step()
    inner = TaskGroup([message, message, TaskChainBuilder().add(message).add(step).build()])
    ids = [sent.id for part in (inner, TaskGroup([inner, inner])) for sent in plan_of(part).messages]
    assert len(set(ids)) == len(ids) == 14
    assert message.id not in ids


def test_a_workflow_is_the_same_through_any_queue_of_its_place():
    """Whichever was first, and however often they take turns."""
    other = TaskQueue("memory://")
    chain = TaskChainBuilder("c", timeout=9).add(fetch.message("a")).add(resize.step()).build()
    plans = [planned(chain, one.seal, one.config) for one in (queue, other, queue)]
    assert len({tuple(message.id for message in plan.messages) for plan in plans}) == 1


# Refused --------------------------------------------------------------------------------------------------------------


def test_lists_too_deep_to_be_taken_are_refused_before_anything_runs():
    """A callback in between makes them flat; a result that nobody takes may be deeper."""
    part: Workflow[Any] = TaskGroup([tell.message()])
    for _ in range(80):
        part = TaskGroup([part])
    assert len(plan_of(part).messages) == 2
    with pytest.raises(ConfigurationError, match="81 levels deep"):
        plan_of(TaskChainBuilder().add(part).add(take.step()).build())


def test_a_workflow_in_itself_is_refused():
    """Whichever way it came there."""
    dag = TaskDAG("snake")
    dag.add("a", dag)
    with pytest.raises(ConfigurationError, match="snake> holds itself"):
        plan_of(dag)


def test_an_edge_names_one_node():
    """Text, where a list was meant to gather."""
    with pytest.raises(ArgumentError, match="after takes a list of names, or a dict"):
        TaskDAG().add("b", resize, after={"photo": ["a"]})


def test_a_chain_without_steps_is_refused():
    """It could have no result."""
    with pytest.raises(ConfigurationError, match="chain none has no steps"):
        TaskChainBuilder("none").build()


def test_a_step_that_nothing_comes_before_is_refused():
    """At the beginning of a chain, in a group, and in a graph, once it is sent."""
    dag = TaskDAG()
    dag.add("a", resize.step())
    for workflow in (TaskChainBuilder().add(resize.step()).build(), TaskGroup([resize.step()]), dag):
        with pytest.raises(ArgumentError, match="resize is a step, which takes the result of what comes before"):
            plan_of(workflow)


@pytest.mark.parametrize(
    "build",
    [
        lambda: TaskChainBuilder("c").add(fetch.message("a")).add(album.step()).build(),
        lambda: TaskChainBuilder("c").add(tell.message()).add(TaskGroup([resize.step()])).build(),
        lambda: TaskGroup([tell.message(), tell.message()], album.step()),
        lambda: plan_of(graph(("a", fetch.message("x"), ()), ("b", album, {"photos": "a"}))),
        lambda: plan_of(graph(("a", tell, ()), ("b", resize.step(), ["a"]))),
    ],
    ids=["chain", "group in a chain", "callback", "edge", "step of a graph"],
)
def test_a_step_that_cannot_take_the_result_before_it_is_refused(build):
    """By what both declare; the error names the parameter and both types."""
    with pytest.raises(ArgumentError, match=r"parameter '\w+' of .* is declared `.*`, and .* before it returns `.*`"):
        build()


def graph(*nodes) -> TaskDAG:
    """A graph of these nodes, each with its name, item and `after`."""
    dag = TaskDAG("g")
    for name, item, after in nodes:
        dag.add(name, item, after=after)
    return dag


def test_a_cycle_is_named():
    """With every node on it, in order."""
    looped = graph(("a", tell, ["c"]), ("b", tell, ["a"]), ("c", tell, ["b"]), ("d", tell, ()))
    with pytest.raises(ConfigurationError, match=r"circle, .*: (a → b → c → a|b → c → a → b|c → a → b → c)"):
        looped.order()
    with pytest.raises(ConfigurationError, match="circle"):
        plan_of(looped)


def test_an_unknown_node_is_named():
    """With those there are; nodes may be named before they are there."""
    with pytest.raises(ConfigurationError, match=r"node 'b' comes after 'x', .* there are: a, b"):
        graph(("a", tell, ()), ("b", tell, ["x"])).order()
    assert graph(("b", tell, ["a"]), ("a", tell, ())).order() == ["a", "b"]


def test_a_graph_tells_its_order_and_what_is_ready():
    """Pure, for code that walks it itself."""
    dag = graph(("d", tell, ["b", "c"]), ("b", tell, ["a"]), ("c", tell, ["a"]), ("a", tell, ()))
    assert dag.order() == ["a", "b", "c", "d"]
    assert [dag.ready(), dag.ready(["a"]), dag.ready(["a", "b"]), dag.ready(["a", "b", "c"])] == [
        ["a"], ["b", "c"], ["c"], ["d"],
    ]  # fmt: skip
    assert dag.sinks() == ["d"]


@pytest.mark.parametrize(
    ("item", "more", "says"),
    [
        (tell, {"after": "a"}, "after takes a list of names"),
        (fetch.message("a"), {"kwargs": {"url": "b"}}, "has its arguments already, and is given kwargs"),
        (resize.step(), {"after": {"photo": "a"}}, "has its arguments already, and is given parameters to fill"),
        (resize, {"after": {"image": "a"}}, "parameter 'image' is to be filled, and there is none"),
        (resize, {"kwargs": {"width": "wide"}, "after": {"photo": "a"}}, "parameter 'width'"),
        (resize, {"after": ["a"]}, "missing a required argument: 'photo'"),
        (lambda: None, {}, "cannot hold"),
    ],
)
def test_a_node_that_cannot_be_called_is_refused(item, more, says):
    """When it is added."""
    with pytest.raises(ArgumentError, match=says):
        TaskDAG("g").add("n", item, **more)


def test_a_step_in_a_graph_takes_from_one_node():
    """With several the edges have to say which parameter takes which."""
    with pytest.raises(ArgumentError, match="2 nodes do; give the task itself"):
        plan_of(graph(("a", fetch.message("x"), ()), ("b", fetch.message("y"), ()), ("c", resize.step(), ["a", "b"])))


def test_a_graph_that_was_sent_takes_no_more_nodes():
    """Nor one of a name that is taken, or is no name."""
    dag = graph(("a", tell, ()))
    with pytest.raises(ConfigurationError, match="'a' is there already"):
        dag.add("a", tell)
    with pytest.raises(ConfigurationError, match="a name is text"):
        dag.add("", tell)
    plan_of(dag)
    with pytest.raises(ConfigurationError, match="enqueued already"):
        dag.add("b", tell)


@pytest.mark.parametrize(
    ("item", "hint"),
    [(tell, r"pass tell\.message"), ("text", "pass what task.message"), (Photo, "pass what task.message")],
)
def test_what_is_no_part_is_refused_with_a_hint(item, hint):
    """In chains and groups."""
    for take in (lambda: TaskChainBuilder().add(item), lambda: TaskGroup([item])):
        with pytest.raises(ArgumentError, match=hint):
            take()


@pytest.mark.parametrize("name", [123, "", "x" * 201, "a\nb", "\udc80"])
def test_names_are_checked_where_they_are_given(name):
    """Of workflows and of nodes: text, printable, not endless; what is refused is told so that it can be printed."""
    said = "a name is text of 1 to 200 printable characters, not "
    group, node = lambda it: TaskGroup([], name=it), lambda it: TaskDAG().add(it, TaskGroup([]))
    for give in (TaskChainBuilder, TaskDAG, group, node):
        with pytest.raises(ConfigurationError, match=said) as refused:
            give(name)
        assert str(refused.value).encode()


@queue.task(name="tests.Sized")
class Sized(TaskExecutor):
    """A task that is a class."""

    number: int
    other: int = 1

    async def execute(self) -> int:
        """The sum."""
        return self.number + self.other


@pytest.mark.parametrize("item", [Sized, Sized(number=1)])
def test_a_class_stands_in_a_workflow_as_its_task(item):
    """Itself it does not, and the hint that is given works."""
    with pytest.raises(ArgumentError, match=r"pass queue\.tasks\[name\]\.message"):
        TaskChainBuilder().add(item)
    task = queue.tasks["tests.Sized"]
    assert len(TaskChainBuilder().add(task.message(number=1)).add(task.step(other=2)).build()) == 2


def test_a_called_task_is_no_part():
    """The coroutine is closed."""
    with pytest.raises(ArgumentError, match="the task was called"):
        TaskChainBuilder().add(tell())
    with pytest.raises(ArgumentError, match="takes an iterable of messages"):
        TaskGroup(tell.message())


def test_a_time_limit_is_for_a_whole_workflow():
    """Inside another one, and where it is no time, it is refused."""
    inner = TaskGroup([tell.message()], timeout=5)
    with pytest.raises(OptionError, match="<TaskGroup group> has a timeout, and stands inside another workflow"):
        plan_of(TaskChainBuilder().add(inner).build())
    with pytest.raises(OptionError, match="timeout"):
        TaskDAG(timeout=0)


def test_two_steps_with_one_key_are_refused():
    """They could never both be there."""
    keyed = tell.using(unique_key="k")
    with pytest.raises(DuplicateTaskError, match=r"2 messages of task .*tell in the workflow have the unique key 'k'"):
        plan_of(TaskGroup([keyed.message(), keyed.message()]))


def test_a_step_cannot_be_unique_by_what_it_is_not_given_yet():
    """It takes a key instead."""
    with pytest.raises(OptionError, match="give the step a key of its own"):
        once.step()
    assert once.using(unique_key="k").step().message.unique_key == "k"


async def test_options_of_the_sending_are_refused_for_workflows():
    """All but the connection: the steps have their own."""
    group = TaskGroup([tell.message()])
    with pytest.raises(OptionError, match="a workflow takes no option priority; give it to its steps"):
        await queue.enqueue(group, priority=3)  # type: ignore[call-overload]
    with pytest.raises(OptionError, match="connection is no part of a message"):
        resize.using(connection=object()).step()


async def test_what_is_sent_the_wrong_way_is_told_the_right_one():
    """A step alone, and a workflow among many messages."""
    with pytest.raises(ArgumentError, match="it is a step, which takes the result of another message"):
        await queue.enqueue(resize.step())  # type: ignore[call-overload]
    with pytest.raises(ArgumentError, match="it is a workflow, and enqueued by itself"):
        await queue.enqueue_many([TaskGroup([])])  # type: ignore[list-item]


def test_messages_of_other_keys_cannot_be_laid_out():
    """Nobody could say what they wait for and sign it."""
    other = TaskQueue("memory://", QueueConfig(secret_keys=["x" * 32]))
    chain = TaskChainBuilder().add(tell.message()).add(tell.message()).build()
    with pytest.raises(SignatureError):
        planned(chain, other.seal, other.config)


# A chain as a value ---------------------------------------------------------------------------------------------------


def test_a_chain_moves_on_as_a_value():
    """Each step gives another chain; the one before stays as it was."""
    first, second = fetch.message("a"), resize.step()
    chain = TaskChainBuilder().add(first).add(second).build()
    assert (chain.current, chain.status, chain.is_complete, len(chain)) == (first, ChainStatus.PENDING, False, 2)
    half = chain.advance()
    assert (half.current, half.status) == (second, ChainStatus.RUNNING)
    done = half.advance()
    assert (done.current, done.status, done.is_complete) == (None, ChainStatus.COMPLETED, True)
    failed = half.fail()
    assert (failed.current, failed.status, failed.is_complete) == (None, ChainStatus.FAILED, False)
    assert chain.current is first
    for ended in (done, failed):
        for move in (ended.advance, ended.fail):
            with pytest.raises(TransitionError, match="it has no current step"):
                move()


# What fits ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "wanted", "wrong"),
    [
        (int, int, False),
        (int, float, False),
        (int, str, True),
        (bool, str, True),
        (None, int, True),
        (None, int | None, False),
        (NoReturn, int, True),
        (str, Path, False),
        (datetime, str, False),
        (datetime, date, True),
        (date, str, False),
        (UUID, bytes, True),
        (bytes, UUID, False),
        (str, bytes, True),
        (float, int, True),
        (Decimal, float, True),
        (float, Decimal, False),
        (Decimal, str, False),
        (Photo, int, True),
        (Photo, dict[str, Any], False),
        (Any, int, False),
        (int, object, False),
        (list[int], list[str], True),
        (list[int], tuple[int, ...], False),
        (set[int], list[list[int]], True),
        (list[Photo], Photo, True),
        (dict[str, int], dict[str, str], True),
        (int | str, int, False),
        (int | None, list[int] | Photo, True),
        (int | str, Annotated[str, "text"], False),
        (Photo, "unresolved", False),
    ],
)
def test_only_what_surely_cannot_be_is_a_misfit(given, wanted, wrong):
    """By the forms that values have on the wire; what is not declared fits everything."""
    assert misfits(given, wanted) is wrong


def test_a_moment_without_a_zone_is_no_misfit_for_text():
    """It travels as text; only one with a zone does not, and a declaration does not say which it is."""
    plain = ValueCodec(datetime, where="the result").encode(datetime(2026, 1, 2))  # noqa: DTZ001 - as it is meant
    assert ValueCodec(str, where="the result").decode(plain) == "2026-01-02T00:00:00"
    assert not misfits(datetime, str)
