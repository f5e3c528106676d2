"""What of the pages is generated. `python -m tests.docs.generated` writes it."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable
from pathlib import Path

from trio_chat.errors import ReplyCode
from trio_chat.settings import documentation

from .house import DOCS, PROTOCOL

OPERATIONS = DOCS / "operations.md"
EMBEDDING = DOCS / "embedding.md"


SOCKETIO = DOCS / "socketio.md"
QUICKSTART = DOCS / "quickstart.md"


def meanings(of: type) -> dict[str, str]:
    """Return the text below each member of a class, in one line."""
    [body] = ast.parse(inspect.getsource(of)).body
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    name = ""
    for node in body.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)]):
                found[name] = ""
            case ast.Expr(value=ast.Constant(value=str(text))) if name:
                found[name] = " ".join(text.split())
            case _:
                name = ""
    return found


def reply_codes() -> str:
    """Return the table of reply codes."""
    rows = ["| code | temporary | meaning |", "|---|---|---|"]
    texts = meanings(ReplyCode)
    rows += [f"| `{one}` | {'yes' if one.temporary else 'no'} | {texts[one.name]} |" for one in ReplyCode]
    return "\n".join(rows)


def settings_tables() -> str:
    """Return a table for each group of settings."""
    lines: list[str] = []
    for title in dict.fromkeys(group for group, *_ in documentation()):
        lines += [f"### {title}", "", "| variable | flag | default | |", "|---|---|---|---|"]
        for group, name, flag, default, text in documentation():
            if group == title:
                lines.append(f"| `{name}` | {f'`{flag}`' if flag else ''} | {default} | {text} |")
        lines.append("")
    return "\n".join(lines).rstrip()


def filled(page: Path, name: str, table: str) -> str:
    """Return the page with a table in its place."""
    start = f"<!-- {name}: generated -->\n"
    text = page.read_text()

    assert text.count(start) == 1
    before, _, rest = text.partition(start)
    _, end, after = rest.partition("<!-- end -->")
    return f"{before}{start}\n{table}\n\n{end}{after}"


def with_examples(page: Path) -> str:
    """Return the page with each program below the link to its file."""

    def put(found: re.Match[str]) -> str:
        return f"{found[1]}{(page.parent / found[2]).read_text()}```"

    return re.sub(
        r"(\((examples/\w+\.(?:py|mjs))\):\n\n```(?:python|js)\n).*?^```$",
        put,
        page.read_text(),
        flags=re.DOTALL | re.MULTILINE,
    )


GENERATED: dict[Path, Callable[[Path], str]] = {
    PROTOCOL: lambda page: filled(page, "reply codes", reply_codes()),
    OPERATIONS: lambda page: filled(page, "settings", settings_tables()),
    EMBEDDING: with_examples,
    SOCKETIO: with_examples,
    QUICKSTART: with_examples,
}


if __name__ == "__main__":
    for written, make in GENERATED.items():
        written.write_text(make(written))
