"""Locks by name, held under a token for a while."""
# ruff: noqa: S101 - these are tests

from __future__ import annotations

import asyncio

import pytest

from reinhardt_tasks.testing.conformance.bench import Feature, Stage, promise

_NEED = Feature.LOCKS


class Locks:
    """`acquire_lock`, `extend_lock`, `release_lock`."""

    @promise(_NEED)
    async def test_a_lock_keeps_others_out(self, stage: Stage) -> None:
        """While one token holds it, another is given nothing; locks of other names are free."""
        lock = await stage.backend.acquire_lock("l", "mine", stage.lease)
        assert lock is not None
        assert (lock.name, lock.token) == ("l", "mine")
        other = await stage.another()
        assert await other.acquire_lock("l", "theirs", stage.lease) is None
        assert await other.acquire_lock("other", "theirs", stage.lease) is not None

    @promise(_NEED)
    async def test_a_lock_runs_out(self, stage: Stage) -> None:
        """After `ttl` seconds it is free, for a holder that died."""
        await stage.backend.acquire_lock("l", "dead", stage.moment)
        await stage.advance(stage.moment)
        assert await stage.backend.acquire_lock("l", "alive", stage.lease) is not None
        assert await stage.backend.extend_lock("l", "dead", stage.lease) is None
        assert await stage.backend.release_lock("l", "dead") is False
        assert await stage.backend.acquire_lock("l", "third", stage.lease) is None

    @promise(_NEED)
    async def test_the_holder_may_acquire_again(self, stage: Stage) -> None:
        """Its own call extends the lock, so that a repeat after an unknown outcome is safe."""
        first = await stage.backend.acquire_lock("l", "mine", stage.moment)
        second = await stage.backend.acquire_lock("l", "mine", 3 * stage.moment)
        assert first is not None
        assert second is not None
        assert second.until - first.until == pytest.approx(2 * stage.moment, rel=0.2)
        await stage.advance(stage.moment)
        assert await stage.backend.acquire_lock("l", "theirs", stage.lease) is None

    @promise(_NEED)
    async def test_an_extended_lock_lasts_longer(self, stage: Stage) -> None:
        """`ttl` seconds from the extension."""
        await stage.backend.acquire_lock("l", "mine", 2 * stage.moment)
        await stage.advance(stage.moment)
        assert await stage.backend.extend_lock("l", "mine", 2 * stage.moment) is not None
        await stage.advance(1.5 * stage.moment)
        assert await stage.backend.acquire_lock("l", "theirs", stage.lease) is None
        await stage.advance(stage.moment)
        assert await stage.backend.acquire_lock("l", "theirs", stage.lease) is not None

    @promise(_NEED)
    async def test_a_lock_that_ran_out_cannot_be_extended(self, stage: Stage) -> None:
        """Nobody else has it, but it is no longer held: the holder must know."""
        await stage.backend.acquire_lock("l", "mine", stage.moment)
        await stage.advance(stage.moment)
        assert await stage.backend.extend_lock("l", "mine", stage.lease) is None
        assert await stage.backend.release_lock("l", "mine") is False

    @promise(_NEED)
    async def test_only_the_holder_extends_and_releases(self, stage: Stage) -> None:
        """Another token changes nothing."""
        await stage.backend.acquire_lock("l", "mine", stage.lease)
        assert await stage.backend.extend_lock("l", "theirs", stage.lease) is None
        assert await stage.backend.release_lock("l", "theirs") is False
        assert await stage.backend.acquire_lock("l", "theirs", stage.lease) is None

    @promise(_NEED)
    async def test_a_released_lock_is_free(self, stage: Stage) -> None:
        """At once; releasing twice says that it was no longer held."""
        await stage.backend.acquire_lock("l", "mine", stage.lease)
        assert [await stage.backend.release_lock("l", "mine") for _ in range(2)] == [True, False]
        assert await stage.backend.acquire_lock("l", "theirs", stage.lease) is not None

    @promise(_NEED)
    async def test_a_lock_that_was_never_taken_is_not_held(self, stage: Stage) -> None:
        """Neither extended nor released."""
        assert await stage.backend.extend_lock("none", "mine", stage.lease) is None
        assert await stage.backend.release_lock("none", "mine") is False

    @promise(_NEED)
    async def test_a_race_for_a_lock_has_one_winner(self, stage: Stage) -> None:
        """Of many tokens that ask at once, one is given it."""
        instances = [await stage.another() for _ in range(4)]
        asked = [instances[n % 4].acquire_lock("l", f"token{n}", stage.lease) for n in range(12)]
        given = [lock for lock in await asyncio.gather(*asked) if lock is not None]
        assert len(given) == 1
        assert await stage.backend.release_lock("l", given[0].token) is True
