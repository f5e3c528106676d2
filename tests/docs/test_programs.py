"""Programs on a page run."""

from __future__ import annotations

import ast
import re
import subprocess
import sys

import pytest

from .house import DOCS, PAGES, Block, blocks


@pytest.mark.parametrize(
    "block", [block for page in PAGES for block in blocks(page, "python")], ids=lambda one: one.name
)
def test_python_on_a_page_compiles(block: Block) -> None:
    """Whatever it is, it is Python."""
    compile(block.text, block.name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize(
    "block", [block for page in PAGES for block in blocks(page, "python run")], ids=lambda one: one.name
)
def test_programs_on_a_page_run_and_print_what_it_says(
    block: Block, capsys: pytest.CaptureFixture[str]
) -> None:
    """A block marked `python run` is a program; the block behind it is what it prints."""
    following = blocks(block.page)
    expected = following[following.index(block) + 1]
    exec(block.text, {"__name__": "__main__"})

    assert expected.info == "text"
    assert capsys.readouterr().out == expected.text


@pytest.mark.parametrize("program", ["limit", "memory", "scale", "stores", "sync_felt"])
def test_each_benchmark_begins(program: str) -> None:
    """It finds all it is made of, and says what it does."""
    command = [sys.executable, DOCS / "benchmarks" / f"{program}.py", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage:")


def test_every_example_is_on_a_page() -> None:
    """One page links to each file of docs/examples; `test_generated_pages_are_current` sees that what it shows is as it is."""
    named = [name for page in PAGES for name in re.findall(r"\(examples/(\w+\.\w+)\)", page.read_text())]

    assert sorted(named) == sorted(path.name for path in (DOCS / "examples").glob("*.*"))
