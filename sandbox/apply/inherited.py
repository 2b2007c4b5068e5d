"""Inherited descriptors at numbers of their own, before the limit is lowered. See `profile/grants.py`."""

from __future__ import annotations

import fcntl
import os
import resource
from collections.abc import Collection, Mapping

from tlsrt.errors import SandboxError


def place(descriptors: Mapping[str, int], numbers: Mapping[str, int]) -> dict[str, int]:
    """Return the descriptors, those that have a number moved to it, and others out of its way.

    `descriptors` are all that are needed: what else lies at such a number is closed. Raises SandboxError where a number
    cannot be had.
    """
    wanted = {key: number for key, number in numbers.items() if number >= 0}
    if not wanted:
        return dict(descriptors)
    above = max(wanted.values()) + 1
    _allow(above + len(descriptors))
    try:
        placed = {key: _away(number, wanted.values(), above) for key, number in descriptors.items()}
        for key, number in wanted.items():
            os.dup2(placed[key], number, inheritable=False)
    except OSError as error:
        raise SandboxError("limits", f"cannot have descriptor {above - 1}: {error.strerror}") from error
    return {**placed, **wanted}


def _away(descriptor: int, numbers: Collection[int], above: int) -> int:
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, above) if descriptor in numbers else descriptor


def _allow(count: int) -> None:
    """setrlimit(2): let this process have so many descriptors until its own limit is applied."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= count:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, max(hard, count)))
    except (OSError, ValueError) as error:
        raise SandboxError("limits", f"cannot have {count} descriptors, of at most {hard}: {error}") from error
