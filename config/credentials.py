"""Credentials of systemd in the place of key files: systemd.exec(5), LoadCredential=.

A unit that loads `server.key` hands the service a file of that name in $CREDENTIALS_DIRECTORY, which only it may read.
That one is taken then, and not the file that the configuration names: so the keys of a host that runs as a user belong
to root, who seals with them, and the user can change none of them.
"""

from __future__ import annotations

import os
from pathlib import Path

from tlsrt.config.trusted_path import foreign_root

VARIABLE = "CREDENTIALS_DIRECTORY"


def instead_of(path: Path) -> Path:
    """Return the credential of a key file's name where there is one, else the path itself."""
    folder = os.environ.get(VARIABLE, "")
    if not folder.startswith("/"):
        return path
    found = Path(folder, path.name)
    return found if os.path.lexists(found) else path


def is_granted(descriptor: int, status: os.stat_result) -> bool:
    """Tell whether this is root's file, which systemd lets one uid read: 0440 is the mask of an ACL then (acl(5)).

    In a user namespace root is seen as the overflow uid, as any other user; there the file system must be read-only
    too, as systemd mounts its credentials, so that no user has put the file there.
    """
    outside = foreign_root()
    if status.st_uid not in {0, *outside} or status.st_mode & 0o7777 not in (0o400, 0o440):
        return False
    try:
        if status.st_uid != 0 and not os.fstatvfs(descriptor).f_flag & os.ST_RDONLY:
            return False
        has_list = "system.posix_acl_access" in os.listxattr(descriptor)
    except OSError:
        return False
    return has_list and (status.st_gid == 0 or status.st_uid != 0)
