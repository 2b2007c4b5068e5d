"""What a killed supervisor leaves behind, removed by the launcher that outlived it: its control groups."""

from __future__ import annotations


def sweep() -> None:
    """Remove the groups of lives that have ended; what does not work is left to the next start."""
    from tlsrt.errors import SandboxError
    from tlsrt.sandbox.cgroup.cgroup import own_place
    from tlsrt.sandbox.cgroup.tree import home, remove_leftovers

    try:
        remove_leftovers(home(own_place()))
    except (SandboxError, OSError):
        return
