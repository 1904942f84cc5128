"""What a worker opens once and its tasks use: `@queue.lifespan`, `Depends(provider)`, and the context of both."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from types import MappingProxyType, TracebackType
from typing import Any, Generic, TypeVar, cast

from reinhardt_tasks.errors import ConfigurationError, QueueError
from reinhardt_tasks.names import default_name, place_of

T = TypeVar("T")


class Provider(Generic[T]):
    """An async generator function that yields one value: it opens it before `yield` and closes it behind."""

    __slots__ = ("function", "name")

    def __init__(self, function: Callable[[], AsyncIterator[T]]) -> None:
        if not inspect.isasyncgenfunction(function):
            raise ConfigurationError(
                f"the provider at {place_of(function)} is no async generator function; use async def and yield",
                setting="lifespan",
            )
        if inspect.signature(function).parameters:
            raise ConfigurationError(
                f"the provider at {place_of(function)} takes parameters; it is called without any", setting="lifespan"
            )
        self.function = function
        self.name = default_name(function)

    def __repr__(self) -> str:
        return f"<Provider {self.name}>"


class Dependency(Generic[T]):
    """The default of a parameter that a worker fills in from `provider`."""

    __slots__ = ("provider",)

    def __init__(self, provider: Provider[T]) -> None:
        self.provider = provider

    def __repr__(self) -> str:
        return f"Depends({self.provider.name})"


def Depends(provider: Provider[T], /) -> T:  # noqa: N802 - reads as a type, as it stands where a value of one will be
    """The default of a parameter that a worker fills in with the value of `provider`.

    Written `db: Pool = Depends(pool)`. Never given at enqueue; code that calls the function itself passes a value of
    its own, as in `db=fake`.
    """
    if not isinstance(provider, Provider):
        raise ConfigurationError(
            f"Depends takes what @queue.lifespan made, not {provider!r}; put @queue.lifespan above the function",
            setting="Depends",
        )
    return cast("T", Dependency(provider))


def providers_in(parameters: Mapping[str, inspect.Parameter]) -> Mapping[str, Provider[Any]]:
    """The providers that the defaults of `parameters` name, by parameter."""
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    return MappingProxyType({name: value.provider for name, value in defaults.items() if isinstance(value, Dependency)})


class Lifespans:
    """Providers while they are open: each is entered once, in order, and left in reverse.

    A provider that fails to open closes those before it. Every one is closed, whatever the others raise. Raises
    QueueError naming the provider, from the provider's own error; what happens in the body is not told to the
    providers.
    """

    def __init__(self, providers: Iterable[Provider[Any]]) -> None:
        self._providers = tuple(providers)
        self._entered: list[tuple[Provider[Any], AsyncIterator[Any]]] = []

    async def __aenter__(self) -> Mapping[Provider[Any], object]:
        values: dict[Provider[Any], object] = {}
        try:
            for provider in self._providers:
                generator = provider.function()
                values[provider] = await _open(provider, generator)
                self._entered.append((provider, generator))
        except BaseException as error:
            await self._close_all(error)
            raise
        return values

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        failed = await self._close_all(error)
        if failed is not None and error is None:
            raise failed

    async def _close_all(self, first: BaseException | None) -> BaseException | None:
        """Close what is open; the first error there was (`first`, if given), with the later ones as its notes."""
        while self._entered:
            try:
                await _close(*self._entered.pop())
            except BaseException as error:  # noqa: BLE001 - also when cancelled, the rest is closed before it goes on
                if first is None:
                    first = error
                else:
                    first.add_note(str(error))
        return first


async def _open(provider: Provider[T], generator: AsyncIterator[T]) -> T:
    try:
        return await anext(generator)
    except StopAsyncIteration:
        raise QueueError(
            f"the lifespan provider {provider.name} ended without yielding a value; let it `yield` once"
        ) from None
    except Exception as error:
        raise QueueError(f"the lifespan provider {provider.name} could not be opened: {error!r}") from error


async def _close(provider: Provider[T], generator: AsyncIterator[T]) -> None:
    try:
        await anext(generator)
    except StopAsyncIteration:
        return
    except Exception as error:
        raise QueueError(f"the lifespan provider {provider.name} could not be closed: {error!r}") from error
    if isinstance(generator, AsyncGenerator):
        await generator.aclose()
    raise QueueError(f"the lifespan provider {provider.name} yielded a second time; let it `yield` once")
