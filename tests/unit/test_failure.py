"""What an exception means for its message: a record of plain text, whatever the exception does."""

from __future__ import annotations

import pytest

from reinhardt_tasks.errors import BadPayloadError, SignatureError, TaskTimeoutError
from reinhardt_tasks.failure import Failure, judge, refusal
from reinhardt_tasks.message import MAX_ERROR_TEXT, ErrorRecord, Reason
from reinhardt_tasks.retry import Retry, RetryStrategy

STRATEGY = RetryStrategy()


def raised(error: BaseException) -> BaseException:
    """The error with the traceback it gets here."""
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001 - whatever it is
        return caught


class SilentError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class LeavingError(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


class NumericError(Exception):
    def __str__(self) -> str:
        return 7  # type: ignore[return-value]  # noqa: PLE0307 - the fault that is tested


class Impatient(Retry):
    """Does not call the constructor it derives from."""

    def __init__(self) -> None:
        Exception.__init__(self, "again, please")


def test_a_record_names_type_text_and_where_it_was_raised():
    """The traceback leads to the line of the task."""
    failure = judge(STRATEGY, raised(ValueError("no such image")))
    assert (failure.record.type, failure.record.message, failure.record.reason) == (
        "ValueError",
        "no such image",
        Reason.FAILED,
    )
    assert "in raised" in failure.record.traceback
    assert failure.retryable
    assert failure.after is None


def test_a_type_of_a_module_is_named_with_it():
    """So that two of the same name are told apart."""
    assert judge(STRATEGY, SilentError()).record.type == f"{__name__}.SilentError"


@pytest.mark.parametrize("kind", [SilentError, LeavingError, NumericError])
def test_an_error_that_cannot_say_itself_still_gives_a_record(kind):
    """Whatever its `__str__` raises: the message has to end all the same."""
    record = judge(STRATEGY, raised(kind())).record
    assert record.message.startswith("(its __str__ raised ")
    assert kind.__name__ in record.traceback


def test_what_no_strategy_retries_is_final():
    """`retry_on` and `give_up_on` decide by kind."""
    picky = RetryStrategy(retry_on=(LookupError,), give_up_on=(KeyError,))
    assert judge(picky, IndexError()).retryable
    assert not judge(picky, KeyError()).retryable
    assert not judge(picky, ValueError()).retryable


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_what_would_end_a_program_is_not_retried_by_default(kind):
    """Those are no Exceptions; a strategy may name them."""
    assert not judge(STRATEGY, kind()).retryable
    assert judge(RetryStrategy(retry_on=(kind,)), kind()).retryable


def test_a_task_that_asks_for_a_retry_gets_its_wait():
    """Whatever kinds the strategy retries."""
    failure = judge(RetryStrategy(retry_on=(LookupError,)), Retry(after=5))
    assert (failure.retryable, failure.after) == (True, 5.0)


def test_a_kind_of_retry_that_never_set_its_wait_is_a_retry():
    """A subclass may have forgotten the constructor of Retry."""
    failure = judge(STRATEGY, raised(Impatient()))
    assert (failure.retryable, failure.after) == (True, None)


def test_a_time_limit_is_told_apart():
    """By the record's reason."""
    assert judge(STRATEGY, TaskTimeoutError("too slow")).record.reason is Reason.TIMEOUT


def test_frames_of_this_package_are_left_out_at_the_top():
    """They say nothing about the task."""

    def through_the_package(value):
        return Failure.decode(value)

    trace = judge(STRATEGY, raised(ValueError("x"))).record.traceback
    assert "reinhardt_tasks/failure.py" not in trace
    with pytest.raises(Exception) as caught:  # noqa: PT011 - any that comes from inside the package
        through_the_package(b"\xc1")
    assert "in through_the_package" in judge(STRATEGY, caught.value).record.traceback


def test_an_error_raised_inside_the_package_alone_keeps_its_traceback():
    """Better too many frames than none."""
    error = BadPayloadError("odd")
    assert "odd" in judge(STRATEGY, error).record.traceback


def test_what_cannot_be_read_is_refused_for_good():
    """With the reason that tells a forged message from a broken one."""
    assert refusal(BadPayloadError("odd")).reason is Reason.BAD_PAYLOAD
    assert refusal(SignatureError("forged")).reason is Reason.BAD_SIGNATURE


@pytest.mark.parametrize("text", ["a lone \ud800 surrogate", "x" * (3 * MAX_ERROR_TEXT), "plain"])
def test_a_failure_travels_whatever_its_text_is(text):
    """From a process of the pool to its worker: valid Unicode, and no longer than a record may be."""
    failure = judge(RetryStrategy(), raised(ValueError(text)))
    arrived = Failure.decode(failure.encode())
    assert arrived.record == ErrorRecord.decode(failure.record.encode())
    assert len(arrived.record.message) <= MAX_ERROR_TEXT
    assert (arrived.retryable, arrived.after) == (True, None)
