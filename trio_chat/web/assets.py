"""The files of the pages, held in memory: read, compressed and named by their content once, at the start.

There are few and they are small, so nothing is read while a request waits, and no path of a request ever reaches a
file system.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
import posixpath
import re
from importlib.resources import files
from typing import TYPE_CHECKING, Final

import msgspec
from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.resources.abc import Traversable

    from starlette.requests import Request

_KINDS: Final = {
    # Not what `mimetypes` says: that depends on the machine.
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".svg": "image/svg+xml",
    ".md": "text/plain; charset=utf-8",
}
_WORTH: Final = 512
"""From how many bytes on compressing pays."""
_SCRIPT: Final = re.compile(rb'<script type="module" src="static/([^"]+)">')
_IMPORT: Final = re.compile(rb'^import\s(?:[^"]*\sfrom\s)?"(\.[^"]+)"', re.MULTILINE)


class Asset(msgspec.Struct, frozen=True):
    """One file. Lives as long as the server.

    Attributes:
        body: as it is.
        packed: compressed with gzip; None if that does not pay.
        kind: its media type.
        tag: its entity tag (RFC 9110, section 8.8.3).
    """

    body: bytes
    packed: bytes | None
    kind: str
    tag: str

    def respond(self, request: Request) -> Response:
        """Answer a GET or HEAD for it.

        A browser may keep it but asks each time whether it is still the same: after an upgrade nobody runs half of the
        old page and half of the new one.
        """
        packed = self.packed is not None and accepts_gzip(request.headers.get("accept-encoding", ""))
        tag = f'"{self.tag}-gzip"' if packed else f'"{self.tag}"'
        headers = {"ETag": tag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
        if tag in _listed(request.headers.get("if-none-match", "")):
            return Response(status_code=304, headers=headers)
        if not packed or self.packed is None:
            return Response(self.body, headers=headers, media_type=self.kind)
        return Response(self.packed, headers={**headers, "Content-Encoding": "gzip"}, media_type=self.kind)


def make_asset(name: str, body: bytes) -> Asset:
    """Make an asset of a file's name and content."""
    kind = (
        _KINDS.get(f".{name.rpartition('.')[2]}")
        or mimetypes.guess_type(name)[0]
        or "text/plain; charset=utf-8"
    )
    # Without a time in it, so that the same file is the same bytes after each start.
    packed = gzip.compress(body, mtime=0) if len(body) > _WORTH else None
    return Asset(body, packed, kind, hashlib.sha256(body).hexdigest()[:24])


def load_assets() -> Mapping[str, bytes]:
    """Return the content of every file of the pages, by its path with slashes."""
    found: dict[str, bytes] = {}
    _collect(files("trio_chat.web") / "static", "", found)
    return found


def _collect(folder: Traversable, prefix: str, found: dict[str, bytes]) -> None:
    for one in folder.iterdir():
        if one.is_dir():
            _collect(one, f"{prefix}{one.name}/", found)
        else:
            found[f"{prefix}{one.name}"] = one.read_bytes()


def modules_of(page: str, contents: Mapping[str, bytes]) -> list[str]:
    """Return the paths of all modules that a page runs, in order: those it names and what these import."""
    found: set[str] = set()
    waiting = [one[1].decode() for one in _SCRIPT.finditer(contents[page])]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            folder = posixpath.dirname(path)
            names = [one[1].decode() for one in _IMPORT.finditer(contents[path])]
            waiting += [posixpath.normpath(posixpath.join(folder, name)) for name in names]
    return sorted(found)


def accepts_gzip(header: str) -> bool:
    """Whether an `Accept-Encoding` names gzip and does not mean that it must not be used (RFC 9110, section 12.5.3)."""
    for item in header.lower().split(","):
        coding, _, weight = item.replace(" ", "").partition(";q=")
        if coding == "gzip":
            return weight.strip("0.") != "" or weight == ""
    return False


def _listed(header: str) -> list[str]:
    """Return the entity tags of an `If-None-Match`, weak ones as if they were strong: it compares them so."""
    return [tag.strip().removeprefix("W/") for tag in header.split(",")]
