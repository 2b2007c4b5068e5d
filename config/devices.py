"""Device grants: what a component may have opened for it below /dev, and how its terminal line is set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tlsrt.config.setting import NAME, NAME_SAYS, WHY, boolean, count, table, text

Mode = Literal["r", "rw"]
Parity = Literal["none", "even", "odd"]
Hears = Literal["", "shared", "grabbed"]
Flow = Literal["none", "rts_cts", "xon_xoff"]
_KEYS = ("uinput", "uhid")
_NOT_DEVICES = ("shm", "mqueue", "hugepages", "fd", "mapper")


def device_path(value: str) -> str:
    """Return a path below /dev as it is. Raises ValueError with a sentence for any other."""
    parts = value.removeprefix("/dev/").split("/")
    if not value.startswith("/dev/") or "" in parts or "." in parts or ".." in parts:
        raise ValueError(f"path must lie below /dev, without `.` or `..`: {value} does not")
    if parts[0] in _NOT_DEVICES or parts == ["stdin"] or parts == ["stdout"] or parts == ["stderr"]:
        raise ValueError(f"{value} is no device: name the one that is meant")
    if parts[0] in _KEYS or parts[0].startswith("hidraw"):
        raise ValueError(
            f"{value} cannot be had: keyboards and security keys are below it too; a device with a driver of its own, "
            "such as a serial line, can"
        )
    return value


def refusal_of_device(entry: Mapping[str, Any]) -> str:
    """Return why an entry cannot be had, empty if it can: what hears keyboards is said, and never written to."""
    path, hears = str(entry.get("path", "")), entry.get("input")
    if path.startswith("/dev/input/") and not hears:
        return (
            f"{path} cannot be had like other devices: keyboards are below /dev/input too; say `input: grabbed`, or "
            "`input: shared`, with which other programs hear it as well"
        )
    if hears and entry.get("mode") == "rw":
        return f"{path} is heard, and never written to, as that could type: say `mode: r`"
    return (
        f"{path} is an input device or a line, and not both: remove `input` or `tty`"
        if hears and entry.get("tty")
        else ""
    )


@dataclass(frozen=True, slots=True)
class TtyConfig:
    """How a serial line is set before the component gets it; it cannot change that itself."""

    baud: int = field(default=0, metadata=count("Bits a second, both ways; 0: as it is.", 0, 10_000_000))
    raw: bool = field(default=True, metadata=boolean("Bytes as they come: no lines, no echo, no signals."))
    bits: int = field(default=8, metadata=count("Bits of a character.", 5, 8))
    parity: Parity = field(default="none", metadata=text("Parity bit.", choices=("none", "even", "odd")))
    stop_bits: int = field(default=1, metadata=count("Stop bits.", 1, 2))
    flow: Flow = field(default="none", metadata=text("Flow control.", choices=("none", "rts_cts", "xon_xoff")))


@dataclass(frozen=True, slots=True)
class DeviceConfig:
    """A character device, which the supervisor has opened and set; it comes again after it was unplugged."""

    name: str = field(
        metadata=text('Its name in the component: `self.device("line")`.', pattern=NAME, says=NAME_SAYS, example="line")
    )
    path: str = field(
        metadata=text(
            "Where it is below /dev. A link is followed if it stays there, as those in /dev/serial/by-id do.",
            parse=device_path,
            most=256,
            example="/dev/serial/by-id/usb-FTDI_FT232R-if00-port0",
        )
    )
    why: str = field(metadata=WHY)
    mode: Mode = field(default="rw", metadata=text("r: to read only; rw: to read and write.", choices=("r", "rw")))
    tty: TtyConfig = field(default=TtyConfig(baud=-1), metadata=table(TtyConfig))  # -1: it is not set
    input: Hears = field(
        default="",
        metadata=text(
            "It is an input device (evdev): shared: other programs hear it too; grabbed: none but this component does.",
            choices=("shared", "grabbed"), default_says="none",
        ),
    )  # fmt: skip
    where: str = field(default="", compare=False)  # FILE:LINE:COL

    @property
    def granted_mode(self) -> Mode:
        """Return how it is opened: an input device never for writing."""
        return "r" if self.input else self.mode

    @property
    def writes(self) -> bool:
        """Say whether it is opened for writing too."""
        return self.granted_mode == "rw"

    @property
    def is_tty(self) -> bool:
        """Say whether it must be a terminal line, and is set."""
        return self.tty.baud >= 0
