"""The modules of the page that need no page, tested where they are written: by Node's own test runner."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
STATIC = HERE.parent.parent / "trio_chat" / "web" / "static"


@pytest.mark.parametrize("tests", sorted(HERE.glob("*.test.mjs")), ids=lambda path: path.name)
def test_modules(tests: Path, tmp_path: Path) -> None:
    """Every test of the file passes. Starting Node takes a moment."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed; with it, the page's modules are tested by themselves too")
    # Without a package.json that says otherwise Node takes a .js file for another kind of module.
    for folder in ("core", "admin", "net"):
        shutil.copytree(STATIC / folder, tmp_path / folder)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    done = subprocess.run(
        [node, "--test", str(tests)],
        env={"PAGE": str(tmp_path), "TZ": "UTC", "LANG": "C"},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stdout
