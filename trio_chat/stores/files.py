"""Files that survive a crash, and files that are locks."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def read_text(path: Path) -> str:
    """Return what is in the file; nothing if there is none."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def write_durably(path: Path, text: str) -> None:
    """Replace the file's content so that a crash at any point leaves the old or the new one."""
    new = path.with_name(f"{path.name}.new")
    with new.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory survive a power failure."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def open_lock(path: Path) -> int:
    """Open a file to be locked; whoever inherits it keeps the lock."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def take_lock(lock: int) -> bool:
    """Lock the open file unless somebody else has. Locking it once more is no harm."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
