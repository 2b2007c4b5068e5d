"""The launcher's side of undos that outlive the host: it forks one for each socket that it is handed.

The supervisor cannot: all that it forks ends with it. SIGIO says that there is something to take, as for the relay to
a service manager. See undo_process.py.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress

from tlsrt.sandbox import syscalls

SECONDS_BYTES, NAME_BYTES = 4, 128  # of the time that an undo is kept at most, as the configuration has it
MOST_AT_ONCE = 8  # at once; each lives as long as one trial
LAST_S = 3.0  # for these processes to end when the host has: in a container their end is that of the launcher
_STEP_S = 0.02
_EX_SOFTWARE = 70


class UndoRelay:
    """Made before the launcher prepares namespaces; only root has anything to undo. Raises OSError."""

    def __init__(self) -> None:
        import socket  # only here: the launcher must stay light

        self._here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.there = there.detach()  # the supervisor's end
        self._here.setblocking(False)
        fcntl.fcntl(self._here, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(self._here, fcntl.F_SETFL, fcntl.fcntl(self._here, fcntl.F_GETFL) | os.O_ASYNC)
        self._home = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self._is_home = False
        self._children: dict[int, bytes] = {}  # by pid, whose they are
        self._asked: list[tuple[int, bytes]] = []

    def come_home(self) -> None:
        """Have the next forks be in our own pid namespace again. Where that cannot be, no undo is kept."""
        with suppress(OSError):
            syscalls.setns(self._home, syscalls.CLONE_NEWPID)
            self._is_home = True
        os.close(self._home)

    def serve(self) -> None:
        """Begin what is asked for, and reap what has ended.

        What undoes the trial before of the same component ends first: it would undo the next one, too.
        """
        import socket

        self._reap()
        with suppress(OSError):  # nothing more
            while True:
                said, descriptors, _, _ = socket.recv_fds(self._here, SECONDS_BYTES + NAME_BYTES, 1)
                if not descriptors:
                    break
                self._asked.append((descriptors[0], said))
        for one in tuple(self._asked):
            component, said = one
            seconds, name = int.from_bytes(said[:SECONDS_BYTES], "big"), said[SECONDS_BYTES:]
            if name in self._children.values():
                continue
            self._asked.remove(one)
            if self._is_home and len(self._children) < MOST_AT_ONCE:
                self._begin(component, seconds, name)
            os.close(component)  # closed without an answer: it is not kept

    def close(self) -> None:
        """Wait for the undo processes of a host that has ended."""
        self._here.close()
        while self._asked:
            os.close(self._asked.pop()[0])
        end = time.monotonic() + LAST_S
        while self._children and time.monotonic() < end:
            time.sleep(_STEP_S)
            self._reap()

    def _begin(self, component: int, most_s: int, name: bytes) -> None:
        try:
            pid = os.fork()
        except OSError:  # no more processes: its component is told, as the socket closes
            return
        if pid:
            self._children[pid] = name
            return
        code = _EX_SOFTWARE
        try:
            from tlsrt.supervisor.launch.undo_process import keep

            code = keep(component, most_s)
        except BaseException as error:
            os.write(2, f"tlsrt: cannot keep an undo: {error}\n".encode(errors="replace"))
        finally:
            os._exit(code)

    def _reap(self) -> None:
        for pid in tuple(self._children):
            with suppress(ChildProcessError):
                if os.waitpid(pid, os.WNOHANG)[0] == 0:
                    continue
            self._children.pop(pid, None)
