"""One child process that ends with us, in a user namespace if need be.

1. When the thread that started it ends, however that came about, the kernel sends it a signal of our choice
   (`PR_SET_PDEATHSIG`, prctl(2)). So start it from a thread that stays: Trio's own, never one of its workers.
2. It has a session of its own. A Ctrl-C in the terminal is for us, who still have something to store then.
3. It inherits a locked file, so that the lock is held until it and all its children have ended.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import trio
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from signal import Signals

# Becomes the program, which is thereby our own child. It runs in a process of its own, since only one with a
# single thread may enter a user namespace, and since entering one clears the signal that is set after it.
_LAUNCHER = """
import ctypes, os, sys
death_signal, uid, parent, *command = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
if uid:
    maps = {"setgroups": "deny", "uid_map": f"{uid} {os.geteuid()} 1", "gid_map": f"{os.getegid()} {os.getegid()} 1"}
    try:
        if libc.unshare(0x10000000):  # CLONE_NEWUSER
            raise OSError(ctypes.get_errno(), "unshare")
        for name, text in maps.items():
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    except OSError as error:
        print(f"no user namespace: {error}", file=sys.stderr)
        sys.exit(77)
libc.prctl(1, int(death_signal), 0, 0, 0)  # PR_SET_PDEATHSIG
if os.getppid() != int(parent):
    sys.exit("whoever wanted this program is gone")
try:
    os.execv(command[0], command)
except OSError as error:
    sys.exit(f"{command[0]}: {error}")
"""
_NO_NAMESPACE = 77


class ChildProcess:
    """A process that was started. It lives until it ends by itself, is sent a signal, or its starter is gone.

    Args:
        command: the program's path, and its arguments.
        log: where its output is appended. Its directory becomes the working directory.
        lock: an open file it inherits.
        farewell: the signal for when we are gone.
        uid: whom to appear as, in a user namespace in which this user's files are that one's; None for no
            namespace.
        niceness: how far it and its children give way to other programs, see nice(1).
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        lock: int,
        farewell: Signals,
        uid: int | None,
        niceness: int = 0,
    ) -> None:
        launcher = [
            sys.executable,
            "-I",
            "-S",
            "-c",
            _LAUNCHER,
            str(int(farewell)),
            str(uid or ""),
            str(os.getpid()),
        ]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - every word of it is ours
                [*launcher, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=log.parent,
                env=environment | {"LC_ALL": "C"},
                pass_fds=[lock],
                start_new_session=True,
            )
        if niceness:
            os.setpriority(os.PRIO_PROCESS, self._process.pid, niceness)

    @override
    def __repr__(self) -> str:
        return f"<ChildProcess pid={self._process.pid} code={self.code}>"

    @property
    def pid(self) -> int | None:
        """Its process id, None once it has ended."""
        return self._process.pid if self.code is None else None

    @property
    def code(self) -> int | None:
        """Its exit code, None while it runs; minus the number of the signal that ended it."""
        return self._process.poll()

    @property
    def lacks_namespace(self) -> bool:
        """Whether it ended because this system gave it no user namespace."""
        return self.code == _NO_NAMESPACE

    def send(self, signal: Signals) -> None:
        """Send it a signal, unless it has ended."""
        self._process.send_signal(signal)

    def kill(self) -> None:
        """End it at once. Blocks for as long as the kernel needs."""
        self._process.kill()
        self._process.wait()

    async def wait_ended(self) -> int:
        """Wait until it has ended, and return its exit code. Cancelling is safe."""
        await trio.lowlevel.checkpoint()
        if self.code is None:
            handle = os.pidfd_open(self._process.pid)
            try:
                await trio.lowlevel.wait_readable(handle)
            finally:
                os.close(handle)
        return self._process.wait()
