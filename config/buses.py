"""D-Bus grants: which names, interfaces and members of a bus a component may use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tlsrt.config.setting import WHY, Metadata, boolean, listing, mapping, text

SYSTEM = "/run/dbus/system_bus_socket"
RULES_MOST = 48  # of one grant; they are arguments of one program
_ELEMENT = "[A-Za-z_][A-Za-z0-9_]*"
_NAME = r"(?=.{3,255}$)[A-Za-z_-][A-Za-z0-9_-]*(?:\.[A-Za-z_-][A-Za-z0-9_-]*)+"
_NAME_SAYS = "a well-known name of a bus without wildcards, such as org.freedesktop.UPower"
_RULE = rf"{_ELEMENT}(?:\.{_ELEMENT})+\.(?:\*|{_ELEMENT})(?:@/(?:[A-Za-z0-9_]+(?:/[A-Za-z0-9_]+)*(?:/\*)?)?)?"


def _rules(what: str) -> Metadata:
    return listing(
        f"{what}, each INTERFACE.MEMBER or INTERFACE.*, perhaps with @/PATH or @/PATH/* behind it.",
        text(
            "A rule.",
            pattern=_RULE,
            says="INTERFACE.MEMBER or INTERFACE.*, perhaps with @/PATH or @/PATH/*",
            most=400,
        ),
        RULES_MOST,
        least=1,
        example='["org.freedesktop.UPower.EnumerateDevices"]',
    )


def bus_path(value: str) -> Path:
    """Return the path of a bus's socket. Raises ValueError with a sentence for what is none."""
    return Path(SYSTEM if value == "system" else value)


@dataclass(frozen=True, slots=True)
class BusConfig:
    """What it may do on a bus of D-Bus, and the reason; xdg-dbus-proxy holds it to that."""

    why: str = field(metadata=WHY)
    bus: Path = field(
        default=Path(SYSTEM),
        metadata=text(
            "system, or the path of the socket of another bus.",
            pattern=r"system|(?=.{2,107}$)(?:/(?!\.\.?(?:/|$))[A-Za-z0-9_.-]+)+",
            says="system, or an absolute path without links, of letters, digits and `_.-`",
            parse=bus_path,
            default_says="system",
            example="system",
        ),
    )
    call: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict[str, tuple[str, ...]],
        metadata=mapping(
            "Methods that it may call, by the name of who has them.",
            _rules("Methods"),
            32,
            _NAME,
            _NAME_SAYS,
            example='{org.freedesktop.UPower: ["org.freedesktop.UPower.EnumerateDevices"]}',
        ),
    )
    hear: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict[str, tuple[str, ...]],
        metadata=mapping(
            "Signals that reach it, by the name of who sends them to all.",
            _rules("Signals"),
            32,
            _NAME,
            _NAME_SAYS,
            example='{org.freedesktop.UPower: ["org.freedesktop.UPower.DeviceAdded"]}',
        ),
    )
    own: tuple[str, ...] = field(
        default=(),
        metadata=listing(
            "Names that it may take, if the bus lets its uid.",
            text("A name.", pattern=_NAME, says=_NAME_SAYS, most=255),
            8,
            example="[org.example.Meter]",
        ),
    )
    unfiltered: bool = field(
        default=False,
        metadata=boolean("The whole bus, held only by the bus's own policy; then nothing else is listed here."),
    )
    where: str = field(default="", compare=False)  # FILE:LINE:COL

    @property
    def filter(self) -> tuple[str, ...]:
        """Return the rules as arguments of xdg-dbus-proxy(1)."""
        rules = (("call", self.call), ("broadcast", self.hear))
        return (
            *(f"--own={name}" for name in self.own),
            *(f"--{kind}={name}={one}" for kind, table in rules for name, listed in table.items() for one in listed),
        )

    @property
    def sentence(self) -> str:
        """Return it in a few words: what the audit log records."""
        names = ", ".join(dict.fromkeys([*self.call, *self.hear, *self.own]))
        return f"speaks on {self.bus}" + (f" with {names}" if names else ", all of it")

    @property
    def problem(self) -> str:
        """Return why it cannot be had as it stands there; "" if it can."""
        count = len(self.filter)
        if self.unfiltered:
            return "unfiltered is the whole bus: take out call, hear and own, or unfiltered" if count else ""
        if not count:
            return "it lists nothing: say what it may call, hear or own, or `unfiltered: true` for the whole bus"
        return f"these are {count} rules, of at most {RULES_MOST}" if count > RULES_MOST else ""
