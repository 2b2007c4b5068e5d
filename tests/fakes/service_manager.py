"""A service manager that a test plays: the socket of NOTIFY_SOCKET, and what was said in it by whom."""

from __future__ import annotations

import os
import signal
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path

_END = "END=1"


class FakeManager:
    """Hears notices as systemd does, with the pid of who sent them; `fields` keeps the last value of each.

    It hears in a thread: who sends waits while the queue of ten is full.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(str(self.path))
        self.path.chmod(0o777)  # as systemd's: who may speak is decided by the sender
        self.said: list[str] = []
        self.senders: set[int] = set()
        self.descriptors: dict[str, int] = {}  # the store, by FDNAME
        self._something = threading.Condition()
        self._thread = threading.Thread(target=self._hear, daemon=True)
        self._thread.start()

    @property
    def fields(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.said)

    def _hear(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGIO})  # it is for the thread that waits
        space = socket.CMSG_SPACE(12) + socket.CMSG_SPACE(8 * 4)
        while True:
            message, ancillary, _, _ = self._socket.recvmsg(8192, space, socket.MSG_CMSG_CLOEXEC)
            lines = message.decode().split("\n")
            if lines == [_END]:
                return
            with self._something:
                for _, kind, data in ancillary:
                    if kind == socket.SCM_CREDENTIALS:
                        self.senders.add(struct.unpack("iii", data)[0])
                    elif kind == socket.SCM_RIGHTS:
                        name = dict(line.split("=", 1) for line in lines).get("FDNAME", "")
                        self.descriptors[name] = struct.unpack("i", data[:4])[0]
                self.said += lines
                self._something.notify_all()

    def until(self, true: Callable[[], bool], what: str, timeout_s: float = 20.0) -> None:
        """Hear until it is so."""
        with self._something:
            assert self._something.wait_for(true, timeout_s), f"never said: {what}: {self.said[-20:]}"

    def after(self, line: str) -> list[str]:
        """Return what was said after the last `line`."""
        assert line in self.said, self.said
        return self.said[len(self.said) - self.said[::-1].index(line) :]

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(_END.encode(), str(self.path))
        self._thread.join()
        self._socket.close()
        for descriptor in self.descriptors.values():
            os.close(descriptor)
