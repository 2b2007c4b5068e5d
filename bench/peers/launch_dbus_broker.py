"""Starts dbus-broker-launch on a socket of our own: `launch_dbus_broker.py CONFIG SOCKET LAUNCHER`.

The launcher expects what systemd gives it: a listening socket as descriptor 3 and a journal to write to. It runs in
a private mount namespace with an empty /run, so the journal's socket can be made here; nobody reads it.
"""

from __future__ import annotations

import os
import socket
import sys


def launch(config: str, path: str, launcher: str) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    os.makedirs("/run/systemd/journal", exist_ok=True)
    journal.bind("/run/systemd/journal/socket")
    journal.set_inheritable(True)
    if listener.fileno() != 3:
        os.dup2(listener.fileno(), 3)
    os.set_inheritable(3, True)
    os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()), DBUS_SESSION_BUS_ADDRESS=f"unix:path={path}")
    os.execv(launcher, [launcher, "--scope", "user", "--config-file", config])


if __name__ == "__main__":
    launch(*sys.argv[1:])
