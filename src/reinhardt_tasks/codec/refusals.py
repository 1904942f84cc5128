"""From what went wrong inside the codec to an error that names the task, the place and the remedy."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from reinhardt_tasks.codec.limits import Limits
from reinhardt_tasks.codec.misfit import Misfit, too_deep
from reinhardt_tasks.errors import (
    BadPayloadError,
    InvalidTextError,
    PayloadTooDeepError,
    PayloadTooLargeError,
    SerializationError,
    UnencodableError,
)

_PLACED = re.compile(r"^(.*) - at `(?:key` in `)?\$(.*)`$", re.DOTALL)
_DAMAGED = "It is damaged, or was written for another version of the task: deploy that one and requeue it, or delete it"
_E = TypeVar("_E", bound=SerializationError)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands: the task's name, and the place in its call or its result."""

    name: str | None
    where: str

    def refuse(self, kind: type[_E], text: str, path: str = "", **facts: Any) -> _E:
        """An error of class `kind` whose text starts with this place, extended by `path`."""
        return kind(self.sentence(text, path), name=self.name, where=self.where + path, **facts)

    def sentence(self, text: str, path: str = "") -> str:
        """The place and what is said about it."""
        task = f"Task {self.name}: " if self.name else ""
        return f"{task}{self.where}{path} {text.rstrip('.')}."

    def unfit(self, misfit: Misfit) -> SerializationError:
        """The error for a value that cannot travel."""
        text = f"{misfit.text}. {misfit.remedy}"
        return self.refuse(misfit.kind or UnencodableError, text, misfit.path, **misfit.facts)

    def damaged(self, text: str, path: str = "") -> BadPayloadError:
        """The error for bytes that do not decode to what is declared here."""
        return self.refuse(BadPayloadError, f"cannot be read: {text}. {_DAMAGED}", path)


def problem_in(error: SerializationError) -> str | None:
    """What bytes did not decode for, as a sentence without its end and without what to do; None for any other error."""
    text, advice = str(error), f". {_DAMAGED}."
    return text.removesuffix(advice) if text.endswith(advice) else None


def placed(error: msgspec.ValidationError) -> tuple[str, str]:
    """What msgspec says, and the path within the value that it says it about."""
    match = _PLACED.match(str(error))
    return (match[1], match[2]) if match else (str(error), "")


def unencodable(place: Place, error: Exception, limits: Limits) -> SerializationError:
    """The error for a value that was refused while it was looked through or encoded."""
    match error:
        case Misfit():
            misfit = error
        case UnicodeEncodeError():
            misfit = Misfit(
                InvalidTextError,
                "holds text that is not Unicode (a lone surrogate)",
                "Clean it, or pass it as bytes",
            )
        case OverflowError():
            misfit = Misfit(
                UnencodableError,
                "holds an integer outside -2**63 … 2**64-1",
                "Declare it str or Decimal, and pass it as one",
                given="int",
            )
        case RecursionError():
            misfit = too_deep(limits.max_depth)
        case _:
            misfit = Misfit(
                UnencodableError, f"does not come back: {type(error).__name__}: {error}", "Correct it, or its class"
            )
    return place.unfit(misfit)


def unreadable(place: Place, error: Exception, limits: Limits) -> SerializationError:
    """The error for bytes that do not decode."""
    match error:
        case RecursionError():
            return place.unfit(too_deep(limits.max_depth))
        case Misfit(kind=kind) if kind in (PayloadTooDeepError, PayloadTooLargeError):
            return place.unfit(error)
        case Misfit():
            return place.damaged(f"it {error.text}", error.path)
        case msgspec.ValidationError():
            return place.damaged(*placed(error))
    return place.damaged(f"{type(error).__name__}: {error}")
