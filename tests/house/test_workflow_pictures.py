"""The pictures of docs/workflows.md are what the renderer draws today."""

from __future__ import annotations

import pytest

from tests.house.workflow_pictures import IMAGES, pictures

DRAWN = pictures()


@pytest.mark.parametrize("name", DRAWN)
def test_a_picture_of_the_documents_is_what_is_drawn_today(name: str) -> None:
    """After a change of the drawing: python -m tests.house.workflow_pictures, and look at them."""
    assert (IMAGES / name).read_text() == DRAWN[name]
