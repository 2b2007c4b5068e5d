"""The way to the launcher, which has undos kept by processes that do not end with the supervisor."""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import dataclass

_NAME_BYTES = 128


@dataclass(frozen=True, slots=True)
class UndoProcesses:
    """Hands sockets to the launcher; without a descriptor nothing keeps them, which a component sees at its end."""

    descriptor: int | None = None

    def hand_over(self, end: socket.socket | None, most_s: int, name: str) -> None:
        """Have a process keep the undo that a program's component writes to the other end, for so long at most."""
        if self.descriptor is None or end is None:
            return
        with socket.socket(fileno=self.descriptor) as way:
            with suppress(OSError):  # the launcher is stopped: its component hears nothing, and does nothing
                socket.send_fds(
                    way, [most_s.to_bytes(4, "big") + name.encode()[-_NAME_BYTES:]], [end.fileno()], socket.MSG_DONTWAIT
                )
            way.detach()
