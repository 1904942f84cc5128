"""What `put` promises."""
# ruff: noqa: S101 - these are tests

from __future__ import annotations

import msgspec
import pytest

from reinhardt_tasks.contract import MAX_BATCH
from reinhardt_tasks.message import Outcome, Put
from reinhardt_tasks.status import TaskStatus
from reinhardt_tasks.testing.conformance.bench import Stage, ids, message, promise


class Producers:
    """Storing messages."""

    @promise()
    async def test_what_was_put_is_pending(self, stage: Stage) -> None:
        """A message is PENDING, with what it was put with, from the moment `put` returns."""
        put = await stage.put_one(name="mail.send", queue="mail", priority=7)
        record = await stage.record(put)
        assert (record.id, record.name, record.queue, record.priority) == (put.id, "mail.send", "mail", 7)
        assert (record.status, record.attempts, record.losses, record.waiting_on) == (TaskStatus.PENDING, 0, 0, 0)
        assert record.created_at == record.updated_at
        assert (record.finished_at, record.result, record.error, record.worker) == (None, None, None, None)

    @promise()
    async def test_put_answers_each_message_in_order(self, stage: Stage) -> None:
        """Each new message is answered by its own id, as created."""
        messages = [message() for _ in range(3)]
        assert await stage.put(*messages) == [Put(id, created=True) for id in ids(messages)]

    @promise()
    async def test_messages_are_stored_in_order(self, stage: Stage) -> None:
        """What one call puts is claimed in the order of the call, whatever the ids."""
        messages = [message() for _ in range(5)]
        await stage.put(*reversed(messages))
        claims = await (await stage.hand()).claim(5)
        assert ids(claims) == ids(messages)[::-1]

    @promise()
    async def test_putting_nothing_is_allowed(self, stage: Stage) -> None:
        """No messages, no answers."""
        assert await stage.put() == []

    @promise()
    async def test_a_known_id_is_not_stored_again(self, stage: Stage) -> None:
        """A repeated enqueue is recognised by its id, and the first one stands."""
        first = await stage.put_one(priority=3)
        again = msgspec.structs.replace(first, priority=8)
        repeat, other = await stage.put(again, message())
        assert repeat == Put(first.id, created=False)
        assert other.created
        assert (await stage.record(first)).priority == 3
        assert len(await (await stage.hand()).claim(10)) == 2

    @promise()
    async def test_an_id_repeated_within_the_call_is_stored_once(self, stage: Stage) -> None:
        """The second of two messages with one id is a repeat of the first."""
        put = message()
        assert [answer.created for answer in await stage.put(put, put)] == [True, False]
        assert len(await (await stage.hand()).claim(10)) == 1

    @promise()
    async def test_an_id_stays_known_after_it_finished(self, stage: Stage) -> None:
        """A late repeat of an enqueue does not run the message a second time."""
        put = await stage.put_one()
        hand = await stage.hand()
        await hand.settle(Outcome.success(await hand.claim_one(), b"done"))
        await stage.sweep()
        assert await stage.put(put) == [Put(put.id, created=False)]
        assert await stage.status(put) is TaskStatus.SUCCESS
        assert await hand.claim(10) == []

    @promise()
    async def test_a_full_batch_is_stored(self, stage: Stage) -> None:
        """MAX_BATCH messages go in one call."""
        messages = await stage.put_new(MAX_BATCH)
        assert None not in await stage.backend.get(ids(messages))

    @promise()
    async def test_more_than_a_batch_is_refused_whole(self, stage: Stage) -> None:
        """One message more than MAX_BATCH is a ValueError, and nothing of it is stored."""
        messages = [message() for _ in range(MAX_BATCH + 1)]
        with pytest.raises(ValueError, match=str(MAX_BATCH)):
            await stage.put(*messages)
        assert await stage.backend.get(ids(messages[:3])) == [None] * 3

    @promise()
    async def test_the_body_comes_back_byte_for_byte(self, stage: Stage) -> None:
        """The envelope is opaque: every byte value comes back as it was, to readers who ask and to the worker."""
        body = bytes(range(256)) * 3
        put = await stage.put_one()
        odd = msgspec.structs.replace(message(), body=body)
        await stage.put(odd)
        seen = await stage.backend.get((odd.id, put.id), body=True)
        assert [record and record.body for record in seen] == [body, put.body]
        claims = await (await stage.hand()).claim(2)
        assert {claim.id: claim.body for claim in claims} == {odd.id: body, put.id: put.body}

    @promise()
    async def test_names_may_hold_any_text(self, stage: Stage) -> None:
        """Quotes, braces and letters of any script in a queue's or task's name are text, nothing else."""
        for odd in ("q'; DROP TABLE messages; --", "{tag}:*?[a]", "очередь 任务 🐍", "a%sb{0}"):
            put = await stage.put_one(name=odd, queue=odd)
            (claim,) = await (await stage.hand()).claim(5, [odd])
            assert claim.id == put.id
            assert (await stage.record(put)).name == odd

    @promise()
    async def test_every_instance_sees_what_was_put(self, stage: Stage) -> None:
        """An acknowledged message belongs to the store, not to the instance that put it."""
        put = await stage.put_one()
        for other in (await stage.another(), stage.backend.sibling()):
            async with other:
                assert await other.get_status(put.id) is TaskStatus.PENDING

    @promise()
    async def test_messages_outlive_the_instance_that_put_them(self, stage: Stage) -> None:
        """Closing an instance takes nothing with it."""
        producer = stage.backend.sibling()
        put = message()
        async with producer:
            await producer.enqueue(put)
        assert await stage.status(put) is TaskStatus.PENDING

    @promise()
    async def test_a_closed_instance_may_be_opened_again(self, stage: Stage) -> None:
        """Opening twice and closing twice do nothing more; an instance closed and opened again works."""
        put = await stage.put_one()
        for _ in range(2):
            await stage.backend.open()
        for _ in range(2):
            await stage.backend.close()
        await stage.backend.open()
        assert await stage.status(put) is TaskStatus.PENDING

    @promise()
    async def test_check_tells_what_an_operator_should_know(self, stage: Stage) -> None:
        """`check` answers texts."""
        told = await stage.backend.check()
        assert {type(text) for pair in told.items() for text in pair} == {str}
