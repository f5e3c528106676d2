"""The site that Sphinx makes of docs/ is whole: it builds without a warning, and everything it names is in it."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

import pytest

import trio_chat
import trio_chat.testing

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parent.parent.parent / "docs"
BUILD = [sys.executable, "-m", "sphinx", "-q", "-W", "-n", "--keep-going"]
# What a browser fetches by itself. Anything else that has an address is followed by people.
LOADED = {"script", "img", "source", "iframe", "video", "audio", "embed"}
LOADED_LINKS = {"stylesheet", "icon", "preload", "prefetch", "modulepreload", "manifest"}


class Named(NamedTuple):
    """An address on a page, and whether a browser fetches it with the page."""

    page: Path
    address: str
    loaded: bool


class Reader(HTMLParser):
    """Notes the anchors and the addresses of a page."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.named: list[Named] = []
        self._page = page
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what an element is called, and what it names."""
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        loaded = tag in LOADED or bool(LOADED_LINKS & set(given.get("rel", "").split()))
        for name in ("href", "src", "srcset", "poster"):
            if name in given:
                self.named.append(Named(self._page, given[name].split()[0], loaded))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site. Takes five seconds."""
    if importlib.util.find_spec("sphinx") is None and not os.environ.get("CI"):
        pytest.skip("Sphinx is not installed; with the extra `docs` the site is built and checked")
    out = tmp_path_factory.mktemp("site")
    done = subprocess.run([*BUILD, DOCS, out], check=False, capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (0, "")
    return out


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Reader]:
    """Every page, read."""
    return {page: Reader(page) for page in sorted(site.rglob("*.html"))}


def everything_named(pages: dict[Path, Reader]) -> Iterator[Named]:
    """Yield every address of every page."""
    for reader in pages.values():
        yield from reader.named


def test_every_page_is_in_it_and_in_the_side_bar(pages: dict[Path, Reader]) -> None:
    """A new page of docs is not forgotten."""
    [index] = [reader for page, reader in pages.items() if page.name == "index.html"]
    linked = {one.address for one in index.named}
    wanted = {f"{page.stem}.html" for page in DOCS.glob("*.md")} - {"index.html"}

    assert wanted - {page.name for page in pages} == set()
    assert wanted - linked == set()


def test_every_address_within_it_leads_somewhere(pages: dict[Path, Reader]) -> None:
    """To a file and, if it names one, to an anchor in it."""
    lost = []
    for one in everything_named(pages):
        parts = urlsplit(one.address)
        if parts.scheme or parts.netloc:
            continue
        target = (one.page.parent / unquote(parts.path)).resolve() if parts.path else one.page
        found = pages.get(target)
        if not target.is_file() or (found and parts.fragment and parts.fragment not in found.anchors):
            lost.append(f"{one.page.name}: {one.address}")

    assert lost == []


def test_it_loads_nothing_from_another_host(site: Path, pages: dict[Path, Reader]) -> None:
    """Neither pages nor their style sheets do."""
    outside = [one.address for one in everything_named(pages) if one.loaded and urlsplit(one.address).netloc]
    for sheet in site.rglob("*.css"):
        named = re.findall(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)", sheet.read_text())
        outside += [one or other for one, other in named if urlsplit(one or other).netloc]

    assert outside == []


@pytest.mark.parametrize(
    ("page", "package"), [("reference", "trio_chat"), ("reference_testing", "trio_chat.testing")]
)
def test_the_reference_has_every_public_name(page: str, package: str, pages: dict[Path, Reader]) -> None:
    """A new public name is not forgotten."""
    [reader] = [reader for path, reader in pages.items() if path.stem == page]
    names = sys.modules[package].__all__

    assert [name for name in names if f"{package}.{name}" not in reader.anchors] == []


def test_the_reference_says_the_aliases_as_they_are() -> None:
    """They are written by hand, since Sphinx cannot read them."""
    text = (DOCS / "reference.md").read_text()
    aliases = {"Hearing": trio_chat.Hearing, "Event": trio_chat.Event}
    shown = dict(re.findall(r"py:type:: (\w+)\n   :canonical: (.*)", text))

    assert shown == {
        name: " | ".join(one.__name__ for one in alias.__args__) for name, alias in aliases.items()
    }
