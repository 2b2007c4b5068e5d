"""What each layer is good for, in the words of an operator who must do without it. Pure data.

`init` writes these beside the waivers that a host needs, and `sandbox check` says them of what is missing.
"""

from __future__ import annotations

from collections.abc import Mapping

# What a waiver voids, as the end of "without it, ...".
VOIDS: Mapping[str, str] = {
    "cgroup": "a loop is killed by its pidfd and its pid namespace alone, and only rlimits bound it",
    "session": "a loop shares the session and the terminal of the user who started tlsrt",
    "descriptors": "a loop keeps open what the supervisor has open: sockets and channels of the others",
    "pid_namespace": "loops see each other's processes, and what a loop leaves behind may outlive it",
    "net_namespace": (
        "loops share the host's network and its abstract UNIX sockets; Landlock still stops TCP (from ABI 4 on) and "
        "abstract sockets (from ABI 6 on), and nothing stops UDP"
    ),
    "ipc_namespace": "loops reach the host's System V and POSIX message queues and shared memory",
    "uts_namespace": "a loop sees the host's own name as it changes",
    "mount_namespace": (
        "loops see the host's files, and connect to its path-named UNIX sockets that file modes allow, unless Landlock "
        "(for sockets from ABI 9 on) or the layer seccomp_reports forbids it"
    ),
    "limits": "nothing bounds the memory, descriptors, tasks and file sizes of a loop",
    "bounding_set": "a program that a loop could start might have privileges again; no filter lets it start one",
    "ambient_set": "ambient capabilities of the process that started tlsrt stay",
    "securebits": "uid 0 stays special for the kernel; a loop that became root would have its capabilities",
    "uid": "all processes share one uid: only namespaces and Landlock keep their files and memory apart",
    "capabilities": "a loop keeps the capabilities of the supervisor",
    "no_new_privs": "a program with set-uid could give privileges, and without root there can be no filters",
    "not_dumpable": "a process of the same uid could read a loop's memory, and it could dump core",
    "parent_death": "loops may outlive a supervisor that was killed, until their channels tell them",
    "landlock": "code of components could read whatever the loop's mounts show while it is imported",
    "seccomp": "code of components may use every system call while it is imported",
    "seccomp_reports": (
        "refused calls are not reported, and egress rules do not hold: a loop with a network reaches any address over "
        "UDP, any address at a listed TCP port, and everything over TCP where more than 64 ports are listed"
    ),
    "landlock_sealed": "a running loop can open whatever its mounts show, and what network it has, it can use",
    "seccomp_sealed": "a running loop can use every system call of the kernel",
    "attestation": "the supervisor cannot see from outside which namespaces, mounts and descriptors a loop really has",
}

# What would give the layer, as an operator can do it; the kernel's reason stands beside it.
_SYS_ADMIN = "give the container CAP_SYS_ADMIN and a seccomp profile that allows unshare and mount"
_USER_NAMESPACES = (
    "allow user namespaces (user.max_user_namespaces, kernel.unprivileged_userns_clone, "
    "kernel.apparmor_restrict_unprivileged_userns), or start as root"
)
_CAPABILITY = "give the container CAP_SETPCAP"
_LANDLOCK = "use Linux 5.13 or newer with landlock in lsm=, and a seccomp profile that allows its calls"
_SECCOMP = "use a kernel with CONFIG_SECCOMP_FILTER, and allow the call seccomp"

_REMEDIES: Mapping[str, str] = {
    "cgroup": "mount cgroup2 writable, or let systemd delegate: Delegate=yes",
    "descriptors": "use Linux 5.9 or newer, and allow the call close_range",
    "bounding_set": _CAPABILITY,
    "securebits": _CAPABILITY,
    "uid": "give the container CAP_SETUID, CAP_SETGID and CAP_CHOWN",
    "landlock": _LANDLOCK,
    "landlock_sealed": _LANDLOCK,
    "seccomp": _SECCOMP,
    "seccomp_sealed": _SECCOMP,
    "seccomp_reports": "use Linux 5.6 or newer, and give the supervisor CAP_SYS_PTRACE",
    "attestation": "give the supervisor CAP_SYS_PTRACE",
}


def remedy(layer: str, *, is_root: bool) -> str:
    """Return what an operator can do to have a layer; nothing if there is no such advice."""
    if layer.endswith("_namespace"):
        return _SYS_ADMIN if is_root else _USER_NAMESPACES
    if layer in ("bounding_set", "securebits") and not is_root:
        return _USER_NAMESPACES
    return _REMEDIES.get(layer, "")
