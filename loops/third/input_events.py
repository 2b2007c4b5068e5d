"""Events of evdev as the kernel writes them, 24 bytes each (linux/input.h, machines of 64 bits). Pure."""

from __future__ import annotations

import struct
from typing import NamedTuple

EVENT = struct.Struct("=qqHHi")  # seconds, microseconds, type, code, value
SYN, KEY, REL, ABS, SW = 0, 1, 2, 3, 5
SYN_REPORT, SYN_DROPPED = 0, 3
UP, DOWN, REPEAT = 0, 1, 2
STATES = {UP: "up", DOWN: "down", REPEAT: "repeat"}
ENTERS = frozenset({28, 96})
SHIFTS = frozenset({42, 54})

_ROWS = {  # first code -> what the keys from there on are called
    1: "ESC 1 2 3 4 5 6 7 8 9 0 MINUS EQUAL BACKSPACE TAB Q W E R T Y U I O P LEFTBRACE RIGHTBRACE ENTER LEFTCTRL",
    30: "A S D F G H J K L SEMICOLON APOSTROPHE GRAVE LEFTSHIFT BACKSLASH Z X C V B N M COMMA DOT SLASH RIGHTSHIFT",
    55: "KPASTERISK LEFTALT SPACE CAPSLOCK F1 F2 F3 F4 F5 F6 F7 F8 F9 F10 NUMLOCK SCROLLLOCK",
    71: "KP7 KP8 KP9 KPMINUS KP4 KP5 KP6 KPPLUS KP1 KP2 KP3 KP0 KPDOT",
    87: "F11 F12",
    96: "KPENTER RIGHTCTRL KPSLASH SYSRQ RIGHTALT LINEFEED HOME UP PAGEUP LEFT RIGHT END DOWN PAGEDOWN INSERT DELETE",
    112: "MACRO MUTE VOLUMEDOWN VOLUMEUP POWER",
    125: "LEFTMETA RIGHTMETA COMPOSE STOP",
    142: "SLEEP WAKEUP",
    163: "NEXTSONG PLAYPAUSE PREVIOUSSONG STOPCD",
}
_NAMES = {first + at: f"KEY_{name}" for first, row in _ROWS.items() for at, name in enumerate(row.split())}
_NAMES |= {0x110 + at: f"BTN_{name}" for at, name in enumerate(("LEFT", "RIGHT", "MIDDLE", "SIDE", "EXTRA"))}
_NAMES |= {0x14A: "BTN_TOUCH", 0x145: "BTN_TOOL_FINGER"}
_CODES = {name: code for code, name in _NAMES.items()}
_AXES = {
    REL: {0: "REL_X", 1: "REL_Y", 6: "REL_HWHEEL", 7: "REL_DIAL", 8: "REL_WHEEL"},
    ABS: {0: "ABS_X", 1: "ABS_Y", 24: "ABS_PRESSURE", 47: "ABS_MT_SLOT", 53: "ABS_MT_POSITION_X",
          54: "ABS_MT_POSITION_Y", 57: "ABS_MT_TRACKING_ID"},
    SW: {0: "SW_LID", 1: "SW_TABLET_MODE", 2: "SW_HEADPHONE_INSERT", 5: "SW_DOCK"},
}  # fmt: skip
_PREFIX = {REL: "REL", ABS: "ABS", SW: "SW"}
_CHARACTERS = {  # first code -> without and with shift, in the layout of the USA, as scanners pretend to have
    2: ("1234567890-=", "!@#$%^&*()_+"), 15: ("\t", "\t"), 16: ("qwertyuiop[]", "QWERTYUIOP{}"),
    30: ("asdfghjkl;'`", 'ASDFGHJKL:"~'), 43: ("\\zxcvbnm,./", "|ZXCVBNM<>?"), 57: (" ", " "),
    55: ("*", "*"), 71: ("789-456+1230.", "789-456+1230."), 98: ("/", "/"),
}  # fmt: skip
_TYPED = [
    {first + at: row[shifted][at] for first, row in _CHARACTERS.items() for at in range(len(row[0]))}
    for shifted in (0, 1)
]
_CODES_MOST = 768  # KEY_CNT


class InputEvent(NamedTuple):
    """One event: what kind, which key or axis, and its value."""

    kind: int
    code: int
    value: int


class InputEvents:
    """The events in what a device says; pieces may end anywhere."""

    def __init__(self) -> None:
        self._rest = b""

    def feed_untrusted(self, data: bytes) -> list[InputEvent]:
        """Return the events that end in this piece; it cannot fail."""
        data = self._rest + data
        whole = len(data) // EVENT.size * EVENT.size
        self._rest = data[whole:]
        return [InputEvent(kind, code, value) for _, _, kind, code, value in EVENT.iter_unpack(data[:whole])]

    def reset(self) -> None:
        """Forget half an event."""
        self._rest = b""


def key_name(code: int) -> str:
    """Return the name of a key in linux/input-event-codes.h, or KEY_ and its number."""
    return _NAMES.get(code, f"KEY_{code}")


def key_code(name: str) -> int | None:
    """Return the code of a key, by its name or KEY_ and a number; None for what is none."""
    if name in _CODES:
        return _CODES[name]
    number = name.removeprefix("KEY_")
    is_code = name.startswith("KEY_") and number.isascii() and number.isdecimal() and len(number) < 4
    return int(number) if is_code and int(number) < _CODES_MOST else None


def axis_name(kind: int, code: int) -> str:
    """Return the name of an axis or switch, or its kind and number."""
    return _AXES[kind].get(code, f"{_PREFIX[kind]}_{code}")


def typed(code: int, *, is_shifted: bool) -> str:
    """Return the character of a key, "" for one that has none."""
    return _TYPED[is_shifted].get(code, "")
