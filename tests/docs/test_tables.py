"""What a page lists is what there is: codes, settings, commands, keys, files."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from trio_chat.cli import main
from trio_chat.errors import CloseCode
from trio_chat.stores.base import Session
from trio_chat.stores.migrations import known
from trio_chat.stores.redis_records import Names

from .generated import GENERATED, meanings
from .house import DOCS, PAGES, PROTOCOL, ROOT, blocks

DESIGN = DOCS / "design.md"


@pytest.mark.parametrize("page", GENERATED, ids=lambda page: page.name)
def test_generated_pages_are_current(page: Path) -> None:
    """`python -m tests.docs.generated` brings them up to date."""
    assert page.read_text() == GENERATED[page](page)


def test_the_table_of_close_codes_is_that_of_the_code() -> None:
    """Every code by number, name and, where the code has one, meaning."""
    text = PROTOCOL.read_text().partition("## Close codes")[2].partition("\n## ")[0]
    shown = {
        name: (int(number), meaning)
        for number, name, meaning in re.findall(r"^\| (\d+) \| `(\w+)` \| (.*) \|$", text, re.MULTILINE)
    }
    texts = meanings(CloseCode)

    assert {name: number for name, (number, _) in shown.items()} == {
        code.name: code.value for code in CloseCode
    }
    assert [name for name in shown if not shown[name][1].startswith(texts[name].rstrip("."))] == []


def test_the_commands_of_the_readme_are_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    """The table has every command and no other."""
    shown = re.findall(r"^\| `trio-chat (\w+)[^`]*` \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    with pytest.raises(SystemExit):
        main(["--help"])

    assert shown == re.findall(r"^ {4}(\w+)  ", capsys.readouterr().out, re.MULTILINE)


def test_the_page_of_the_design_names_the_keys_there_are() -> None:
    """Every key, and no other."""
    shown = re.findall(r"^\| `(tc:[^`]+)` \|", DESIGN.read_text(), re.MULTILINE)
    keys = Names("tc").session(Session("room", "<epoch>"))

    assert sorted(shown) == sorted(keys)


def test_the_page_of_the_design_shows_the_tables_there_are() -> None:
    """Every migration is on it, verbatim."""
    shown = [block.text for block in blocks(DESIGN, "sql")]

    assert shown == [text for _, text in known().values()]


def test_the_files_that_pages_name_are_there() -> None:
    """A file that was renamed is not forgotten."""
    named = {path for page in PAGES for path in re.findall(r"`(trio_chat/[\w/.*]+)`", page.read_text())}

    assert named
    assert [path for path in sorted(named) if not list(ROOT.glob(path))] == []


def test_the_changelog_knows_this_version() -> None:
    """The version of the package has a heading."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

    assert f"\n## [{version}]" in (ROOT / "CHANGELOG.md").read_text()
