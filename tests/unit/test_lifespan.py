"""Providers: opened once in a worker, in order, closed in reverse, and named in every error."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from reinhardt_tasks.errors import ConfigurationError, QueueError
from reinhardt_tasks.lifespan import Depends, Lifespans, Provider

Book = list[str]


def provider(name: str, book: Book, *, opens: bool = True, closes: bool = True) -> Provider[str]:
    """A provider of its own name that writes what happens to it into `book`."""

    async def function() -> AsyncIterator[str]:
        book.append(f"+{name}")
        if not opens:
            raise OSError(f"{name} is down")
        yield name
        book.append(f"-{name}")
        if not closes:
            raise OSError(f"{name} would not close")

    function.__qualname__ = name
    return Provider(function)


async def test_providers_open_in_order_and_close_in_reverse() -> None:
    """Each gives its value."""
    book: Book = []
    one, two = provider("one", book), provider("two", book)
    async with Lifespans([one, two]) as values:
        assert values == {one: "one", two: "two"}
        book.append("work")
    assert book == ["+one", "+two", "work", "-two", "-one"]


async def test_a_provider_that_fails_to_open_closes_those_before_it() -> None:
    """The error names it and comes from its own."""
    book: Book = []
    providers = [provider("one", book), provider("two", book, opens=False), provider("three", book)]
    with pytest.raises(QueueError, match=r"two could not be opened.*two is down") as caught:
        await Lifespans(providers).__aenter__()
    assert isinstance(caught.value.__cause__, OSError)
    assert book == ["+one", "+two", "-one"]


async def test_all_are_closed_whatever_one_of_them_raises() -> None:
    """The first error is raised, the others are its notes."""
    book: Book = []
    providers = [provider("one", book), provider("two", book, closes=False), provider("three", book, closes=False)]
    with pytest.raises(QueueError, match="three could not be closed") as caught:
        async with Lifespans(providers):
            pass
    assert book[3:] == ["-three", "-two", "-one"]
    assert "two could not be closed" in caught.value.__notes__[0]


async def test_an_error_of_the_work_stays_the_error() -> None:
    """What fails at closing is a note on it; the providers are not told."""
    book: Book = []
    with pytest.raises(ZeroDivisionError) as caught:
        async with Lifespans([provider("one", book, closes=False)]):
            raise ZeroDivisionError
    assert book == ["+one", "-one"]
    assert "one could not be closed" in caught.value.__notes__[0]


async def test_a_cancelled_close_still_closes_the_rest() -> None:
    """Cancellation goes on only when all are closed."""
    book: Book = []

    async def stuck() -> AsyncIterator[str]:
        yield "stuck"
        book.append("closing")
        await asyncio.Event().wait()

    async def work() -> None:
        async with Lifespans([provider("one", book), Provider(stuck)]):
            pass

    working = asyncio.create_task(work())
    await asyncio.sleep(0)
    assert book == ["+one", "closing"]
    working.cancel()
    await asyncio.wait([working])
    assert working.cancelled()
    assert book == ["+one", "closing", "-one"]


async def test_a_provider_yields_exactly_once() -> None:
    """Not at all and twice are errors that name it."""

    async def none() -> AsyncIterator[int]:
        for nothing in ():
            yield nothing

    async def twice() -> AsyncIterator[int]:
        yield 1
        yield 2

    with pytest.raises(QueueError, match=r"none ended without yielding"):
        await Lifespans([Provider(none)]).__aenter__()
    with pytest.raises(QueueError, match=r"twice yielded a second time"):
        async with Lifespans([Provider(twice)]):
            pass


def test_only_an_async_generator_function_without_parameters_is_a_provider() -> None:
    """The error says where the function stands."""

    async def plain() -> int: ...

    async def takes(one: int) -> AsyncIterator[int]:
        yield one

    with pytest.raises(ConfigurationError, match=rf"{__file__}:\d+ is no async generator"):
        Provider(plain)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="takes parameters"):
        Provider(takes)  # type: ignore[arg-type]


def test_depends_takes_a_provider() -> None:
    """Forgetting @queue.lifespan is found at definition."""

    async def pool() -> AsyncIterator[int]:
        yield 1

    with pytest.raises(ConfigurationError, match=r"@queue\.lifespan"):
        Depends(pool)  # type: ignore[arg-type]
    made = Provider(pool)
    assert "test_depends_takes_a_provider.pool" in repr(Depends(made))
    assert repr(made) == f"<Provider {made.name}>"
