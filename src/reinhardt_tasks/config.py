"""Settings of a queue: `QueueConfig`, and the environment variables that stand in where the program says nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from reinhardt_tasks.codec import Seal
from reinhardt_tasks.errors import ConfigurationError
from reinhardt_tasks.names import check_own_queue
from reinhardt_tasks.retry import Seconds, seconds

URL_VARIABLE: Final = "REINHARDT_TASKS_URL"
_CREDENTIALS: Final = re.compile(r"(?P<user>^\s*[A-Za-z][A-Za-z0-9+.-]*://[^:@/]*):.*@", re.DOTALL)
_SECRET_OPTION: Final = re.compile(r"(?i)(?P<name>[?&;]\w*(?:password|passwd|secret|token)\w*=)[^&;]*")


@dataclass(frozen=True, kw_only=True)
class QueueConfig:
    """Settings of a TaskQueue. Raises ConfigurationError naming a setting that cannot work.

    `name` is the queue of tasks that name none. `max_retries` is how often a task without a strategy of its own runs
    again. `result_ttl` is how long results are kept, in seconds; `max_losses` how many workers may die under one
    message before it is a dead letter; `max_size` the most bytes the arguments of a call, or a result, may take.
    `imports` names modules a worker imports so that their tasks are known. `secret_keys` sign what is sent, the first
    one, and accept what was signed with any; `encryption_keys` encrypt it likewise.
    """

    name: str = "default"
    max_retries: int = 3
    result_ttl: Seconds = 86_400.0
    max_losses: int = 3
    max_size: int = 1 << 20
    imports: Sequence[str] = ()
    secret_keys: Sequence[str] = field(default=(), repr=False)
    encryption_keys: Sequence[str] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        check_own_queue(self.name)
        _whole(self.max_retries, "max_retries", at_least=0)
        _whole(self.max_losses, "max_losses", at_least=1)
        _whole(self.max_size, "max_size", at_least=1)
        try:
            object.__setattr__(self, "result_ttl", seconds(self.result_ttl, what="result_ttl"))
        except ValueError as error:
            raise ConfigurationError(str(error), setting="result_ttl") from None
        for setting in ("imports", "secret_keys", "encryption_keys"):
            object.__setattr__(self, setting, _texts(getattr(self, setting), setting))
        Seal(self.secret_keys, self.encryption_keys)  # raises for keys that cannot be used


def _whole(value: object, setting: str, *, at_least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise ConfigurationError(f"{setting} is a whole number, {at_least} or more, not {value!r}", setting=setting)


def _texts(value: object, setting: str) -> tuple[str, ...]:
    """`value` as a tuple of texts. The values are not repeated in the error: they may be keys."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ConfigurationError(f"{setting} takes a list of texts, as in {setting}=['…']", setting=setting)
    if not all(isinstance(text, str) and text for text in value):
        raise ConfigurationError(f"each of {setting} is a text that is not empty", setting=setting)
    return tuple(value)


def with_environment(config: QueueConfig, environment: Mapping[str, str] = os.environ) -> QueueConfig:
    """`config`, with keys from the environment (separated by commas) where it has none of its own."""
    secret = config.secret_keys or _keys_in(environment, "REINHARDT_TASKS_SECRET_KEYS")
    encryption = config.encryption_keys or _keys_in(environment, "REINHARDT_TASKS_ENCRYPTION_KEYS")
    if (secret, encryption) == (config.secret_keys, config.encryption_keys):
        return config
    return replace(config, secret_keys=secret, encryption_keys=encryption)


def _keys_in(environment: Mapping[str, str], variable: str) -> tuple[str, ...]:
    return tuple(key.strip() for key in environment.get(variable, "").split(",") if key.strip())


def url_from(environment: Mapping[str, str] = os.environ) -> str:
    """The URL in REINHARDT_TASKS_URL. Raises ConfigurationError when there is none."""
    url = environment.get(URL_VARIABLE, "").strip()
    if url:
        return url
    raise ConfigurationError(
        f"this queue has no URL; give one, as in TaskQueue('sqlite:///tasks.db') or queue.configure(…), "
        f"or set {URL_VARIABLE}",
        setting="url",
    )


def masked(url: str) -> str:
    """`url` with its password, and options that hold one, as `***`; rather too much is hidden than too little."""
    return _SECRET_OPTION.sub(r"\g<name>***", _CREDENTIALS.sub(r"\g<user>:***@", url))
