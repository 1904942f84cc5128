"""Schedules typed in a shell are stored, listed, tried out, fired and changed as they were meant."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.integration.shell import URL, Shell

ADD = ("schedules", "add")
TARGET = ("--target", "app:queue")


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    """Commands on an application with an empty queue."""
    return Shell(tmp_path, monkeypatch, capsys)


def added(cli: Shell, name: str, *options: str) -> str:
    """What is said to a schedule of the task `secret`."""
    ended = cli(*ADD, name, "secret", '"x"', *options, *TARGET)
    assert ended.code == 0, ended.err
    return ended.out


def test_a_schedule_typed_in_a_shell_is_listed_and_shown(cli: Shell) -> None:
    """By the code or by the URL alone, as text and as JSON, with its moments in its own zone and in the local one."""
    said = added(cli, "noon", "--cron", "0 12 * * *", "--timezone", "Europe/Riga", "--priority", "8", "--queue", "low")
    assert re.fullmatch(r"noon: At 12:00 every day \(Europe/Riga\); next \d{4}-\d\d-\d\d 12:00:00 EES?T\n", said)
    for place in (URL, TARGET):
        (found,) = cli("schedules", "list", *place, "--json").document["schedules"]
        assert (found["name"], found["task"], found["queue"], found["priority"]) == ("noon", "app.secret", "low", 8)
        assert (found["origin"], found["paused"], found["last_at"], found["problem"]) == ("stored", False, None, None)
        assert found["next_at"].endswith(("T09:00:00.000000Z", "T10:00:00.000000Z"))
    shown = cli("schedules", "show", "noon", *URL)
    assert re.search(r"next +\S+ 12:00:00 EES?T; here ", shown.out)
    assert cli("schedules", "show", "noon", *URL, "--json").document["arguments"] != {}
    assert "noon" in cli("schedules", "list", *URL).out


def test_the_next_firings_are_told(cli: Shell) -> None:
    """Of all in order, or of one; none of a paused one."""
    added(cli, "yearly", "--cron", "@yearly")
    added(cli, "hourly", "--every", "1h")
    firings = cli("schedules", "next", "5", *URL, "--json").document["firings"]
    assert [one["schedule"] for one in firings] == ["hourly"] * 5
    assert [one["at"] for one in firings] == sorted(one["at"] for one in firings)
    (one,) = cli("schedules", "next", "1", "--only", "yearly", *URL, "--json").document["firings"]
    assert one["at"].endswith("-01-01T00:00:00.000000Z")
    cli("schedules", "pause", "hourly", *URL)
    firings = cli("schedules", "next", "2", *URL, "--json").document["firings"]
    assert [one["schedule"] for one in firings] == ["yearly"] * 2
    assert "UTC" in cli("schedules", "next", "2", *URL).out
    cli("schedules", "pause", "yearly", *URL)
    assert cli("schedules", "next", *URL).err == "nothing is due any more\n"


def test_a_scheduler_fires_what_was_added_and_a_worker_runs_it(cli: Shell) -> None:
    """The list then tells how it ended."""
    added(cli, "tick", "--every", "1s", "--missed", "all", "--overlap", "skip", "--jitter", "0")
    with (
        cli.started("scheduler", "app:queue") as scheduler,
        cli.started("worker", "app:queue", "--no-scheduler") as worker,
    ):
        for _ in range(200):
            (found,) = cli("schedules", "list", *URL, "--json").document["schedules"]
            if found["last_status"] == "success":
                break
        for process in (scheduler, worker):
            process.terminate()
            assert process.wait(30) == 0
    assert found["last_status"] == "success"
    assert cli("show", found["last_id"], *URL, "--json").document["headers"]["schedule"] == "tick"


def test_a_schedule_is_paused_resumed_run_and_removed(cli: Shell) -> None:
    """Each says what it has done; what is not there is exit code 1."""
    added(cli, "s", "--at", "2090-01-01T00:00", "--timezone", "Europe/Riga", "--kwargs", "{}")
    assert cli("schedules", "pause", "s", *URL).out == (
        "schedule s is paused; resume it by: reinhardt-tasks schedules resume s\n"
    )
    assert "paused" in cli("schedules", "list", *URL).out
    assert cli("schedules", "resume", "s", *URL).out == (
        "s: Once, at 2089-12-31 22:00:00 UTC; next 2089-12-31 22:00:00 UTC\n"
    )
    made = cli("schedules", "run-now", "s", *URL, "--json").document
    assert made["created"] is True
    assert cli("status", made["id"], *URL).out == "pending\n"
    assert cli("schedules", "run-now", "s", *URL).out.strip() != made["id"]
    assert cli("schedules", "remove", "s", *URL).out == "schedule s is removed\n"
    assert cli("schedules", "list", *URL).err == "there are no schedules\n"
    for command in ("show", "pause", "resume", "run-now", "remove"):
        ended = cli("schedules", command, "s", *URL)
        assert (ended.code, ended.out) == (1, "")
        assert ended.err.startswith("error: There is no schedule s here.")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ((), "when is it due? Give one of --cron, --every and --at"),
        (("--cron", "@daily", "--every", "5"), "Give one of --cron, --every and --at"),
        (("--cron", "61 * * * *"), "minute '61': it takes 0-59"),
        (("--cron", "@daily", "--timezone", "Europe/Rigga"), "did you mean Europe/Riga"),
        (("--every", "soon"), "--every takes a time such as 30"),
        (("--every", "0"), "at least 0.1"),
        (("--at", "tomorrow"), "--at takes a moment such as 2026-03-01T09:00+01:00"),
        (("--at", "2020-01-01"), "would never be due"),
        (("--every", "5", "--missed", "maybe"), "missed is one of skip, once, all"),
        (("--every", "5", "--max-missed", "0"), "max_missed is a whole number"),
        (("--every", "5", "--start", "2026-01-02", "--end", "2026-01-01"), "ends before it starts"),
        (("--every", "5", "--kwargs", '{"no": 1}'), "app.secret"),
    ],
    ids=[str(number) for number in range(12)],
)
def test_what_cannot_be_meant_is_refused(cli: Shell, options: tuple[str, ...], reason: str) -> None:
    """In one sentence, with exit code 2; nothing is stored."""
    ended = cli(*ADD, "s", "secret", '"x"', *options, *TARGET)
    assert ended.code == 2, ended.err
    assert reason in ended.err
    assert "Traceback" not in ended.err


def test_a_name_that_is_taken_and_a_task_that_is_unknown_are_refused(cli: Shell) -> None:
    """Exit code 2, as the input is wrong."""
    added(cli, "s", "--every", "1h")
    taken = cli(*ADD, "s", "secret", '"x"', "--every", "1h", *TARGET)
    assert (taken.code, taken.err) == (
        2,
        "error: there is a schedule s already; change it, or remove it first.\n",
    )
    unknown = cli(*ADD, "t", "nobody", "--every", "1h", *TARGET)
    assert unknown.code == 2
    assert "there is no task nobody" in unknown.err


def test_what_others_have_stored_is_harmless_on_the_screen(cli: Shell) -> None:
    """Whatever bytes a name or a plan has, no terminal obeys them and nothing fails."""
    import asyncio

    from reinhardt_tasks.backends import connect
    from reinhardt_tasks.message import ScheduleRecord

    added(cli, "good", "--every", "1h")

    async def forge() -> None:
        async with connect("sqlite:///tasks.db") as backend:
            await backend.save_schedule(ScheduleRecord(name="\x1b[2J[bold]", spec=b"\x1b[2J"))

    asyncio.run(forge())
    listed = cli("schedules", "list", *URL)
    assert listed.code == 0
    assert "\x1b" not in listed.out
    assert r"\x1b[2J[bold]" in listed.out
    document = json.loads(cli("schedules", "list", *URL, "--json").out)
    assert [one["problem"] is None for one in document["schedules"]] == [False, True]
    assert cli("schedules", "show", "\x1b[2J[bold]", *URL).code == 0
    assert cli("schedules", "next", "1", *URL, "--json").document["firings"][0]["schedule"] == "good"
