"""Settings of a queue, and the environment behind them."""

from datetime import timedelta

import pytest

from reinhardt_tasks.config import QueueConfig, masked, url_from, with_environment
from reinhardt_tasks.errors import ConfigurationError

KEY = "k" * 32


def test_the_defaults_are_those_of_the_manual() -> None:
    """Three retries, results kept for a day, three losses, one MiB."""
    config = QueueConfig()
    assert (config.name, config.max_retries, config.result_ttl) == ("default", 3, 86_400.0)
    assert (config.max_losses, config.max_size, config.imports, config.secret_keys) == (3, 1 << 20, (), ())


def test_lists_and_durations_take_one_form() -> None:
    """A timedelta becomes seconds, a list a tuple."""
    config = QueueConfig(result_ttl=timedelta(hours=1), imports=["a", "b"])
    assert (config.result_ttl, config.imports) == (3600.0, ("a", "b"))


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"name": "a b"}, "queue"),
        ({"max_retries": -1}, "max_retries"),
        ({"max_retries": True}, "max_retries"),
        ({"max_losses": 0}, "max_losses"),
        ({"max_size": 0}, "max_size"),
        ({"max_size": 1.5}, "max_size"),
        ({"result_ttl": -1}, "result_ttl"),
        ({"imports": "app"}, "imports"),
        ({"secret_keys": KEY}, "secret_keys"),
        ({"encryption_keys": [""]}, "encryption_keys"),
        ({"secret_keys": ["short"]}, "secret_keys"),
        ({"encryption_keys": ["short"]}, "encryption_keys"),
        ({"secret_keys": [b"bytes"]}, "secret_keys"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_by_name(settings, name) -> None:
    """The mistake is found where it is made, not when the first message is lost."""
    with pytest.raises(ConfigurationError) as caught:
        QueueConfig(**settings)
    assert caught.value.setting == name
    assert name in str(caught.value)


def test_keys_are_never_shown() -> None:
    """Neither in the repr nor in an error."""
    assert KEY not in repr(QueueConfig(secret_keys=[KEY], encryption_keys=[KEY]))
    with pytest.raises(ConfigurationError) as caught:
        QueueConfig(secret_keys=[KEY, ""])
    assert KEY not in str(caught.value)


def test_the_environment_gives_keys_only_where_the_program_gives_none() -> None:
    """Argument before environment."""
    new, old, lock = "n" * 16, "o" * 16, "l" * 16
    environment = {"REINHARDT_TASKS_SECRET_KEYS": f" {new} , {old},", "REINHARDT_TASKS_ENCRYPTION_KEYS": lock}
    given = with_environment(QueueConfig(secret_keys=[KEY], max_retries=1), environment)
    assert (given.secret_keys, given.encryption_keys, given.max_retries) == ((KEY,), (lock,), 1)
    assert with_environment(QueueConfig(), environment).secret_keys == (new, old)
    config = QueueConfig()
    assert with_environment(config, {}) is config


@pytest.mark.parametrize("environment", [{}, {"REINHARDT_TASKS_URL": "  "}])
def test_no_url_is_an_error_that_says_where_to_put_one(environment) -> None:
    """Never a silent local file."""
    with pytest.raises(ConfigurationError, match="REINHARDT_TASKS_URL"):
        url_from(environment)
    assert url_from({"REINHARDT_TASKS_URL": " memory:// "}) == "memory://"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///tasks.db", "sqlite:///tasks.db"),
        ("redis://:secret@host:1/0", "redis://:***@host:1/0"),
        ("postgresql://ada:se:c@ret@host/db", "postgresql://ada:***@host/db"),
        ("redis://host/0?password=secret&x=1", "redis://host/0?password=***&x=1"),
        ("amqp://host/?ssl_password=secret", "amqp://host/?ssl_password=***"),
        ("redis://host:6379/0", "redis://host:6379/0"),
        (" redis://u:secret@h", " redis://u:***@h"),
        ("redis://h?secret_key=secret&db=1", "redis://h?secret_key=***&db=1"),
    ],
)
def test_a_shown_url_has_no_password(url, shown) -> None:
    """Rather too much is hidden than too little."""
    assert masked(url) == shown
