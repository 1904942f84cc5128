"""What a backend cannot do it says, and never ignores."""
# ruff: noqa: S101 - these are tests

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from reinhardt_tasks.contract import TaskBackend
from reinhardt_tasks.errors import UnsupportedError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import AnyMessage, Guard, ScheduleRecord
from reinhardt_tasks.testing.conformance.bench import LONG, Feature, Stage, message, promise

Attempt = Callable[[TaskBackend, AnyMessage], Awaitable[object]]


def _put(**options: Any) -> Attempt:
    """An attempt to put a message with these options."""
    return lambda backend, _: backend.put((message(**options),))


_ATTEMPTS: dict[Feature, list[Attempt]] = {
    Feature.DELAYS: [_put(delay=5.0), _put(run_at=4e9)],
    Feature.UNIQUE_KEYS: [_put(unique_key="k"), _put(unique_key="k", unique_for=5.0)],
    Feature.WORKFLOWS: [
        lambda backend, known: backend.put((message(waits_on=(known.id,)),)),
        _put(held=True, workflow=TaskId.new()),
        lambda backend, known: backend.start_workflow(known.id),
    ],
    Feature.SCHEDULES: [
        lambda backend, _: backend.save_schedule(ScheduleRecord(name="s", spec=b"1")),
        lambda backend, _: backend.load_schedules(),
        lambda backend, _: backend.put((message(),), guard=Guard("s", None, 1.0)),
    ],
    Feature.LOCKS: [lambda backend, _: backend.acquire_lock("l", "t", 5.0)],
    Feature.RESULTS: [lambda backend, known: backend.wait_result(known.id, LONG)],
    Feature.LISTING: [lambda backend, _: backend.find()],
    Feature.CONNECTIONS: [lambda backend, _: backend.put((message(),), connection=object())],
}


class Lacking:
    """Options that are refused."""

    @promise()
    async def test_what_a_backend_lacks_it_refuses_by_name(self, stage: Stage) -> None:
        """UnsupportedError names the option, the backend and a way out, and nothing is stored."""
        if not stage.bench.lacks:
            pytest.skip("this backend lacks nothing")
        known = await stage.put_one()
        for feature in stage.bench.lacks:
            for attempt in _ATTEMPTS[feature]:
                with pytest.raises(UnsupportedError) as caught:
                    await attempt(stage.backend, known)
                assert caught.value.backend == stage.backend.name
                assert caught.value.option
                assert caught.value.instead
        assert len(await (await stage.hand()).claim(9)) == 1
