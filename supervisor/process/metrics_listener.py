"""The socket on which metrics are served: bound by the supervisor, handed to the process that serves them."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import suppress
from pathlib import Path

from tlsrt.config.metrics import MonitoringPlace
from tlsrt.errors import ConfigError
from tlsrt.supervisor.process.unix_path import bind_unix

_BACKLOG = 128
_MODE = 0o660


def metrics_listener(place: MonitoringPlace | None) -> int:
    """Return the descriptor that listens, -1 for none. Raises ConfigError."""
    if place is None:
        return -1
    try:
        return _unix(Path(place.path)) if place.path else _tcp(place.host, place.port)
    except OSError as error:
        raise ConfigError(f"cannot listen on {place} (metrics.listen): {error.strerror}") from None


def _tcp(host: str, port: int) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen(_BACKLOG)
        return made.detach()


def _unix(path: Path) -> int:
    """Who may connect is who may enter the folder: root, and the folder's group."""
    if os.path.lexists(path) and not stat.S_ISSOCK(os.lstat(path).st_mode):
        raise ConfigError(f"metrics.listen: {path} is no socket, so it is not replaced: choose another path")
    with bind_unix(path.parent, path.name, backlog=_BACKLOG) as made:
        with suppress(PermissionError):  # the group is not ours
            os.chown(path, -1, os.stat(path.parent).st_gid, follow_symlinks=False)
        os.chmod(path, _MODE)
        return made.detach()


def remove_metrics_socket(place: MonitoringPlace | None) -> None:
    """Remove the name of a UNIX socket at the end of a life."""
    if place is not None and place.path:
        with suppress(OSError):
            os.unlink(place.path)
