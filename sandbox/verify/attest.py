"""Attestation: read through /proc whether a process is confined as its profile says.

What a process tells about itself is no evidence, so the supervisor reads the kernel's own account of every task:
ids, groups, capabilities, no_new_privs, seccomp, namespaces, and the mount table; and of the process its limits, its
control group and its descriptors. What can only be compared with the reader (namespaces, filters inherited from a
service manager) is compared with `own`, read once by the supervisor.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tlsrt.sandbox.apply.mounts import mount_differences, mount_identities
from tlsrt.sandbox.apply.rlimits import limit_differences, parse_limits
from tlsrt.sandbox.apply.root_plan import PlannedRoot, planned_root
from tlsrt.sandbox.capabilities import mask
from tlsrt.sandbox.cgroup.cgroup import PROCS, parse_own_group
from tlsrt.sandbox.profile.profile import ATTESTATION, FILTER_LAYERS, Profile
from tlsrt.sandbox.verify.descriptors import descriptor_differences

_KEPT_SETS = ("CapPrm", "CapEff")  # of a process that keeps a capability
_CAPABILITY_SETS = {
    "CapInh": "capabilities",
    "CapPrm": "capabilities",
    "CapEff": "capabilities",
    "CapBnd": "bounding_set",
    "CapAmb": "ambient_set",
}
# Of sixty lines; the kernel writes a line feed in the name of a thread as \\n, so none of these can be forged by it.
_LINES = re.compile(
    rf"^(Uid|Gid|Groups|{'|'.join(_CAPABILITY_SETS)}|NoNewPrivs|Seccomp|Seccomp_filters|Threads):(.*)$", re.MULTILINE
)
_READ_BYTES = 64 * 1024
_NAMED = 8  # children in one sentence
_NAMESPACES = {  # entry of /proc/PID/ns -> the layer that makes it another than ours
    "mnt": "mount_namespace",
    "ipc": "ipc_namespace",
    "uts": "uts_namespace",
    "pid": "pid_namespace",
    "net": "net_namespace",
}


@dataclass(frozen=True, slots=True)
class NamespaceSet:
    """The reader's own namespaces (name to identity), groups, and inherited seccomp filters."""

    identities: Mapping[str, str]
    groups: tuple[int, ...] = ()
    filters: int = 0


@dataclass(frozen=True, slots=True)
class Task:
    """The part of /proc/PID/status that confinement shows in."""

    uids: tuple[int, ...]
    gids: tuple[int, ...]
    groups: tuple[int, ...]
    capabilities: Mapping[str, int] = field(default_factory=dict[str, int])
    no_new_privs: int = 0
    seccomp: int = 0
    filters: int = 0
    threads: int = 0


def parse_status(text: str) -> Task:
    """Return the facts of a proc_pid_status(5) text. Raises ValueError if one is missing or malformed."""
    lines: dict[str, str] = dict(_LINES.findall(text))
    try:
        uids, gids, groups = (tuple(int(word) for word in lines[key].split()) for key in ("Uid", "Gid", "Groups"))
        return Task(
            uids=uids,
            gids=gids,
            groups=groups,
            capabilities={name: int(lines[name], 16) for name in _CAPABILITY_SETS},
            no_new_privs=int(lines["NoNewPrivs"]),
            seccomp=int(lines["Seccomp"]),
            filters=int(lines["Seccomp_filters"]),
            threads=int(lines["Threads"]),
        )
    except KeyError as error:
        raise ValueError(f"no line {error.args[0]}") from error


def task_differences(task: Task, profile: Profile, own: NamespaceSet) -> list[str]:
    """Compare one task with the profile; returns a sentence for each difference."""
    found: list[str] = []
    if set(task.uids) != {profile.uid} and (profile.rootless or profile.expects("uid")):
        found.append(f"uids are {task.uids}, not all {profile.uid}")
    if set(task.gids) != {profile.gid} and (profile.rootless or profile.expects("uid")):
        found.append(f"gids are {task.gids}, not all {profile.gid}")
    groups = own.groups if profile.rootless else ()  # a user namespace of one id cannot drop groups
    if task.groups != groups and (profile.rootless or profile.expects("uid")):
        found.append(f"groups are {task.groups}, not {groups}")
    for name, layer in _CAPABILITY_SETS.items():
        kept = mask(profile.capabilities if name in _KEPT_SETS else profile.passed_on)
        if task.capabilities[name] != kept and profile.expects(layer):
            found.append(f"{name} is {task.capabilities[name]:#x}, not {kept:#x}")
    if task.no_new_privs != 1 and profile.expects("no_new_privs"):
        found.append("no_new_privs is not set")
    least = own.filters + sum(profile.expects(name) for name in FILTER_LAYERS)
    most = own.filters + sum(name in profile.layers for name in FILTER_LAYERS)  # a waived one may be there all the same
    mode = 2 if task.filters else 0
    if task.seccomp != mode or not least <= task.filters <= most:
        wanted = f"mode {2 if least else 0} with {least}"
        found.append(f"seccomp mode {task.seccomp} with {task.filters} filters, not {wanted}")
    return found


def namespace_differences(identities: Mapping[str, str], profile: Profile, own: NamespaceSet) -> list[str]:
    """Compare the namespaces of one task with ours; returns a sentence for each difference."""
    found: list[str] = []
    for name, layer in _NAMESPACES.items():
        is_ours = identities[name] == own.identities[name]
        if is_ours and profile.expects(layer):
            found.append(f"it shares our {name} namespace")
        if not is_ours and layer not in profile.layers:
            found.append(f"its {name} namespace is not ours")
    if identities["user"] != own.identities["user"]:
        found.append("it is in a user namespace of its own making")
    return found


