"""The control group that systemd delegates to a service: its processes go into a group below it, called `supervisor`.

A group that holds processes can hand no controllers down (cgroups(7)). systemd's own word for that, DelegateSubgroup=,
does not go with ProtectControlGroups=private: the root of the service's cgroup namespace is then the group below, and
the one that hands down is out of reach. So a service moves itself, before it has a child.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from tlsrt.errors import SandboxError
from tlsrt.sandbox.cgroup.cgroup import PROCS, GroupPath, own_place, write

SUBGROUP = "supervisor"
_DELEGATED, _INVOCATION = "user.delegate", "user.invocation_id"  # extended attributes that systemd sets, xattr(7)
_VARIABLE = "INVOCATION_ID"  # of the service's processes, systemd.exec(5)


def enter_subgroup(environment: Mapping[str, str]) -> None:
    """Move this process below its group, if systemd has delegated that to this very start; else do nothing.

    What goes wrong is no reason not to start: the line of limits says then what is not enforced.
    """
    try:
        own = own_place()
        if _is_delegated(own, environment.get(_VARIABLE, "")):
            below = own.child(SUBGROUP)
            os.makedirs(below.folder, 0o755, exist_ok=True)
            write(below.folder / PROCS, "0")
    except (OSError, SandboxError):
        pass


def _is_delegated(own: GroupPath, invocation: str) -> bool:
    attributes = [os.getxattr(own.folder, name) for name in (_DELEGATED, _INVOCATION)]
    return bool(invocation) and attributes == [b"1", os.fsencode(invocation)]
