"""What Redis's errors mean to a caller: each becomes one of the package's errors, with the server and a remedy."""

from __future__ import annotations

import re
from typing import Final

from redis import exceptions

from reinhardt_tasks.errors import (
    BackendError,
    BackendFullError,
    BackendUnavailableError,
    ConfigurationError,
    TaskError,
)

_NAME: Final = "redis"
_ELSEWHERE: Final = frozenset(
    {
        "ASK",
        "CLUSTERDOWN",
        "LOADING",
        "MASTERDOWN",
        "MOVED",
        "NOREPLICAS",
        "READONLY",
        "TRYAGAIN",
        "UNBLOCKED",
    }
)
"""The codes of a server that is not, or not yet, or no longer the one to ask."""
_CODES: Final[tuple[tuple[type[Exception], str], ...]] = (
    (exceptions.AuthenticationError, "NOAUTH"),
    (exceptions.NoPermissionError, "NOPERM"),
    (exceptions.OutOfMemoryError, "OOM"),
    (exceptions.NoScriptError, "NOSCRIPT"),
    (exceptions.ReadOnlyError, "READONLY"),
    (exceptions.MasterDownError, "MASTERDOWN"),
    (exceptions.ClusterDownError, "CLUSTERDOWN"),
    (exceptions.MovedError, "MOVED"),
    (exceptions.AskError, "ASK"),
    (exceptions.TryAgainError, "TRYAGAIN"),
    (exceptions.BusyLoadingError, "LOADING"),
)
"""redis-py cuts the code off the text of these. A subclass stands before its parent."""
_CODE: Final = re.compile(r"(?:^|@user_script: ?\d+: -?)([A-Z]{3,}) ")
"""At the start, or, before 7.0, behind the place in the script where it arose."""

_NO_RIGHT_IN_SCRIPT: Final = re.compile(r"The user executing the script can't|ACL failure in script")


def code_of(error: BaseException) -> str:
    """The word that an error reply begins with, such as READONLY; empty where it has none."""
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code
    if _NO_RIGHT_IN_SCRIPT.search(str(error)):
        return "NOPERM"
    found = _CODE.findall(str(error))
    return found[-1] if found else ""


def is_elsewhere(error: BaseException) -> bool:
    """Whether another server is the one to ask now, so that this connection has no use any more."""
    return code_of(error) in _ELSEWHERE


def translated(error: BaseException, place: str) -> BaseException:
    """What to raise instead of `error`, which came from the server at `place`; itself where it says enough."""
    fault = _ours(error, place)
    if fault is not None:
        fault.__cause__ = error
    return fault or error


def _ours(error: BaseException, place: str) -> BackendError | None:
    if not isinstance(error, exceptions.RedisError | OSError | EOFError):
        return None
    code = code_of(error)
    if code in _ELSEWHERE:
        return unavailable(place, f"the server answers {code}: {error}")
    if code in _MEANINGS:
        kind, sentence = _MEANINGS[code]
        return kind(sentence.format(place=place, error=error), backend=_NAME, place=place)
    if isinstance(error, exceptions.ConnectionError | exceptions.TimeoutError | OSError | EOFError):
        return unavailable(place, str(error) or type(error).__name__)
    return BackendError(f"Redis at {place} refused a step: {error}", backend=_NAME, place=place)


_MEANINGS: Final[dict[str, tuple[type[BackendError], str]]] = {
    "OOM": (
        BackendFullError,
        (
            "Redis at {place} has used up its maxmemory and takes nothing new; running work can still end, nothing "
            "stored is lost. Let workers catch up, delete what is not needed, or raise maxmemory."
        ),
    ),
    "MISCONF": (
        BackendFullError,
        (
            "Redis at {place} refuses to write because it cannot save to its disk ({error}). Free space there, and see "
            "its log."
        ),
    ),
    "NOPERM": (
        BackendError,
        ("the Redis user at {place} lacks a right: {error}. Grant it with ACL SETUSER."),
    ),
    "NOAUTH": (
        BackendError,
        (
            "Redis at {place} does not accept the user and password of the URL, or wants some: {error}. Write them as "
            "redis://user:password@host."
        ),
    ),
    "BUSY": (
        BackendUnavailableError,
        ("Redis at {place} is busy with a script that does not end: {error}. See SLOWLOG, and SCRIPT KILL."),
    ),
}


def unavailable(place: str, why: str) -> BackendUnavailableError:
    """The server at `place` cannot be reached now, or has not answered."""
    return BackendUnavailableError(
        f"Redis at {place} cannot be reached: {why.rstrip(' .')}. Check that it runs and that the URL is right.",
        backend=_NAME,
        place=place,
    )


def too_few_copies(place: str, confirmed: int, wanted: int) -> BackendUnavailableError:
    """A write is stored at `place`, but too few replicas have it."""
    return BackendUnavailableError(
        f"the write is stored by Redis at {place}, but only {confirmed} of the {wanted} replicas asked for confirmed "
        "it in time. Repeat it, see to the replicas, or lower wait_replicas.",
        backend=_NAME,
        place=place,
    )


def at_open(error: BackendError, kind: str) -> TaskError:
    """What to raise instead of `error` where a backend is opened: a ConfigurationError if waiting will not mend it."""
    code = code_of(error.__cause__) if error.__cause__ is not None else ""
    if kind == "server" and code in _NOT_THIS_ONE:
        return ConfigurationError(f"{error.place} {_NOT_THIS_ONE[code]}", setting="url")
    if isinstance(error, BackendUnavailableError | BackendFullError):
        return error
    return ConfigurationError(str(error), setting="url")


_NOT_THIS_ONE: Final = {
    "READONLY": (
        "is a read-only replica. Name its master, or let sentinels name it: redis+sentinel://host:26379/service."
    ),
    "MOVED": "is one node of a cluster, and another has these keys. Write redis+cluster://host:port.",
    "CLUSTERDOWN": "is one node of a cluster that is not complete. Write redis+cluster://host:port.",
}
