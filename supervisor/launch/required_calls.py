"""System calls that a supervisor cannot be without beside the launcher's pidfds, tried before anything runs.

A kernel, or a filter of a container around us, that lacks one would otherwise show in the middle: as a measurement
that cannot be handed over, or a fork from which there is no way back.
"""

from __future__ import annotations

import os

from tlsrt.errors import SandboxError
from tlsrt.sandbox import syscalls


def check_calls(*, own_pid_namespace: bool) -> None:
    """Try memfd_create(2) and, for children with a pid namespace each, setns(2). Raises SandboxError."""
    try:
        os.close(os.memfd_create("tlsrt"))
    except OSError as error:
        raise _missing("descriptors", "memfd_create", error) from None
    if own_pid_namespace:
        _check_way_back()


def _check_way_back() -> None:
    home = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.setns(home, syscalls.CLONE_NEWPID)
    except OSError as error:
        raise _missing("pid_namespace", "setns", error) from None
    finally:
        os.close(home)


def _missing(layer: str, call: str, error: OSError) -> SandboxError:
    reason = os.strerror(error.errno or 0)
    return SandboxError(
        layer, f"{call} does not work here ({reason}): it needs a kernel or container that lets it pass"
    )
