"""Planned root: what a process is to see of the host's files, fixed before its fork.

The child builds its root by it, and every look from outside compares with it. Were the host asked again in each round,
a link or a mount that an administrator changes there (/etc/localtime, say) would make every healthy process differ
from its profile; so they get it at their next start.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tlsrt.sandbox.apply.mounts import Expected
from tlsrt.sandbox.apply.root_filesystem import SCRATCH, SECRETS, RootPlan, plan_of
from tlsrt.sandbox.profile.profile import Profile


@dataclass(frozen=True, slots=True)
class PlannedRoot:
    """Links and binds to make, mounts to find in the process, and the reader's mountinfo text."""

    plan: RootPlan
    expected: Expected
    outside: str


def planned_root(profile: Profile, proc: Path = Path("/proc")) -> PlannedRoot:
    """Plan by the host as it is now. Raises SandboxError as `plan_root` does, OSError for an unreadable mount table."""
    plan = plan_of(profile)
    write = tuple((os.path.realpath(host), inside) for host, inside in profile.write)
    with open(f"{proc}/self/mountinfo", "rb") as file:
        outside = os.fsdecode(file.read())
    scratch = ((SCRATCH,) if profile.scratch_mb else ()) + ((SECRETS,) if profile.secrets else ())
    return PlannedRoot(plan, Expected(plan.binds, write, profile.proc, profile.sys, scratch, plan.hidden), outside)
