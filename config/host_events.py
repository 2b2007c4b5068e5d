"""Event grants: what a component may hear of the host: of its kernel, and of the runtime's own processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tlsrt.config.setting import WHY, boolean, count, listing, text

Kind = Literal["uevents", "pressure", "kernel_log", "network", "processes"]
Resource = Literal["", "cpu", "memory", "io"]
Stall = Literal["some", "full"]
RESOURCES = ("cpu", "memory", "io")
STALLS = ("some", "full")
LEVELS = ("emergency", "alert", "critical", "error", "warning", "notice", "info", "debug")  # syslog(2), 0 to 7
PREFIXES_MAX = 8
INTERFACES_MAX = 16
UNPRIVILEGED_MS = 2000  # the windows of pressure without CAP_SYS_RESOURCE are multiples of it, psi.rst
_PREFIX_MAX = 64
# Kind -> (the settings that it needs, those that it may have besides).
_SETTINGS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "uevents": ((), ()),
    "pressure": (("resource", "ms"), ("stall", "within_ms", "optional")),
    "kernel_log": (("prefixes",), ("level", "programs", "optional")),
    "network": (("interfaces",), ()),
    "processes": ((), ("every_s",)),
}


def prefix(value: str) -> str:
    """Return a prefix of the kernel's log as it is. Raises ValueError with a sentence for one that is none."""
    if not all(" " <= sign <= "~" for sign in value) or value.strip() == "" or "\\" in value:
        raise ValueError("a prefix must be printable ASCII without backslashes, such as `usb `")
    return value


def refusal_of_events(entry: Mapping[str, Any]) -> str:
    """Return what is wrong with an entry as a whole, "" if nothing is. Pure."""
    kind = entry["kind"]
    needed, possible = _SETTINGS[kind]
    if missing := next((one for one in needed if one not in entry), ""):
        return f"{missing} is missing: events of kind {kind} need it"
    if other := next((one for one in entry if one not in ("kind", "why", *needed, *possible)), ""):
        return f"{other} does not go with kind {kind}: remove it"
    if kind != "pressure":
        return ""
    if entry["resource"] == "cpu" and entry.get("stall") == "full":
        return "stall full says nothing of the processors of a whole host: ask for some"
    within = entry.get("within_ms", UNPRIVILEGED_MS)
    return f"ms must be at most within_ms, {within}, not {entry['ms']}" if entry["ms"] > within else ""


@dataclass(frozen=True, slots=True)
class HostEventsConfig:
    """One kind of events of the host."""

    kind: Kind = field(
        metadata=text(
            "uevents: devices that come, go and change. pressure: tasks wait for a resource. kernel_log: what the "
            "kernel writes into its log. network: links, addresses and routes that come, go and change. processes: "
            "the runtime's own processes, what they take and how they are.",
            choices=tuple(_SETTINGS),
        )
    )
    why: str = field(metadata=WHY)
    resource: Resource = field(
        default="", metadata=text("Of pressure: what is waited for.", choices=RESOURCES, example="memory")
    )
    stall: Stall = field(
        default="some", metadata=text("Of pressure: some tasks wait, or all that could run do (full).", choices=STALLS)
    )
    ms: int = field(
        default=0, metadata=count("Of pressure: time waited, within `within_ms`.", 1, 10_000, unit="ms", example="150")
    )
    within_ms: int = field(
        default=UNPRIVILEGED_MS,
        metadata=count(
            "Of pressure: there is one event at most in so long. Without CAP_SYS_RESOURCE, a multiple of 2000.",
            500,
            10_000,
            unit="ms",
        ),
    )
    prefixes: tuple[str, ...] = field(
        default=(),
        metadata=listing(
            "Of the kernel's log: only records whose text begins with one of these are told.",
            text("How the text begins, whole.", least=2, most=_PREFIX_MAX, parse=prefix),
            PREFIXES_MAX,
            least=1,
            example='["usb ", "nvme "]',
        ),
    )
    level: str = field(
        default="warning",
        metadata=text("Of the kernel's log: only records as grave as this, or graver.", choices=LEVELS),
    )
    programs: bool = field(default=False, metadata=boolean("Of the kernel's log: also what programs write into it."))
    interfaces: tuple[str, ...] = field(
        default=(),
        metadata=listing(
            "Of the network: only what happens on these interfaces is told.",
            text(
                "The name of an interface, or its beginning and `*`.",
                pattern=r"[A-Za-z0-9_.@-]{1,15}\*?|\*",
                says="the name of an interface, such as eth0, or its beginning and *",
            ),
            INTERFACES_MAX,
            least=1,
            example='["eth0", "wlan*"]',
        ),
    )
    every_s: int = field(default=10, metadata=count("Of processes: how often they are told.", 1, 3600, unit="s"))
    optional: bool = field(
        default=False, metadata=boolean("Run without it where this kernel has none of it; else it does not start.")
    )
    where: str = field(default="", compare=False)  # FILE:LINE:COL, for what only the host can tell

    @property
    def takes_helper(self) -> bool:
        """Tell whether the helper tells them; processes are told by the supervisor."""
        return self.kind != "processes"

    @property
    def file(self) -> str:
        """Return the file of the kernel that must be there, "" if there is none."""
        return {"pressure": f"/proc/pressure/{self.resource}", "kernel_log": "/dev/kmsg"}.get(self.kind, "")

    def __str__(self) -> str:
        if self.kind == "pressure":
            return f"pressure of {self.resource}: {self.stall}, {self.ms} ms within {self.within_ms} ms"
        if self.kind == "kernel_log":
            whose = "kernel and programs" if self.programs else "kernel"
            return f"log of the {whose}, {self.level} and graver: {', '.join(map(repr, self.prefixes))}"
        if self.kind == "network":
            return f"network changes on {', '.join(self.interfaces)}"
        return f"processes of the runtime, every {self.every_s} s" if self.kind == "processes" else self.kind
