"""What holds for a tree: quotas, the right to write, and modes."""

from __future__ import annotations

from typing import NamedTuple

from tlsrt.loops.third.folder import Quota


class Rules(NamedTuple):
    """What holds for a tree."""

    quota: Quota
    can_write: bool = True
    keep_free_bytes: int = 0  # of the file system
    mode: int = 0o600  # of new files; folders may be entered by who may read them
