"""A TCP relay for one connection, which ends its side to the host in the way that a test chooses."""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self


class OneWire:
    """Listens on `address` and carries the first connection to a port, until `fin` or `rst`. There is no second one.

    The host sees it come from `source`: all of loopback is ours.
    """

    def __init__(self, to_port: int, source: str = "127.0.0.1") -> None:
        self._to_port = to_port
        self._source = source
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._stop_read, self._stop_write = socket.socketpair()
        self._ended_at = 0.0
        self._thread = threading.Thread(target=self._carry)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop_write.close()
        self._thread.join()
        self._listener.close()
        self._stop_read.close()

    def fin(self) -> float:
        """End what goes to the host with a FIN, as a client does that closes; return when."""
        return self._end(b"f")

    def rst(self) -> float:
        """End the connection to the host with a RST, as a machine does that knows nothing of it; return when."""
        return self._end(b"r")

    def _end(self, how: bytes) -> float:
        self._stop_write.sendall(how)
        self._stop_write.shutdown(socket.SHUT_WR)
        self._thread.join()
        return self._ended_at

    def _carry(self) -> None:
        if self._listener not in select.select([self._listener, self._stop_read], [], [])[0]:
            return
        near = self._listener.accept()[0]
        self._listener.close()
        with near, socket.create_connection(("127.0.0.1", self._to_port), source_address=(self._source, 0)) as far:
            while True:
                ready = select.select([near, far, self._stop_read], [], [])[0]
                if self._stop_read in ready:
                    return self._finish(far)
                for one, other in ((near, far), (far, near)):
                    if one in ready and not self._carry_some(one, other):
                        return

    def _carry_some(self, one: socket.socket, other: socket.socket) -> bool:
        with suppress(OSError):
            if data := one.recv(65536):
                other.sendall(data)
                return True
        return False

    def _finish(self, far: socket.socket) -> None:
        how = self._stop_read.recv(1)
        self._ended_at = time.monotonic()
        if how == b"r":
            far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            far.close()
        elif how == b"f":
            far.shutdown(socket.SHUT_WR)
            while far.recv(65536):  # a close with unread bytes would be a RST
                pass
