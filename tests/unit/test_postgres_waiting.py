"""How often one looks who waits for PostgreSQL: seldom, unless a notification may be held back."""

from __future__ import annotations

import asyncio

import pytest

from reinhardt_tasks.backends.postgres.bell import ANY_QUEUE, ENDS, Bell, queue
from reinhardt_tasks.backends.postgres.watch import SOON, Hint, Patience


def test_after_a_ring_from_elsewhere_the_next_may_be_held_back() -> None:
    """Of the same topic, and of any queue; other topics ring at once."""
    bell = Bell()
    bell.heard(queue("mail"))
    assert [bell.holds_back([topic]) for topic in (queue("mail"), ANY_QUEUE, queue("web"), ENDS)] == [
        True,
        True,
        False,
        False,
    ]


def test_own_rings_are_never_held_back() -> None:
    """Who waits in the same process is told of each."""
    bell = Bell()
    bell.ring([queue("mail")])
    assert not bell.holds_back([queue("mail")])


def test_a_ring_wakes_whoever_heard_it_from_elsewhere() -> None:
    """Those who wait for the queue, and those who wait for any."""
    bell = Bell()
    with bell.listening([queue("mail")]) as one, bell.listening([ANY_QUEUE]) as any_queue:
        bell.heard(queue("mail"))
        assert one.is_set()
        assert any_queue.is_set()


@pytest.mark.parametrize(("hint", "reason"), [(Hint.AT_ONCE, False), (Hint.HELD_BACK, True), (Hint.NEVER, True)])
def test_at_the_end_one_looks_once_more_only_where_a_ring_may_be_missing(hint: Hint, *, reason: bool) -> None:
    """What rings at once has not happened where nothing rang."""

    async def sleep() -> bool:
        return await Patience(0.01).sleep(asyncio.Event(), hint)

    assert asyncio.run(sleep()) is reason


def test_a_worker_looks_more_often_than_others_while_a_ring_may_be_held_back() -> None:
    """After a tenth of the time that it has waited; others, of whom there may be many, after as long again."""

    async def looks(share: float) -> int:
        patience, count = Patience(0.5, share=share), 0
        while patience.left > 0:
            await patience.sleep(asyncio.Event(), Hint.HELD_BACK)
            count += 1
        return count

    assert asyncio.run(looks(SOON)) > asyncio.run(looks(1.0)) > 1