def _read(path: str) -> str:
    """Return a file of /proc; measured, a file object costs as many system calls again."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        pieces = []
        while piece := os.read(descriptor, _READ_BYTES):
            pieces.append(piece)
        return os.fsdecode(b"".join(pieces))
    finally:
        os.close(descriptor)


def _read_namespaces(folder: str) -> dict[str, str]:
    return {name: os.readlink(f"{folder}/ns/{name}") for name in (*_NAMESPACES, "user")}


def own_namespaces(proc: Path = Path("/proc")) -> NamespaceSet:
    """Return what `attest` compares with: read once, by the process that will attest."""
    status = parse_status(_read(f"{proc}/self/status"))
    return NamespaceSet(_read_namespaces(f"{proc}/self"), status.groups, status.filters)


def _attest_task(folder: str, profile: Profile, own: NamespaceSet) -> tuple[list[str], int]:
    task = parse_status(_read(f"{folder}/status"))
    found = task_differences(task, profile, own)
    tells = profile.expects("not_dumpable") and profile.uid not in (0, os.geteuid())
    if (
        tells and os.stat(f"{folder}/status").st_uid == profile.uid
    ):  # root owns that of one that is not dumpable, proc(5)
        found.append("it is dumpable")
    try:
        found += namespace_differences(_read_namespaces(folder), profile, own)
    except PermissionError:
        if profile.expects(ATTESTATION):
            raise
    return found, task.threads


def _children_of(task: str) -> list[str]:
    """Return the pids of the processes that a task has made, proc_pid_children(5). None where no kernel tells."""
    try:
        return _read(f"{task}/children").split()
    except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN
        return []


def _count_in(group: Path) -> int:
    """Return how many processes are in a control group; a group that is no more has none."""
    try:
        return _read(f"{group}/{PROCS}").count("\n")
    except FileNotFoundError:
        return 0


def company_differences(children: Sequence[str], in_group: int) -> list[str]:
    """Return a sentence if a process is not alone: no policy lets any make another one.

    `in_group` are the processes in its control group. The first process of a pid namespace inherits those that lose
    their parent in it, so there it has a child if it has any descendant; where that namespace is waived, only the
    group finds one whose parent has gone.
    """
    if children:
        return [f"it has made a process: {', '.join(children[:_NAMED])}"]
    return [f"there are {in_group} processes in its control group, not 1"] if in_group > 1 else []


def _attest_process(folder: str, profile: Profile, table: str, children: Sequence[str]) -> list[str]:
    """Look at what belongs to a process as a whole. `table` is the mountinfo of one of its tasks."""
    found: list[str] = []
    in_group = 0
    if profile.expects("limits"):
        found += limit_differences(parse_limits(_read(f"{folder}/limits")), profile.limits)
    if profile.expects("cgroup") and profile.group is not None:
        group = parse_own_group(_read(f"{folder}/cgroup"))
        if group != profile.group.name:
            found.append(f"its control group is {group}, not {profile.group.name}")
        in_group = _count_in(profile.group.folder)
    found += company_differences(children, in_group)
    try:
        has_root = profile.expects("mount_namespace")
        found += descriptor_differences(folder, mount_identities(table) if has_root else None)
    except PermissionError:
        if profile.expects(ATTESTATION):
            raise
    return found


def ended_sentence(pid: int) -> str:
    """Return what `attest` says of a process that is not there any more."""
    return f"process {pid} has ended"


def attest(
    pid: int, profile: Profile, own: NamespaceSet, *, proc: Path = Path("/proc"), max_tasks: int | None = None,
    root: PlannedRoot | None = None,
) -> list[str]:  # fmt: skip
    """Read process `pid` (as numbered in `proc`) and return how it differs from its profile. Empty is good.

    `max_tasks` bounds its number of tasks where that is known. `root` is what its root was built by (None: by the host
    as it is now). What cannot be read is a difference too; a task that ends meanwhile is none, the whole process gone
    is.
    """
    folder = f"{proc}/{pid}"  # plain strings: this runs with every heartbeat round
    tasks = f"{folder}/task"
    found: list[str] = []
    threads = seen = 0
    table = ""
    children: list[str] = []
    has_root = profile.expects("mount_namespace")
    try:
        root = root or planned_root(profile, proc)
        for name in sorted(os.listdir(tasks), key=int):
            try:
                differences, threads = _attest_task(f"{tasks}/{name}", profile, own)
                children += _children_of(f"{tasks}/{name}")
                if has_root:
                    table = _read(f"{tasks}/{name}/mountinfo")
                    differences += mount_differences(root.expected, table, root.outside)
            except (FileNotFoundError, ProcessLookupError):
                if name == str(pid):
                    raise
                continue
            seen += 1
            found += [f"task {name}: {difference}" for difference in differences]
        found += _attest_process(folder, profile, table, children)
    except (FileNotFoundError, ProcessLookupError):
        return [ended_sentence(pid)]
    except (OSError, ValueError) as error:
        return [*found, f"cannot read process {pid}: {error}"]
    if max_tasks is not None and max(seen, threads) > max_tasks:
        found.append(f"it has {max(seen, threads)} tasks, not {max_tasks} at most")
    return found
