"""Links and pictures on a page lead somewhere and are whole."""

from __future__ import annotations

import re
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from .house import DOCS, PAGES, ROOT


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


def test_every_picture_is_on_a_page() -> None:
    """Nobody finds it otherwise."""
    pages = "".join(page.read_text() for page in PAGES)

    assert [path.name for path in (DOCS / "images").iterdir() if f"images/{path.name}" not in pages] == []


def test_what_pages_install_of_ours_is_this_checkout_with_extras_there_are() -> None:
    """The package is in no index yet, and an extra that is none would only be warned of."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    said = [
        word
        for page in PAGES
        for line in re.findall(r"pip install ((?:(?!&&|#)[^`\n])*)", page.read_text())
        for word in line.split()
    ]
    named = [extra for word in said for extra in re.findall(r"^'\.\[([\w,]+)\]'$", word)]

    assert [word for word in said if word.strip("'").startswith("trio-chat")] == []
    assert {one for extra in named for one in extra.split(",")} <= extras.keys()
    assert "embedded" in named
