"""Unix sockets at paths of any length: sun_path holds only 107 bytes (unix(7)), and folders may be deep.

A path is bound and connected to through /proc/self/fd.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tlsrt.config.files import open_folder

CONTROL_SOCKET = "control.sock"  # the operator's, in run_dir


@contextmanager
def short_path(folder: Path, name: str) -> Generator[str, None, None]:
    """Give a short path to `folder/name` that is valid inside the block. Raises OSError."""
    descriptor = open_folder(folder)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)


def bind_unix(folder: Path, name: str, *, backlog: int, uid: int | None = None) -> socket.socket:
    """Return a listening stream socket at folder/name, mode 0600, replacing what a former life left. Raises OSError."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    with short_path(folder, name) as path:
        if os.path.lexists(path):
            os.unlink(path)
        before = os.umask(0o177)
        try:
            listener.bind(path)
        finally:
            os.umask(before)
        if uid is not None and uid != os.geteuid():
            os.chown(path, uid, uid, follow_symlinks=False)
    listener.listen(backlog)
    return listener
