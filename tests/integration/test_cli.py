"""A call typed in a shell is stored, run, listed and shown as it was meant."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.integration.shell import URL, Ended, Shell

EVIL = "\x1b[2J[bold]x\u202e"
SHOWN = r"\x1b[2J[bold]x\u202e"


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    """Commands on an application with an empty queue."""
    return Shell(tmp_path, monkeypatch, capsys)


# One message's life -------------------------------------------------------------------------------------------------


def test_a_call_typed_in_a_shell_is_run_by_a_worker(cli: Shell) -> None:
    """Arguments become what the task declares, and the result is read back, with and without the code."""
    first = cli.enqueue("area", '{"width": 3, "height": 4}', '"2026-03-01"')
    assert cli("status", first, *URL).out == "pending\n"
    ended = cli.work()
    assert "worker for app:queue at sqlite:///tasks.db" in ended.err
    assert "4 tasks: app.area, app.fail, app.secret, app.wait" in ended.err
    assert cli("status", first, *URL, "--json").document == {"id": first, "status": "success"}
    for place in (URL, ["--target", "app:queue"], ["--target", "app"]):
        found = cli("show", first, *place, "--json").document
        assert found["arguments"] == {"size": {"width": 3, "height": 4}, "day": "2026-03-01"}
        assert (found["result"], found["status"], found["task"], found["obstacles"]) == (12, "success", "app.area", [])
    text = cli("show", first, *URL).out
    assert re.search(r'argument size +\{"width":3,"height":4\}', text)
    assert re.search(r"result +12", text)


def test_a_failed_message_is_a_dead_letter_until_it_is_requeued(cli: Shell) -> None:
    """The reason and the traceback can be seen; requeued, it waits again. What succeeded cannot be requeued."""
    dead = cli.enqueue("fail", '"no luck"')
    alive = cli.enqueue("secret", '"x"')
    cli.work()
    listed = cli("list", "--dead", *URL, "--json").document
    assert [message["id"] for message in listed["messages"]] == [dead]
    assert listed["messages"][0]["error"]["type"] == "ValueError"
    assert listed["messages"][0]["error"]["message"] == "no luck"
    shown = cli("show", dead, *URL)
    assert "ValueError: no luck" in shown.out
    assert "raise ValueError(text)" in shown.out
    assert cli("requeue", dead, *URL).out == f"{dead} is back in line\n"
    assert cli("status", dead, *URL).out == "pending\n"
    refused = cli("requeue", alive, *URL)
    assert refused.code == 1
    assert "success" in refused.err


def test_all_failed_messages_are_requeued_together(cli: Shell) -> None:
    """Or only those of one task."""
    for word in ("a", "b"):
        cli.enqueue("fail", f'"{word}"')
    cli.work()
    assert cli("requeue", "--all-failed", "--task", "app.area", *URL).out == "0 messages put back in line\n"
    assert cli("requeue", "--all-failed", *URL).out == "2 messages put back in line\n"
    (queue,) = cli("counts", *URL, "--json").document["queues"]
    assert (queue["pending"], queue["failure"]) == (2, 0)


def test_waiting_for_a_result_prints_it(cli: Shell) -> None:
    """A worker elsewhere does the work; a failure is exit code 1 and a sentence."""
    with cli.started("worker", "app:queue", stderr=subprocess.DEVNULL) as worker:
        good = cli.outside("enqueue", "app:queue", "area", '{"width": 3, "height": 5}', "--wait")
        bad = cli.outside("enqueue", "app:queue", "fail", '"no luck"', "--wait", "--timeout", "30", "--json")
        worker.terminate()
        assert worker.wait(30) == 0
    assert (good.code, good.out) == (0, "15\n")
    assert bad.code == 1
    assert json.loads(bad.out)["status"] == "failure"
    assert "no luck" in json.loads(bad.out)["error"]


def test_waiting_has_an_end(cli: Shell) -> None:
    """Without a worker, the time limit says so."""
    ended = cli("enqueue", "app:queue", "secret", '"x"', "--wait", "--timeout", "50ms")
    assert ended.code == 1
    assert "has not ended within 0.05 s" in ended.err


def test_options_of_a_call_are_stored_with_it(cli: Shell) -> None:
    """Priority, delay, queue and unique key."""
    words = ["secret", "--kwargs", '{"text": "x"}', "-p", "9", "--delay", "1h", "-q", "other", "--unique-key", "k"]
    first = cli("enqueue", "app:queue", *words, "--json").document
    found = cli("show", first["id"], *URL, "--json").document
    assert first["created"] is True
    assert (found["priority"], found["queue"], found["arguments"]) == (9, "other", {"text": "x"})
    assert found["run_at"] > found["created_at"]
    again = cli("enqueue", "app:queue", *words)
    assert again.out.strip() == first["id"]
    assert "nothing was stored" in again.err


def test_signed_messages_are_read_with_the_key(cli: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it, the rest is still shown, and what stood in the way."""
    monkeypatch.setenv("REINHARDT_TASKS_SECRET_KEYS", "a key that is long enough")
    one = cli.enqueue("secret", '"x"')
    assert cli("show", one, *URL, "--json").document["arguments"] == {"text": "x"}
    monkeypatch.delenv("REINHARDT_TASKS_SECRET_KEYS")
    found = cli("show", one, *URL, "--json").document
    assert (found["task"], found["arguments"]) == ("app.secret", None)
    assert len(found["obstacles"]) == 1
    assert "`secret_keys`" in found["obstacles"][0]
    assert "note: The payload is signed" in cli("show", one, *URL).out


