"""The OpenAPI document says what is so: a tool that reads nothing else finds no request that is answered differently."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import trio

from trio_chat.web.api.site import OPERATIONS

from .conftest import Site, serving

SEED = 20_261_123
EXAMPLES = 25


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The document, as it is served."""

    async def main() -> dict[str, Any]:
        async with serving() as site:
            found: dict[str, Any] = (await site.ask("GET", "/openapi.json", token=None)).said
            return found

    return trio.run(main)


async def test_requests_made_from_the_document_are_answered_as_it_says(tmp_path: Path) -> None:
    """Right ones, wrong ones, and sequences of them, with every check; that takes some ten seconds."""
    async with serving() as site:
        token = site.token("schemathesis", ("*",), "admin", "moderator", "assistant", "system")
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "run"),
            f"http://127.0.0.1:{site.port}/api/v1/openapi.json",
            *("--header", f"Authorization: Bearer {token}", "--checks", "all"),
            *(
                "--phases",
                "examples,coverage,fuzzing,stateful",
                "--seed",
                str(SEED),
                "--max-examples",
                str(EXAMPLES),
            ),
            *("--request-timeout", "5", "--continue-on-failure", "--no-color"),
        ]
        with trio.fail_after(120):
            done = await trio.run_process(
                command, capture_stdout=True, stderr=subprocess.STDOUT, check=False, cwd=tmp_path
            )

    said = done.stdout.decode()
    assert done.returncode == 0, said
    assert f"Tested: {len(OPERATIONS)}" in said, said
    assert "No issues found" in said, said


def test_the_document_has_every_operation(document: dict[str, Any]) -> None:
    """By path and method, with a name of its own, and what it is for."""
    found = {
        (method.upper(), path): one
        for path, ways in document["paths"].items()
        for method, one in ways.items()
    }

    assert found.keys() == {(operation.method, operation.path) for operation in OPERATIONS}
    assert len({one["operationId"] for one in found.values()}) == len(OPERATIONS)
    assert all(one["summary"].endswith(".") for one in found.values())
    assert "Cancelling" not in json.dumps(document)


def test_every_schema_is_one(document: dict[str, Any]) -> None:
    """Of the dialect that OpenAPI 3.1 has."""
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


async def test_documents_are_kept_by_whoever_has_them(site: Site) -> None:
    """They need no token, and are not sent again."""
    first = await site.ask("GET", "/openapi.json", token=None)
    again = await site.ask(
        "GET", "/openapi.json", token=None, headers={"if-none-match": first.headers["etag"]}
    )

    assert (first.status, again.status, again.body) == (200, 304, b"")
