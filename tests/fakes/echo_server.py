"""Echo servers of 127.0.0.1 in a process of their own, since a supervisor has no threads."""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Generator
from contextlib import contextmanager, suppress


@contextmanager
def echo_servers() -> Generator[dict[str, int], None, None]:
    """Give the ports: `tcp` and `other` echo over TCP, `udp` over UDP, at `closed` nobody listens."""
    listeners = {name: socket.create_server(("127.0.0.1", 0)) for name in ("tcp", "other", "closed")}
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(("127.0.0.1", 0))
    ports = {name: int(listener.getsockname()[1]) for name, listener in listeners.items()}
    ports["udp"] = int(datagrams.getsockname()[1])
    listeners.pop("closed").close()
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _serve([*listeners.values()], datagrams)
    for one in (*listeners.values(), datagrams):
        one.close()
    try:
        yield ports
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _serve(listeners: list[socket.socket], datagrams: socket.socket) -> None:
    clients: list[socket.socket] = []
    while True:
        for ready in select.select([*listeners, datagrams, *clients], [], [])[0]:
            if ready in listeners:
                clients.append(ready.accept()[0])
            elif ready is datagrams:
                data, peer = datagrams.recvfrom(4096)
                datagrams.sendto(data, peer)
            else:
                data = b""
                with suppress(OSError):
                    data = ready.recv(4096)
                    ready.sendall(data)
                if not data:
                    clients.remove(ready)
                    ready.close()
