"""A TCP proxy that carries so many bytes and then cuts, or holds: the network that breaks in the middle."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class CuttingProxy:
    """Listens on `port` and carries connections to the host.

    `plan` has one entry for each of the first connections: after so many bytes of both directions together it is cut,
    or held if `holds`, until `cut` or `go_on`. Connections after those are carried to their end. `reached` is set
    whenever that happens.
    """

    def __init__(self, to_port: int, plan: list[int], *, holds: bool = False) -> None:
        self._to_port = to_port
        self._plan = list(plan)
        self._holds = holds
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.reached = threading.Event()
        self.connections = 0
        self._judged = threading.Event()
        self._goes_on = False
        self._stop_read, self._stop_write = socket.socketpair()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Cut what is held."""
        self._judged.set()

    def go_on(self) -> None:
        """Carry what is held to its end."""
        self._goes_on = True
        self._judged.set()

    def close(self) -> None:
        self._judged.set()
        self._stop_write.close()
        for thread in list(self._threads):
            thread.join()
        self._listener.close()
        self._stop_read.close()

    def _accept(self) -> None:
        while self._listener in select.select([self._listener, self._stop_read], [], [])[0]:
            near = self._listener.accept()[0]
            limit = self._plan.pop(0) if self._plan else None
            self.connections += 1
            thread = threading.Thread(target=self._carry, args=(near, limit))
            self._threads.append(thread)
            thread.start()

    def _carry(self, near: socket.socket, limit: int | None) -> None:
        with near, socket.create_connection(("127.0.0.1", self._to_port)) as far:
            carried = 0
            while True:
                ready = select.select([near, far, self._stop_read], [], [])[0]
                if self._stop_read in ready:
                    return
                for one, other in ((near, far), (far, near)):
                    if one not in ready:
                        continue
                    try:
                        data = one.recv(65536)
                        if not data:
                            return
                        other.sendall(data)
                    except OSError:
                        return
                    carried += len(data)
                if limit is not None and carried >= limit:
                    self.reached.set()
                    if self._holds:
                        self._judged.wait()
                    if not self._goes_on:
                        return
                    limit = None


@contextmanager
def cutting(to_port: int, plan: list[int], *, holds: bool = False) -> Iterator[CuttingProxy]:
    """A proxy in front of a port."""
    cutter = CuttingProxy(to_port, plan, holds=holds)
    try:
        yield cutter
    finally:
        cutter.close()
