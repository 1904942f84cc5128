"""Single steps of the SQLite backend, run on a store without threads."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reinhardt_tasks.backends.sqlite import claims, members, operations, puts, requeue, settle, sweep, timetable
from reinhardt_tasks.backends.sqlite.claims import Turn
from reinhardt_tasks.backends.sqlite.connection import open_writer
from reinhardt_tasks.backends.sqlite.layout import SHORT, Stage, stage_for
from reinhardt_tasks.backends.sqlite.members import Verdict, judge
from reinhardt_tasks.backends.sqlite.statements import statements
from reinhardt_tasks.backends.sqlite.store import Store
from reinhardt_tasks.contract import MAX_BATCH
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import (
    DAY,
    DEAD_LETTER_TTL,
    AnyMessage,
    Beat,
    Claim,
    ErrorRecord,
    Message,
    Outcome,
    OutcomeKind,
    Reason,
    Settled,
    Swept,
)
from reinhardt_tasks.status import TaskStatus
from reinhardt_tasks.testing.clock import StillClock

ERROR = ErrorRecord("ValueError", "no")


class Table:
    """A store and a clock, for one step after the other."""

    def __init__(self, path: Path | str) -> None:
        self.clock = StillClock()
        self.connection = open_writer(str(path), "off", 5.0)
        self.store = Store(self.connection, self.clock, patience=0.2)

    def step(self, act: Callable[..., Any], *values: Any) -> Any:
        """One transaction."""
        self.store.begin()
        try:
            answer = act(self.store, *values)
        except BaseException:
            self.store.rollback()
            raise
        self.store.commit()
        return answer

    def put(self, count: int = 1, **options: Any) -> list[AnyMessage]:
        """Store fresh messages."""
        messages = [message(**options) for _ in range(count)]
        for start in range(0, count, MAX_BATCH):
            self.step(puts.put, messages[start : start + MAX_BATCH], None)
        return messages

    def beat(self, worker: str = "w", lease: float = 30.0) -> None:
        """A sign of life."""
        self.step(members.beat, Beat(worker=worker, number=1, lease=lease))

    def claim(self, want: int, queues: tuple[str, ...] | None = None, worker: str = "w") -> list[Claim]:
        """What a worker is given."""
        return self.step(claims.exchange, Turn(worker, (), want, queues))[0].claims

    def settle(self, *outcomes: Outcome, worker: str = "w") -> list[Settled]:
        """What the fence says."""
        return self.step(settle.settle, worker, outcomes)

    def sweep(self) -> Swept:
        """One sweep."""
        return self.step(sweep.sweep)

    def number(self, sql: str) -> Any:
        """The one value of an answer."""
        return self.connection.execute(sql).fetchall()[0][0]

    def stages(self) -> dict[Stage, int]:
        """How many messages stand where."""
        rows = self.connection.execute("SELECT stage, count(*) FROM messages GROUP BY stage").fetchall()
        return {Stage(stage): count for stage, count in rows}


def message(**options: Any) -> AnyMessage:
    """A fresh message."""
    return Message(id=TaskId.new(), name="task", **{"body": b"body", **options})


@pytest.fixture
def table(tmp_path) -> Iterator[Table]:
    """On a file of its own."""
    table = Table(tmp_path / "t.db")
    yield table
    table.connection.close()


# The store ------------------------------------------------------------------------------------------------------------


def test_numbers_are_never_given_twice(table):
    """Not in the next transaction, not after one that was undone was followed by another, not after a delete."""
    put = table.put(3)
    numbers = [row[0] for row in table.connection.execute("SELECT no FROM messages ORDER BY no")]
    table.beat()
    table.settle(*(Outcome.success(claim, b"") for claim in table.claim(3)))
    table.step(operations.delete, [item.id for item in put])
    table.put(1)
    assert table.number("SELECT no FROM messages") == numbers[-1] + 1


def test_a_savepoint_undoes_what_is_inside_it(table):
    """And nothing else of the transaction."""

    def lose(store: Store) -> None:
        with store.savepoint():
            puts.put(store, [message()], None)
            raise KeyError

    def act(store: Store) -> None:
        puts.put(store, [message()], None)
        with pytest.raises(KeyError):
            lose(store)

    table.step(act)
    assert table.number("SELECT count(*) FROM messages") == 1


def test_a_number_that_no_row_got_is_no_news(table):
    """What a worker takes for heard is what those who wait will read, or the next message would not wake them."""
    known = table.put()
    table.beat()

    def act(store: Store) -> claims.Heard:
        puts.put(store, known, None)
        with contextlib.suppress(KeyError), store.savepoint():
            puts.put(store, [message(), message()], None)
            raise KeyError
        return claims.exchange(store, Turn("w", (), 0, None))[1]

    assert table.step(act).mark == table.number(statements("watch")["counters"])


def test_a_lock_that_is_not_let_go_of_ends_the_patience(table, tmp_path):
    """After it, and not before, the step fails, with nothing done."""
    other = apsw.Connection(str(tmp_path / "t.db"))
    other.execute("BEGIN IMMEDIATE")
    table.connection.set_busy_timeout(10)
    with pytest.raises(apsw.BusyError):
        table.put()
    other.execute("ROLLBACK")
    other.close()
    assert table.put()
    assert table.number("SELECT count(*) FROM messages") == 1


@pytest.mark.parametrize(
    ("run_at", "options", "stage"),
    [
        (None, {}, Stage.READY),
        (100.0, {}, Stage.READY),
        (100.5, {}, Stage.LATER),
        (None, {"losses": 1}, Stage.SUSPECT),
        (100.5, {"losses": 1}, Stage.LATER),
        (None, {"blocked": True}, Stage.BLOCKED),
        (100.5, {"blocked": True, "losses": 2}, Stage.BLOCKED),
    ],
)
def test_where_an_unfinished_message_belongs(run_at, options, stage):
    """Blocked first, then later, then the line of suspects, then the line."""
    assert stage_for(run_at, 100.0, **options) is stage


# Settling -------------------------------------------------------------------------------------------------------------


OFFERS = st.lists(
    st.tuples(
        st.integers(0, 11),  # which claim
        st.sampled_from([OutcomeKind.SUCCESS] * 5 + list(OutcomeKind)),
        st.sampled_from([0, 0, 0, 0, 0, 1]),  # how far off its number is
        st.sampled_from([b"", b"r", b"result"]),
        st.booleans(),  # with its locator
    ),
    max_size=40,
)


@settings(max_examples=40)
@given(offers=OFFERS, alike=st.sampled_from([1, 8, 1000]))
def test_settling_at_once_is_settling_each(tmp_path_factory, offers, alike):
    """Whatever is offered, the quick way answers and stores the same as the careful one."""
    directory = tmp_path_factory.mktemp("settle")
    answers, contents = [], []
    for way in ("_settle", "_settle_each"):
        table = Table(directory / way)
        _twelve_claims(table)
        held = table.connection.execute("SELECT id, no FROM messages ORDER BY no").fetchall()
        outcomes = [
            Outcome(TaskId(held[at][0]), 1 + off, kind, payload, locator=held[at][1] if located else 0)
            for at, kind, off, payload, located in sorted(offers, key=lambda offer: offer[1] is not OutcomeKind.SUCCESS)
        ]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(settle, "_ALIKE", alike)
            answers.append(table.step(getattr(settle, way), "w", outcomes))
        contents.append(_content(table))
        table.connection.close()
    assert answers[0] == answers[1]
    assert contents[0] == contents[1]


def _twelve_claims(table: Table) -> None:
    """Some of them with children, one tolerant."""
    table.beat()
    parents = table.put(12)
    table.put(waits_on=(parents[0].id,), queue="children")
    table.put(waits_on=(parents[1].id, parents[2].id), queue="children")
    table.put(waits_on=(parents[1].id,), tolerant=True, queue="children")
    table.claim(12, ("default",))


def _content(table: Table) -> Any:
    """What is stored, without what differs from file to file: ids, times and the first number."""
    first = table.number("SELECT min(no) FROM messages")
    return (
        table.connection.execute(
            "SELECT no - ?1, stage, status, flags, iif(seq, seq - ?1, 0), claims, settled, attempts, unknowns, "
            "waiting_on, result, error IS NULL FROM messages ORDER BY no",
            (first,),
        ).fetchall(),
        table.connection.execute("SELECT parent - ?1, child - ?1, open FROM edges", (first,)).fetchall(),
    )


def test_an_outcome_the_database_refuses_fails_alone(table):
    """The batch is halved until the culprit stands alone; it becomes a failure that says why."""
    table.beat()
    table.put(9)
    outcomes = [Outcome.success(claim, b"r") for claim in table.claim(9)]
    outcomes[4] = Outcome(outcomes[4].id, 1, OutcomeKind.SUCCESS, "text, no bytes", locator=outcomes[4].locator)
    assert table.settle(*outcomes) == [Settled.SETTLED] * 9
    failed = table.connection.execute("SELECT id, error FROM messages WHERE status = 4").fetchall()
    assert [id for id, _ in failed] == [outcomes[4].id]
    assert ErrorRecord.decode(failed[0][1]).reason is Reason.BAD_RESULT
    assert table.number("SELECT count(*) FROM messages WHERE status = 3") == 8


def test_a_delay_that_is_no_number_fails_alone(table):
    """The others go back in line."""
    table.beat()
    table.put(2)
    one, two = table.claim(2)
    odd = Outcome(one.id, 1, OutcomeKind.RETRY, b"", "soon", locator=one.locator)
    assert table.settle(odd, Outcome.release(two)) == [Settled.SETTLED] * 2
    assert table.stages() == {Stage.ENDED: 1, Stage.READY: 1}


def test_a_claim_on_a_replaced_file_means_nothing_in_the_next(tmp_path):
    """Row numbers start anywhere, so that the same number in a new file is not the same message."""
    starts = set()
    for name in "abc":
        table = Table(tmp_path / name)
        table.put()
        starts.add(table.number("SELECT no FROM messages"))
        table.connection.close()
    assert len(starts) == 3


# Claims ---------------------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(
    lines=st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 9)), max_size=60),
    served=st.one_of(st.none(), st.lists(st.sampled_from("abcde"), max_size=6)),
    want=st.integers(1, 40),
)
def test_claims_come_in_order(tmp_path_factory, lines, served, want):
    """By priority, then by the queues as listed (none listed: all alike), then by the order of put."""
    table = Table(tmp_path_factory.mktemp("claims") / "t.db")
    table.beat()
    messages = [message(queue=queue, priority=priority) for queue, priority in lines]
    table.step(puts.put, messages, None)
    order = list(dict.fromkeys("abcd" if served is None else served))
    rank = {
        item.id: (-item.priority, served is not None and order.index(item.queue), at)
        for at, item in enumerate(messages)
        if item.queue in order
    }
    given_out = table.claim(want, None if served is None else tuple(served))
    table.connection.close()
    assert [claim.id for claim in given_out] == sorted(rank, key=rank.__getitem__)[:want]


# Workers --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "watched", "verdict"),
    [
        (0.0, None, Verdict.ALIVE),
        (19.9, 500.0, Verdict.ALIVE),
        (20.0, None, Verdict.SUSPECT),
        (900.0, None, Verdict.SUSPECT),
        (29.9, 11.1, Verdict.WATCHED),
        (40.0, 10.9, Verdict.WATCHED),
        (31.0, 11.1, Verdict.DEAD),
    ],
)
def test_a_worker_is_judged_by_two_looks(age, watched, verdict):
    """Suspected at two thirds of a lease of 30 s, given up 1.1 beats after that and a whole lease after the last."""
    assert judge(30.0, age, watched) is verdict


def test_a_clock_that_was_set_back_delays_a_rescue_by_no_more_than_a_lease(table):
    """A beat that lies in the future is brought back to now, or a dead worker would be waited for until then."""
    table.beat()
    table.put()
    table.claim(1)
    table.clock.advance(-3600)
    rescued = 0
    for _ in range(4):
        rescued += table.sweep().rescued
        table.clock.advance(20)
    assert rescued == 1


# Workflows ------------------------------------------------------------------------------------------------------------


def test_many_dependents_are_cancelled_in_batches(table):
    """MAX_BATCH with the failure, the rest by sweeps, and none of them is claimed meanwhile."""
    table.beat()
    parent = table.put()[0]
    table.put(1100, waits_on=(parent.id,))
    assert table.settle(Outcome.failure(table.claim(1)[0], ERROR)) == [Settled.SETTLED]
    assert table.stages() == {Stage.ENDED: 1 + MAX_BATCH, Stage.BLOCKED: 1100 - MAX_BATCH}
    assert table.claim(10) == []
    assert [table.sweep().cancelled for _ in range(3)] == [500, 100, 0]
    assert table.stages() == {Stage.ENDED: 1101}
    assert table.number("SELECT count(*) FROM fallen") == 0


def test_what_waits_for_a_purged_message_is_cancelled_to_the_last(table):
    """Also when the parent is gone before the sweep goes on; and no edge stays behind."""
    parent = table.put(queue="doomed")[0]
    table.put(700, waits_on=(parent.id,))
    assert table.step(operations.purge_some, "doomed", (TaskStatus.PENDING,)) == 1
    assert table.sweep().cancelled == 200
    assert table.stages() == {Stage.ENDED: 700}
    assert table.number("SELECT count(*) FROM edges") == 0


def test_what_comes_back_is_not_cancelled_by_a_later_sweep(table):
    """A requeue of the parent stops the cancelling of those that still wait, and revives the others."""
    table.beat()
    parent = table.put()[0]
    table.put(700, waits_on=(parent.id,))
    table.settle(Outcome.failure(table.claim(1)[0], ERROR))
    assert table.step(requeue.requeue, [parent.id]) == [True]
    assert table.sweep().cancelled == 0
    assert table.stages() == {Stage.READY: 1, Stage.BLOCKED: 700}
    table.settle(Outcome.success(table.claim(1)[0], b"r"))
    assert table.stages() == {Stage.ENDED: 1, Stage.READY: 700}


def test_a_group_of_many_is_counted_down_to_its_end(table):
    """Its parents finish in batches, and the last of them readies the one that waits for all."""
    table.beat()
    parents = table.put(900)
    table.put(waits_on=tuple(item.id for item in parents), queue="callback")
    while held := table.claim(300, ("default",)):
        assert table.claim(1, ("callback",)) == []
        table.settle(*(Outcome.success(claim, b"r") for claim in held))
    assert len(table.claim(1, ("callback",))) == 1


@pytest.mark.parametrize("size", [0, 1, SHORT, SHORT + 1, 100_000])
def test_an_envelope_comes_back_whatever_its_length(table, size):
    """Short ones stand in the message's row, long ones apart, and one put may hold both."""
    table.beat()
    whole = bytes(range(256)) * (size // 256 + 1)
    table.step(puts.put, [message(body=whole[:size]), message(body=b"")], None)
    table.put(body=whole[:size], unique_key="k")
    assert [claim.body for claim in table.claim(3)] == [whole[:size], b"", whole[:size]]


def test_a_number_is_never_given_twice(table):
    """Not even when the message that had the last one is forgotten, nor when one is put back in line."""
    table.beat()
    first = table.put()[0]
    one = table.number("SELECT no FROM messages")
    table.step(operations.cancel, (first.id,), b"")
    assert table.step(operations.delete, (first.id,)) == 1
    second = table.put()[0]
    two = table.number("SELECT no FROM messages")
    table.step(operations.cancel, (second.id,), b"")
    table.step(requeue.requeue, (second.id,))
    back = table.number("SELECT seq FROM messages")
    table.put()
    assert one < two < back < table.number("SELECT max(no) FROM messages")


def test_storing_a_message_leaves_the_counters_alone(table):
    """Its row says all, which spares the commit a page; the order of the line holds all the same."""
    before = table.number("SELECT seq FROM counters"), table.number("SELECT wakes FROM counters")
    messages = table.put(3) + table.put(unique_key="k")
    assert (table.number("SELECT seq FROM counters"), table.number("SELECT wakes FROM counters")) == before
    table.beat()
    assert [claim.id for claim in table.claim(4)] == [one.id for one in messages]


def test_a_lock_taken_before_the_machine_started_anew_is_held_by_nobody(table):
    """Its clock has begun again, so what was taken then seems to be taken in the future."""
    assert table.step(timetable.acquire, "l", "a", 3600.0) is not None
    assert table.step(timetable.acquire, "l", "b", 60.0) is None
    table.clock.advance(-1_000_000)
    assert table.step(timetable.extend, "l", "a", 60.0) is None
    assert table.step(timetable.acquire, "l", "b", 60.0) is not None
    assert table.step(timetable.release, "l", "b")


# Expiry ---------------------------------------------------------------------------------------------------------------


def test_nothing_of_what_expired_stays_behind(table):
    """Rows, envelopes, unique keys and edges go together."""
    table.beat()
    long = bytes(SHORT + 1)
    first = table.put(unique_key="k", result_ttl=10.0, body=long)[0]
    table.put(unique_key="l", body=long)
    table.put(waits_on=(first.id,), body=long)
    table.settle(Outcome.success(table.claim(1)[0], b"r"))
    table.settle(Outcome.failure(table.claim(1)[0], ERROR))
    table.settle(Outcome.success(table.claim(1)[0], b"r"))
    table.clock.advance(11)
    assert table.sweep() == Swept(expired=1)
    assert table.number("SELECT count(*) FROM bodies") == 2
    table.clock.advance(DAY)
    assert table.sweep().deleted == 2
    table.clock.advance(DEAD_LETTER_TTL)
    assert table.sweep().deleted == 1
    assert (
        table.number(
            "SELECT (SELECT count(*) FROM messages) + (SELECT count(*) FROM bodies) + (SELECT count(*) FROM uniques) "
            "+ (SELECT count(*) FROM edges)"
        )
        == 0
    )


def test_a_sweep_of_much_is_done_in_parts(table):
    """At most MAX_BATCH of one kind in a step or little more, and all in the end."""
    table.beat()
    table.put(1300)
    while held := table.claim(300):
        table.settle(*(Outcome.success(claim, b"r") for claim in held))
    table.clock.advance(DAY + 1)
    steps = [table.sweep().deleted for _ in range(4)]
    assert steps == [500, 500, 300, 0]
