"""Capabilities that programs may have, capabilities(7), and why the others are granted to none."""

from __future__ import annotations

from collections.abc import Mapping

from tlsrt.text import did_you_mean

_OTHERS = "it overrides the rights of files, with which everything else is held"
_USERS = "it lets a process become another user, also root"
_ROOT = "it is root in all but name"
_KERNEL = "it changes the kernel, or reads its memory"
_POLICY = "it changes what confines processes"
_NETWORK = (
    "a program's network is empty, and what it reaches or listens on is made for it by the supervisor: ask with "
    "`egress` and `listen`, and with `netlink` for what changes the host's"
)
_CALLS = "no call that it is for passes the filter of a program"
_OWN = "all that it could act on, a program's own processes and files, it may do so already"
# What a program can do with it where it is: without network, with a root and processes of its own.
GRANTED: Mapping[str, str] = {
    "CAP_IPC_LOCK": "keeps memory that the host shall never swap, as much as it has",
    "CAP_WAKE_ALARM": "sets timers that wake the host from sleep",
}
REFUSED: Mapping[str, str] = {
    **dict.fromkeys(("CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_CHOWN", "CAP_FOWNER", "CAP_FSETID"), _OTHERS),
    **dict.fromkeys(("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETFCAP"), _USERS),
    **dict.fromkeys(("CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_BPF", "CAP_PERFMON", "CAP_CHECKPOINT_RESTORE"), _ROOT),
    **dict.fromkeys(("CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_BOOT", "CAP_MKNOD", "CAP_SYSLOG"), _KERNEL),
    **dict.fromkeys(("CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYS_CHROOT", "CAP_SYS_RESOURCE"), _POLICY),
    **dict.fromkeys(("CAP_AUDIT_CONTROL", "CAP_AUDIT_READ", "CAP_AUDIT_WRITE", "CAP_LINUX_IMMUTABLE"), _POLICY),
    **dict.fromkeys(("CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST"), _NETWORK),
    **dict.fromkeys(("CAP_SYS_TIME", "CAP_SYS_NICE", "CAP_SYS_PACCT", "CAP_SYS_TTY_CONFIG", "CAP_LEASE"), _CALLS),
    "CAP_BLOCK_SUSPEND": _CALLS,
    **dict.fromkeys(("CAP_KILL", "CAP_IPC_OWNER"), _OWN),
}


def refusal_of_capability(name: str) -> str:
    """Return why no program gets a capability, "" if one may. Pure."""
    if name in GRANTED:
        return ""
    if name in REFUSED:
        return f"{name} is granted to no program: {REFUSED[name]}"
    return f"there is no capability {name}{did_you_mean(name, [*GRANTED, *REFUSED])}"
