"""docs/state-machine.md, its picture and the code tell of the same states, steps and reasons."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

from reinhardt_tasks.message import Reason
from reinhardt_tasks.status import TRANSITIONS, TaskStatus

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "state-machine.md").read_text()
PICTURE = ET.parse(DOCS / "img" / "state-machine.svg").getroot()  # noqa: S314 - our own file
LEGAL = Counter((old.value, new.value) for old, allowed in TRANSITIONS.items() for new in allowed)
ENDS_WITHOUT_FAILURE = {Reason.CANCELLED, Reason.PARENT_FAILED}


def test_the_table_lists_every_legal_step_once_and_no_other() -> None:
    """Who reads the page knows what the code allows."""
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| .+ \|$", PAGE, flags=re.MULTILINE)
    assert Counter(rows) == LEGAL


def test_the_picture_draws_every_legal_step_once_and_no_other() -> None:
    """An arrow out of a group stands for one step from each state in it."""
    arrows = [arrow for arrow in PICTURE.iter() if "data-from" in arrow.attrib]
    drawn = itertools.chain.from_iterable(
        itertools.product(arrow.attrib["data-from"].split(), arrow.attrib["data-to"].split()) for arrow in arrows
    )
    assert Counter(drawn) == LEGAL


def test_the_picture_draws_every_state_once_under_its_name() -> None:
    """A box shows the name of the state it stands for."""
    boxes = [box for box in PICTURE.iter() if "data-state" in box.attrib]
    shown = [(box.attrib["data-state"], "".join(box.itertext()).strip()) for box in boxes]
    assert Counter(shown) == Counter((status.value, status.name) for status in TaskStatus)


def test_the_page_explains_every_reason_of_a_failure() -> None:
    """The second table is the list of reasons a dead letter may carry."""
    section = PAGE.partition("## Why a message failed")[2]
    explained = re.findall(r"^\| `(\w+)` \| .+ \|$", section, flags=re.MULTILINE)
    assert Counter(explained) == Counter(reason.value for reason in set(Reason) - ENDS_WITHOUT_FAILURE)
