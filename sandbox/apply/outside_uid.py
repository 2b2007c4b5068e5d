"""The uid that other programs see of a process without root: in its user namespace it is 0 to itself.

Libraries of D-Bus tell a bus the uid that they find, and the bus compares it with what the kernel says of the socket.
So where a component may reach a bus or a socket of another program, its Python finds the uid of the outside. It is
noted before the process enters its world, in which there is no /proc. user_namespaces(7).
"""

from __future__ import annotations

import os

from tlsrt.sandbox.profile.profile import Profile

_noted: list[int] = []


def outside_uid(uid_map: str, uid: int) -> int:
    """Return what a uid of this user namespace is in the one around it; itself if that is not known. Pure."""
    for line in uid_map.splitlines():
        inside, outside, length = map(int, line.split())
        if inside <= uid < inside + length:
            return outside + uid - inside
    return uid


def note_outside_uid(profile: Profile) -> None:
    """Read it for a process that wants it. Raises OSError."""
    if profile.rootless and (profile.buses or profile.sockets):
        with open("/proc/self/uid_map", encoding="ascii") as file:
            _noted[:] = [outside_uid(file.read(), os.getuid())]


def tell_outside_uid() -> None:
    """Have `os.getuid` and `os.geteuid` return it from now on, if it was noted."""
    if _noted:
        (uid,) = _noted
        os.getuid = os.geteuid = lambda: uid
