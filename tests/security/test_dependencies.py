"""No dependency may be as old as one that is known to be vulnerable.

`FIXED` says, of every dependency, in which version each advisory was fixed that we know of. It was looked up in November
2026; a new dependency has to be looked up, too. Advisories count whether or not the code concerned is used here.
"""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parent.parent.parent

FIXED: dict[str, dict[str, str]] = {
    "trio": {},
    "trio-websocket": {},
    "trio-asyncio": {},
    "redis": {
        "CVE-2023-28858": "4.5.3",  # a cancelled call left its reply to the next one
        "CVE-2023-28859": "4.5.4",  # the same, in other places
    },
    "hiredis": {
        "CVE-2021-32765": "2.1.0",  # an array of a made-up size overflowed
        "redis/hiredis#1340": "3.4.1",  # nested replies overflowed the stack
        "redis/hiredis#1341": "3.4.1",  # a map of a made-up size overflowed
    },
    "asyncpg": {"CVE-2020-17446": "0.21.0"},  # a server could crash its client by an array
    "h11": {"CVE-2025-43859": "0.16.0"},  # loose ends of chunks let requests be smuggled past proxies
    "hypercorn": {},
    "msgspec": {},
    "pyjwt": {
        "CVE-2022-29217": "2.4.0",  # public keys taken for secrets
        "CVE-2024-53861": "2.10.1",  # part of an issuer taken for it
        "CVE-2026-32597": "2.12.0",  # critical headers overlooked
        "CVE-2026-48526": "2.13.0",  # a public key as a JWK taken for a secret
        "GHSA-jq35-7prp-9v3f": "2.13.0",  # the list of algorithms passed by with a PyJWK
        "GHSA-w7vc-732c-9m39": "2.13.0",  # work done for detached payloads before the signature
        "CVE-2026-102273": "2.14.0",  # more shapes of public keys taken for secrets
        "CVE-2026-102274": "2.14.0",  # malformed RSA keys of a set raised what nobody expected
        "CVE-2026-101918": "2.15.0",  # tokens decoded without their signatures
        "CVE-2026-102275": "2.15.0",  # private keys whose public part was not compared
    },
    "cryptography": {
        "CVE-2024-12797": "44.0.1",  # OpenSSL within
        "CVE-2026-26007": "46.0.5",
        "CVE-2026-39892": "46.0.7",  # buffers that are not contiguous overflowed
        "CVE-2026-69247": "50.0.0",  # an oracle in the decryption of PKCS #7
    },
    "prometheus-client": {},  # CVE-2019-3826, which scanners name, is of the server that scrapes
    "rich": {},
    "starlette": {
        "CVE-2023-30798": "0.25.0",  # forms of any number of parts
        "CVE-2024-47874": "0.40.0",  # parts of forms of any size
        "CVE-2025-54121": "0.47.2",  # large files of forms held up everybody
        "CVE-2025-62727": "0.49.1",  # ranges of files that took for ever to read
        "CVE-2026-48710": "1.0.1",  # a Host header that changed the path of a URL
    },
    "typing-extensions": {},
}

REQUIREMENTS = [
    Requirement(text)
    for text in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
]


def test_every_dependency_was_looked_up() -> None:
    """Whoever adds one looks up what is known of it; what is gone is forgotten."""
    assert {requirement.name.lower() for requirement in REQUIREMENTS} == FIXED.keys()


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=lambda requirement: requirement.name)
def test_no_version_with_a_known_hole_will_do(requirement: Requirement) -> None:
    """The oldest version that is accepted has the fixes of all advisories."""
    (floor,) = [Version(one.version) for one in requirement.specifier if one.operator == ">="]
    too_old = {
        name: fixed for name, fixed in FIXED[requirement.name.lower()].items() if floor < Version(fixed)
    }

    assert too_old == {}


SOURCES = sorted((ROOT / "trio_chat").rglob("*.py"))
FORBIDDEN = {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "yaml", "xml", "telnetlib"}
DANGEROUS = {"eval", "exec", "compile", "__import__"}


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_ever_unpickled(source: Path) -> None:
    """No module can turn bytes into objects by running what they say, and no text is run as a program."""
    tree = ast.parse(source.read_text())
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    called = {
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }

    assert not imported & FORBIDDEN
    assert not called & DANGEROUS
