"""Links and pictures on a page lead somewhere and are whole."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from .house import DOCS, PAGES


def links(page: Path) -> Iterator[tuple[str, str]]:
    """Yield path and fragment of each relative link of a page."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", text):
        link = target[0] or target[1]
        if "://" not in link:
            path, _, fragment = link.partition("#")
            yield path, fragment


def anchors(page: Path) -> set[str]:
    """Return the anchors that the headings of a page get."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page: Path) -> None:
    """Each names a file that is there and, if any, a heading in it."""
    for path, fragment in links(page):
        target = (page.parent / path) if path else page

        assert target.exists(), path
        assert not fragment or fragment in anchors(target), f"{path}#{fragment}"


@pytest.mark.parametrize("picture", sorted(DOCS.glob("images/*.svg")), ids=lambda path: path.name)
def test_pictures_are_whole_and_say_what_they_show(picture: Path) -> None:
    """They are XML, have a title and a description, for those who cannot see them, and read in the dark too."""
    root = ET.parse(picture).getroot()

    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert all(root.findtext(f"{{http://www.w3.org/2000/svg}}{name}") for name in ("title", "desc"))
    assert "prefers-color-scheme: dark" in picture.read_text()
