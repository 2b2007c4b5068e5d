"""Attestation: read through /proc whether a process is confined as its profile says.

What a process tells about itself is no evidence, so the supervisor reads the kernel's own account of every task:
ids, groups, capabilities, no_new_privs, seccomp, namespaces, and the mount table; and of the process its limits, its
control group and its descriptors. What can only be compared with the reader (namespaces, filters inherited from a
service manager) is compared with `own`, read once by the supervisor.
"""

from __future__ import annotations

import os
from pathlib import Path

from tlsrt.sandbox.apply.root_plan import PlannedRoot
from tlsrt.sandbox.profile.profile import Profile
from tlsrt.sandbox.verify.differences import NAMESPACE_NAMES, NamespaceSet, parse_status, unreadable_sentence
from tlsrt.sandbox.verify.kept_files import KeptFiles
from tlsrt.sandbox.verify.process_look import ProcessLook, read_namespaces


def own_namespaces(proc: Path = Path("/proc")) -> NamespaceSet:
    """Return what `attest` compares with: read once, by the process that will attest."""
    files = KeptFiles(f"{proc}/self")
    try:
        status = parse_status(os.fsdecode(files.read("status")))
        identities = dict(zip(NAMESPACE_NAMES, read_namespaces(files), strict=True))
        return NamespaceSet(identities, status.groups, status.filters)
    finally:
        files.close()


def attest(
    pid: int, profile: Profile, own: NamespaceSet, *, proc: Path = Path("/proc"), max_tasks: int | None = None,
    root: PlannedRoot | None = None,
) -> list[str]:  # fmt: skip
    """Read process `pid` (as numbered in `proc`) and return how it differs from its profile. Empty is good.

    `max_tasks` bounds its number of tasks where that is known. `root` is what its root was built by (None: by the host
    as it is now). What cannot be read is a difference too; a task that ends meanwhile is none, the whole process gone
    is.
    """
    look = ProcessLook(pid, proc)
    try:
        return look.differences(profile, own, max_tasks=max_tasks, root=root)
    except OSError as error:
        return [unreadable_sentence(pid, error)]
    finally:
        look.close()