def test_a_task_that_the_target_does_not_know_is_shown_as_it_travels(cli: Shell) -> None:
    """And the page says so."""
    one = cli.enqueue("area", '{"width": 3, "height": 4}')
    (cli.directory / "other.py").write_text("from reinhardt_tasks import TaskQueue\nqueue = TaskQueue()\n")
    found = cli("show", one, "--target", "other", *URL, "--json").document
    assert found["arguments"] == {"size": {"width": 3, "height": 4}}
    assert found["obstacles"] == ["the target has no task app.area, so values are shown as they travel"]


# Listing ------------------------------------------------------------------------------------------------------------


def test_a_list_is_filtered_and_paged(cli: Shell) -> None:
    """Newest first; the next page begins where this one ends."""
    ids = [cli.enqueue("secret", f'"{number}"') for number in range(3)]
    cli.enqueue("wait", '"x"')
    page = cli("list", "--task", "app.secret", "--limit", "2", *URL, "--json").document
    assert [message["id"] for message in page["messages"]] == [ids[2], ids[1]]
    assert page["next_before"] == ids[1]
    rest = cli("list", "--task", "app.secret", "--before", ids[1], *URL, "--json").document
    assert [message["id"] for message in rest["messages"]] == [ids[0]]
    assert rest["next_before"] is None
    assert len(cli("list", "--queue", "slow", *URL, "--json").document["messages"]) == 1
    assert cli("list", "--status", "running", "--status", "retry", *URL, "--json").document["messages"] == []
    text = cli("list", "--limit", "2", *URL)
    assert "see them by: --before" in text.err
    assert all(word in text.out for word in ("app.wait", "app.secret", "pending", "slow"))


def test_more_than_a_page_of_the_backend_is_listed(cli: Shell) -> None:
    """The command asks as often as it must."""
    cli.enqueue_many(230)
    found = cli("list", "--limit", "220", *URL, "--json").document
    assert len({message["id"] for message in found["messages"]}) == 220
    assert found["next_before"] == found["messages"][-1]["id"]


def test_nothing_to_list_is_no_failure(cli: Shell) -> None:
    """A remark beside an empty output."""
    cli.enqueue("secret", '"x"')
    assert cli("list", "--status", "failure", *URL) == Ended(0, "", "no messages match\n")


def test_what_a_message_contains_cannot_harm_a_terminal(cli: Shell) -> None:
    """Arguments, results, errors and keys are shown with their escapes visible, as JSON too."""
    text = json.dumps(EVIL)
    ids = [cli.enqueue("fail", text), cli.enqueue("secret", text), cli.enqueue("wait", text, "--unique-key", EVIL)]
    cli.work("--queues", "default")
    for ended in (
        cli("list", *URL),
        *(cli("show", one, *URL) for one in ids),
        *(cli("show", one, "--json", *URL) for one in ids),
        cli("watch", "--once", *URL),
    ):
        assert ended.code == 0
        assert all(letter.isprintable() or letter == "\n" for letter in ended.out)
    assert SHOWN in cli("show", ids[0], *URL).out
    assert SHOWN in cli("show", ids[2], *URL).out
    assert cli("show", ids[1], "--json", *URL).document["result"] == EVIL
