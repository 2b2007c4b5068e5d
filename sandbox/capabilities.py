"""Capabilities by name, capabilities(7), and those that this process has."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterable, Mapping

from tlsrt.sandbox.syscalls import CAPABILITY_VERSION_3, call

_NAMES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)  # fmt: skip
NUMBERS: Mapping[str, int] = {f"CAP_{name}": number for number, name in enumerate(_NAMES)}


def mask(names: Iterable[str]) -> int:
    """Return a set of capabilities as the kernel has it. Pure."""
    return sum({1 << NUMBERS[name] for name in names})


def effective() -> int:
    """Return the effective capabilities of this process, capget(2)."""
    data = ctypes.create_string_buffer(24)
    call("capget", struct.pack("=Ii", CAPABILITY_VERSION_3, 0), ctypes.addressof(data))
    low, _, _, high, _, _ = struct.unpack("=6I", data.raw)
    value: int = low | high << 32
    return value


def has(name: str) -> bool:
    """Tell whether this process has a capability now."""
    return bool(effective() & mask((name,)))
