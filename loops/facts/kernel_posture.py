"""What protects the kernel: taints, security modules, lockdown, modules, and the drift of settings from a declared set.

Pure but for the reads below a root.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypedDict

from tlsrt.loops.sampling.procfs import names, read_int, read_text, to_int

# Documentation/admin-guide/tainted-kernels.rst, bit by bit.
_TAINTS = (
    "proprietary_module", "forced_module", "unsafe_smp", "forced_unload", "machine_check", "bad_page",
    "by_user", "died", "acpi_override", "warning", "staging_driver", "firmware_workaround",
    "out_of_tree_module", "unsigned_module", "soft_lockup", "live_patched", "auxiliary", "randstruct", "test",
)  # fmt: skip
POSTURE = (
    "kernel.kptr_restrict", "kernel.dmesg_restrict", "kernel.randomize_va_space", "kernel.modules_disabled",
    "kernel.unprivileged_bpf_disabled", "fs.protected_symlinks", "fs.protected_hardlinks",
)  # fmt: skip
MODULES_MAX = 1024
_MODULES_BYTES = 1 << 20
# A security module that is on leaves one of these behind, also where securityfs, which lists them, is not to be seen.
_MARKS = (("selinux", "fs/selinux"), ("smack", "fs/smackfs"))


class Module(TypedDict):
    """One loaded module; `taints` are the letters of tainted-kernels.rst that it has brought."""

    name: str
    size_bytes: int
    uses: int | None
    used_by: list[str]
    state: str
    taints: str


class Posture(TypedDict):
    """What protects the kernel; null for what is not readable here."""

    tainted: list[str] | None
    lockdown: str | None
    security_modules: list[str] | None
    modules_disabled: bool | None
    modules: int | None
    sysctl: dict[str, str | None]


class Drift(TypedDict):
    """A setting that is not as declared; `found` is null if the kernel has no such setting.

    What only root may read is left out: whether it is as declared cannot be known here.
    """

    name: str
    declared: str
    found: str | None


def read_posture(proc: Path, sys: Path) -> Posture:
    """Return what protects the kernel."""
    disabled = read_int(proc / "sys/kernel/modules_disabled")
    modules = read_text(proc / "modules", _MODULES_BYTES)
    return {
        "tainted": taints(read_int(proc / "sys/kernel/tainted")),
        "lockdown": parse_lockdown(read_text(sys / "kernel/security/lockdown", 256)),
        "security_modules": security_modules(proc, sys),
        "modules_disabled": None if disabled is None else disabled != 0,
        "modules": None if modules is None else len(modules.splitlines()),
        "sysctl": {name: read_setting(proc, name) for name in POSTURE},
    }


def taints(mask: int | None) -> list[str] | None:
    """Return the names of taint flags; a bit without a name is `bit_N`. Pure."""
    if mask is None or mask < 0:
        return None
    bits = [bit for bit in range(mask.bit_length()) if mask >> bit & 1]
    return [_TAINTS[bit] if bit < len(_TAINTS) else f"bit_{bit}" for bit in bits]


def parse_lockdown(text: str | None) -> str | None:
    """Return the one in brackets of `none [integrity] confidentiality`. Pure."""
    chosen = [word[1:-1] for word in (text or "").split() if word.startswith("[") and word.endswith("]")]
    return chosen[0] if len(chosen) == 1 else None


def security_modules(proc: Path, sys: Path) -> list[str] | None:
    """Return the active security modules; those that leave a mark where the kernel's list is not to be seen.

    Null if there is neither a list nor a mark: then it is not known whether there are any.
    """
    if text := read_text(sys / "kernel/security/lsm", 1024):
        return text.split(",")
    found = [name for name, mark in _MARKS if (sys / mark).is_dir()]
    found += ["apparmor"] if read_text(sys / "module/apparmor/parameters/enabled", 16) == "Y" else []
    found += ["yama"] if (proc / "sys/kernel/yama").is_dir() else []
    return sorted(found) or None


def read_modules(proc: Path) -> list[Module] | None:
    """Return the loaded modules, at most 1024; null for a kernel without modules."""
    text = read_text(proc / "modules", _MODULES_BYTES)
    return None if text is None else parse_modules(text)[:MODULES_MAX]


def parse_modules(text: str) -> list[Module]:
    """Return the modules of a text of /proc/modules. Pure; lines that are none are left out."""
    found: list[Module] = []
    for line in text.splitlines():
        words = line.split()
        size = to_int(words[1]) if len(words) >= 5 else None
        if size is None:
            continue
        name, _, uses, users, state = words[:5]
        marks = words[6].strip("()") if len(words) > 6 else ""
        found.append(
            {
                "name": name, "size_bytes": size, "uses": to_int(uses),
                "used_by": [] if users == "-" else [user for user in users.split(",") if user],
                "state": state.lower(), "taints": marks,
            }
        )  # fmt: skip
    return found


def read_setting(proc: Path, name: str) -> str | None:
    """Return a setting by its dotted name, with one space between its words; null if it is not readable."""
    value = read_text((proc / "sys").joinpath(*name.split(".")), 4096)
    return None if value is None else " ".join(value.split())


def read_drift(proc: Path, declared: Mapping[str, str]) -> list[Drift]:
    """Return the settings that are not as declared."""
    found = ((name, " ".join(wanted.split()), read_setting(proc, name)) for name, wanted in declared.items())
    return [
        {"name": name, "declared": wanted, "found": value}
        for name, wanted, value in found
        if value != wanted and not (value is None and is_unreadable(proc, name))
    ]


def unreadable_settings(proc: Path, declared: Iterable[str]) -> list[str]:
    """Return which declared settings are left out of the drift, as only root may read them."""
    return sorted(name for name in declared if is_unreadable(proc, name))


def is_unreadable(proc: Path, name: str) -> bool:
    """Tell whether the kernel has a setting that only root may read."""
    path = (proc / "sys").joinpath(*name.split("."))
    return os.path.lexists(path) and not os.access(path, os.R_OK)


def read_vulnerabilities(sys: Path) -> dict[str, str | None]:
    """Return what the kernel says of each known weakness of its processors."""
    folder = sys / "devices/system/cpu/vulnerabilities"
    return {name: read_text(folder / name, 4096) for name in names(folder)}
