"""Setting grants: values below /sys and /proc/sys that a component may have written, within a range.

With some settings of the kernel a process could become root, or load code: those are refused whatever the reason, by
the table below, when the configuration is read and again for what a path leads to when it is written.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tlsrt.config.network_settings import GATEWAYS_MAX, RouteConfig, SetConfig, number_of, ranges_of, text_of
from tlsrt.config.number_ranges import Values, parse_values
from tlsrt.config.setting import NAME, NAME_SAYS, WHY, table, text

ROOTS = ("/proc/sys", "/sys")
_RUNS = "the kernel runs a program of that name as root"
_MODULES = "it decides which code the kernel loads"
_HIDES = "it protects the kernel, or other processes, from every process of the host"
_DRIVERS = "it takes a device from its driver, or gives it another one"
_RAW = "it reaches a device past its driver"
_STRANGERS = "it decides which devices of strangers the host takes"
_FIRMWARE = "it loads code into a device or a processor"
_OFFLINE = "it takes processors or memory from the host, or puts it to sleep"
# What a path leads to, or lies below -> why it can never be written.
REFUSED_PLACES = {
    "/proc/sys/kernel/core_pattern": _RUNS,
    "/proc/sys/kernel/core_pipe_limit": _RUNS,
    "/proc/sys/kernel/modprobe": _RUNS,
    "/proc/sys/kernel/hotplug": _RUNS,
    "/proc/sys/kernel/poweroff_cmd": _RUNS,
    "/proc/sys/kernel/usermodehelper": _RUNS,
    "/proc/sys/kernel/sysrq": "it lets a keyboard stop or end the host",
    "/proc/sys/kernel/modules_disabled": _MODULES,
    "/proc/sys/kernel/kexec_load_disabled": _MODULES,
    "/proc/sys/kernel/kexec_load_limit_panic": _MODULES,
    "/proc/sys/kernel/kexec_load_limit_reboot": _MODULES,
    "/proc/sys/kernel/kptr_restrict": _HIDES,
    "/proc/sys/kernel/dmesg_restrict": _HIDES,
    "/proc/sys/kernel/randomize_va_space": _HIDES,
    "/proc/sys/kernel/perf_event_paranoid": _HIDES,
    "/proc/sys/kernel/unprivileged_bpf_disabled": _HIDES,
    "/proc/sys/kernel/unprivileged_userns_clone": _HIDES,
    "/proc/sys/kernel/apparmor_restrict_unprivileged_userns": _HIDES,
    "/proc/sys/kernel/apparmor_restrict_unprivileged_unconfined": _HIDES,
    "/proc/sys/kernel/io_uring_disabled": _HIDES,
    "/proc/sys/kernel/io_uring_group": _HIDES,
    "/proc/sys/kernel/loadpin": _MODULES,
    "/proc/sys/kernel/yama": _HIDES,
    "/proc/sys/kernel/seccomp": _HIDES,
    "/proc/sys/kernel/ns_last_pid": "it chooses the pid of the next process",
    "/proc/sys/kernel/cad_pid": "it says which process a keyboard ends",
    "/proc/sys/kernel/ctrl-alt-del": "it lets a keyboard end the host",
    "/proc/sys/kernel/core_uses_pid": _HIDES,
    "/proc/sys/fs/suid_dumpable": _HIDES,
    "/proc/sys/fs/protected_fifos": _HIDES,
    "/proc/sys/fs/protected_hardlinks": _HIDES,
    "/proc/sys/fs/protected_regular": _HIDES,
    "/proc/sys/fs/protected_symlinks": _HIDES,
    "/proc/sys/fs/binfmt_misc": _RUNS,
    "/proc/sys/vm/mmap_min_addr": _HIDES,
    "/proc/sys/vm/mmap_rnd_bits": _HIDES,
    "/proc/sys/vm/mmap_rnd_compat_bits": _HIDES,
    "/proc/sys/vm/memfd_noexec": _HIDES,
    "/proc/sys/vm/unprivileged_userfaultfd": _HIDES,
    "/proc/sys/net/core/bpf_jit_enable": _HIDES,
    "/proc/sys/net/core/bpf_jit_harden": _HIDES,
    "/proc/sys/user": _HIDES,
    "/proc/sys/dev/tty/legacy_tiocsti": _HIDES,
    "/proc/sys/dev/tty/ldisc_autoload": _MODULES,
    "/sys/kernel": "it changes the kernel itself",
    "/sys/module": _MODULES,
    "/sys/fs": "it belongs to file systems and control groups, which confine processes",
    "/sys/firmware": "it is the firmware's",
    "/sys/power": "it puts the host to sleep; that is a thing for a component that may",
    "/sys/hypervisor": "it is the hypervisor's",
    "/sys/devices/system/cpu/smt": _OFFLINE,
    "/sys/devices/system/memory": _OFFLINE,
}
# Names of files that mean the same wherever they are below /sys.
REFUSED_NAMES = {
    **dict.fromkeys(
        ("bind", "unbind", "new_id", "remove_id", "driver_override", "drivers_probe", "drivers_autoprobe",
         "new_device", "delete_device"), _DRIVERS,
    ),
    **dict.fromkeys(
        ("remove", "rescan", "reset", "reset_method", "sriov_numvfs", "delete", "delete_controller",
         "reset_controller", "rescan_controller", "eject", "bConfigurationValue", "disable"), _DRIVERS,
    ),
    **dict.fromkeys(("nvm_authenticate", "nvm_authenticate_on_disconnect", "reload", "loading"), _FIRMWARE),
    **dict.fromkeys(("config", "rom", "vpd", "data", "nvmem", "eeprom"), _RAW),
    "uevent": "it makes events up that other programs act on",
    **dict.fromkeys(("authorized", "authorized_default", "interface_authorized_default"), _STRANGERS),
    **dict.fromkeys(("state", "online"), _OFFLINE),
}  # fmt: skip
_RESOURCE = re.compile(r"resource[0-9]+(_wc)?")
_PARTS = re.compile(r"[A-Za-z0-9_.:@,+*?=-]+")


def refusal_of(path: str) -> str:
    """Return why what a path leads to may never be written, "" if it may. A pattern counts as what it may match.

    Links are not followed: what a path leads to in the end is judged when it is written.
    """
    if not any(path.startswith(f"{root}/") for root in ROOTS):
        return "it lies neither below /sys nor below /proc/sys"
    for place, why in REFUSED_PLACES.items():
        if _may_lie_in(path, place):
            return why
    name = path.rpartition("/")[2]
    if path.startswith("/sys/") and (_RESOURCE.fullmatch(name) or name in REFUSED_NAMES):
        return REFUSED_NAMES.get(name, _RAW)
    return ""


def _may_lie_in(path: str, place: str) -> bool:
    """Say whether a path or pattern may name a place, or something below it."""
    parts, places = path.split("/"), place.split("/")
    return len(parts) >= len(places) and all(map(fnmatch.fnmatchcase, places, parts))


def setting_path(value: str) -> str:
    """Return a path of a setting as it is. Raises ValueError with a sentence for one that is none, or is refused."""
    root = next((one for one in ROOTS if value.startswith(f"{one}/")), None)
    parts = value.removeprefix(root or "").split("/")[1:]
    if root is None or not all(_PARTS.fullmatch(part) for part in parts) or {".", ".."} & {*parts}:
        raise ValueError(f"path must lie below /sys or /proc/sys, without `.` or `..`: {value} does not")
    if root == "/proc/sys" and any(mark in value for mark in "*?"):
        raise ValueError(f"path below /proc/sys must be whole, without * or ?: {value} is not")
    if "*" in parts[-1] or "?" in parts[-1]:
        raise ValueError(f"path must name its file, only folders before it may have * or ?: {value} does not")
    if why := refusal_of(value):
        raise ValueError(f"{value} can never be asked for: {why}")
    return value


Capability = Literal["", "CAP_NET_ADMIN"]


def refusal_of_setting(entry: Mapping[str, Any]) -> str:
    """Return what is wrong with an entry as a whole, "" if nothing is. Pure."""
    kinds = [one for one in ("path", "route", "set") if one in entry]
    if len(kinds) != 1:
        return "it must have one of path, route and set"
    if kinds == ["path"]:
        return "" if "values" in entry else "values is missing: which numbers it may write"
    if other := next((one for one in ("values", "capability") if one in entry), ""):
        return f"{other} goes with path only: remove it"
    try:
        if kinds == ["set"]:
            ranges_of(entry["set"]["type"], tuple(entry["set"]["values"]))
            return ""
        version = 6 if ":" in entry["route"]["to"] else 4
        gateways = ranges_of(f"ipv{version}_addr", tuple(entry["route"]["via"]))
    except ValueError as error:
        return str(error)
    if gateways.has(0):
        return f"{text_of(f'ipv{version}_addr', 0)} is no gateway"
    if sum(high - low + 1 for low, high in gateways.ranges) > GATEWAYS_MAX:
        return f"via holds more than {GATEWAYS_MAX} gateways"
    return ""


@dataclass(frozen=True, slots=True)
class SettingConfig:
    """One setting of the kernel, set by a helper when the component asks, after the audit log has it."""

    name: str = field(
        metadata=text(
            'Its name in the component: `await self.set("brightness", 40)`.',
            pattern=NAME,
            says=NAME_SAYS,
            example="brightness",
        )
    )
    why: str = field(metadata=WHY)
    path: str = field(
        default="",
        metadata=text(
            "The file below /sys or /proc/sys. Below /sys a folder may have * and ?; one file must fit.",
            parse=setting_path,
            most=256,
            default_says="there is none",
            example="/sys/class/backlight/*/brightness",
        ),
    )
    values: Values = field(
        default=Values(()),
        metadata=text(
            "With `path`: the whole numbers that it may write, ranges with both ends, and single ones.",
            parse=parse_values,
            most=256,
            example='"0-100"',
        ),
    )
    capability: Capability = field(
        default="",
        metadata=text(
            "With `path`: the capability that the kernel asks for, as of most files of a network device.",
            choices=("CAP_NET_ADMIN",),
            example="CAP_NET_ADMIN",
        ),
    )
    route: RouteConfig | None = field(default=None, metadata=table(RouteConfig))
    nft_set: SetConfig | None = field(default=None, metadata=table(SetConfig, key="set"))
    where: str = field(default="", compare=False)  # FILE:LINE:COL

    @property
    def is_network(self) -> bool:
        """Say whether the network helper does it."""
        return bool(self.capability or self.reversible)

    @property
    def reversible(self) -> RouteConfig | SetConfig | None:
        """Return what can be unset again, None of a file."""
        return self.route or self.nft_set

    @property
    def accepts(self) -> Values:
        """Return the numbers that may be set."""
        return self.values if self.reversible is None else self.reversible.accepts

    @property
    def choices(self) -> int:
        """Return how many devices there are to choose from, 1 if there is no choice."""
        return max(1, len(self.route.devices)) if self.route is not None else 1

    def chosen(self, value: object) -> tuple[int, int]:
        """Return what a component says as a number, and which device it chose. Raises ValueError with a sentence."""
        device, number = 0, value
        if self.route is not None and self.route.devices and type(value) is str:
            number, _, name = value.partition("%")
            if not name and len(self.route.devices) == 1:
                name = self.route.devices[0]
            if name not in self.route.devices:
                raise ValueError(f"must be ADDRESS%DEVICE with one of {', '.join(self.route.devices)}, not {value!r}")
            device = self.route.devices.index(name)
        if self.reversible is not None:
            number = number_of(self.reversible.kind, number)
        if type(number) is not int or not self.accepts.has(number):
            raise ValueError(f"must be {self}, not {value!r}")
        return number, device

    def __str__(self) -> str:
        """Return what may be said, in words."""
        if self.route is not None:
            return f"a gateway of {', '.join(self.route.via)}"
        return f"one of {', '.join(self.nft_set.values)}" if self.nft_set else f"a whole number of {self.values}"

    @property
    def about(self) -> str:
        """Return what is set, in words."""
        by = f" by {self.capability}" if self.capability else ""
        return str(self.reversible) if self.reversible is not None else f"{self.path} = {self.values}{by}"
