"""No file of the project tells where it was written or from where its dependencies were fetched."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Each pattern has a bracket in it, so that this file does not match.
PLACES = re.compile(
    r"(?<![\w.~-])/(?:hom[e]/\w|Use[r]s/\w|roo[t]\b|wor[k]/\w)"  # someone's directories
    r"|\b[A-Z]:\\+Use[r]s\\"
    r"|py[p]i\.(?:org|io)\b|pytho[n]hosted|npm[j]s\.(?:org|com)|(?:de[b]|securit[y])\.debian\.org|archiv[e]\.ubuntu"
)


def places(text: str) -> list[str]:
    """Every mention of a machine's own directories or of a package registry's host."""
    return [found[0] for found in PLACES.finditer(text)]


@pytest.mark.skipif(shutil.which("git") is None or not (ROOT / ".git").exists(), reason="not a git checkout")
def test_tracked_files_name_no_machine_and_no_registry() -> None:
    """What is committed reads the same wherever it is cloned."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = [ROOT / name for name in listed.split("\0") if name]
    found = {str(file.relative_to(ROOT)): places(_text(file)) for file in files if file.is_file()}
    assert files
    assert {name: mentions for name, mentions in found.items() if mentions} == {}


def _text(file: Path) -> str:
    return file.read_bytes().decode(errors="ignore")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("see /hom{}e/ada/tasks.py", True),
        ("open('/wor{}k/main/x')", True),
        ("/roo{}t/.cache", True),
        ("/Use{}rs/ada", True),
        ("https://py{}pi.org/simple", True),
        ("files.pytho{}nhosted.org", True),
        ("registry.npm{}js.org", True),
        ("docs/wor{}k/one.md", False),
        ("a /wor{}ker/ and a /hom{}e page", False),
        ("~/roo{}t", False),
    ],
)
def test_the_search_for_places_finds_them(text: str, told: bool) -> None:
    """Absolute paths and hosts are seen; words that look like them are left alone."""
    assert bool(places(text.replace("{}", ""))) is told
