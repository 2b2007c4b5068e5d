"""Differences between what the kernel says of a task and its profile: status, namespaces, company. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tlsrt.sandbox.capabilities import mask
from tlsrt.sandbox.profile.profile import FILTER_LAYERS, Profile

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
_FACTS = (  # the same lines are between these in every kernel from 4.17 on; what lies between the parts changes at rest
    (b"\nUid:", b"\nNStgid:"), (b"\nThreads:", b"\nSigQ:"), (b"\nCapInh:", b"\nSpeculation_Store_Bypass:"),
)  # fmt: skip
_NAMED = 8  # children in one sentence
_NAMESPACES = {  # entry of /proc/PID/ns -> the layer that makes it another than ours
    "mnt": "mount_namespace",
    "ipc": "ipc_namespace",
    "uts": "uts_namespace",
    "pid": "pid_namespace",
    "net": "net_namespace",
}
NAMESPACE_NAMES = (*_NAMESPACES, "user")


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


def facts_of(status: bytes) -> bytes:
    """Return the lines of a proc_pid_status(5) text that `parse_status` reads, without those that change at rest.

    All of it for a text that is laid out otherwise.
    """
    parts: list[bytes] = []
    end = 0
    for first, last in _FACTS:
        begin = status.find(first, end)
        end = status.find(last, begin + 1)
        if begin < 0 or end < 0:
            return status
        parts.append(status[begin:end])
    return b"".join(parts)


def company_differences(children: Sequence[str], in_group: int) -> list[str]:
    """Return a sentence if a process is not alone: no policy lets any make another one.

    `in_group` are the processes in its control group. The first process of a pid namespace inherits those that lose
    their parent in it, so there it has a child if it has any descendant; where that namespace is waived, only the
    group finds one whose parent has gone.
    """
    if children:
        return [f"it has made a process: {', '.join(children[:_NAMED])}"]
    return [f"there are {in_group} processes in its control group, not 1"] if in_group > 1 else []


def ended_sentence(pid: int) -> str:
    """Return what `attest` says of a process that is not there any more."""
    return f"process {pid} has ended"


def unreadable_sentence(pid: int, error: Exception) -> str:
    """Return what `attest` says of a process that it cannot look at."""
    return f"cannot read process {pid}: {error}"
