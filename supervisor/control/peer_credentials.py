"""Who is at the other end of a socket, and who belongs to the runtime (SO_PEERCRED, socket(7)).

All of it may share one uid with the operator, so a uid does not tell a captured loop from a caller that may command
us. The number is that of a process, whichever of its threads connected, in our own pid namespace; 0 is a process
outside it.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
from collections.abc import Collection

_FIRST = 1  # of a pid namespace


def peer_of(connection: socket.socket) -> tuple[int, int]:
    """Return pid and uid of the peer, as numbered in our namespaces: of its connect(2), or of its listen(2)."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, _ = struct.unpack("3i", credentials)
    return pid, uid


def may_command(pid: int, uid: int, foreign: Collection[int], socket_path: str) -> bool:
    """Tell whether a peer is root or the user who started us.

    In a user namespace with our own uid only, root outside is seen as one of `foreign`, and so is every other user. But
    these cannot connect: that takes the right to write to the socket, unix(7), which only its owner has and root.
    So such a peer is root, if it is outside our pid namespace and the socket was not opened up.
    """
    if uid in (0, os.geteuid()):
        return True
    return pid == 0 and uid in foreign and _is_private(socket_path)


def _is_private(path: str) -> bool:
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) & 0o077 == 0


def is_kin(pid: int, children: Collection[int], own: int | None = None) -> bool:
    """Say whether the peer is a process of the runtime, or was one; `own` is our number (None: ask).

    As process 1 we have a pid namespace to ourselves: every process in there is ours, descendants of loops too. Without
    one `children` are known, and a process that has ended since it connected is taken for one: it waits for no answer.
    """
    own = os.getpid() if own is None else own
    if pid in (0, own):
        return False
    if own == _FIRST or pid in children:
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False  # root's, where we are not root
    return False
