"""What the events of one device mean: keys, long presses, chords, motion, and lines of a scanner. Pure.

Nothing here is written to a log, and nothing but counts is kept of what was typed, once it has been given on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from tlsrt import Length, Range
from tlsrt.loops.third.input_events import (
    ABS,
    DOWN,
    ENTERS,
    KEY,
    REL,
    REPEAT,
    SHIFTS,
    STATES,
    SW,
    SYN,
    SYN_DROPPED,
    InputEvent,
    axis_name,
    key_code,
    key_name,
    typed,
)

PRESSED_MOST = 32  # keys that are down at once; a device that says more is not believed
AXES_MOST = 64  # in one report
LINE_S = 2.0  # after which a line without its end is no line any more
Item = dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputOptions:
    """What is told of a device, and to whom."""

    mode: Literal["events", "lines"] = "events"  # lines: of a scanner, one item for each
    long_press_ms: Annotated[int, Range(0, 60_000)] = 0  # 0: long presses are not told
    chords: Annotated[dict[str, tuple[str, ...]], Length(16)] = dataclasses.field(
        default_factory=dict[str, tuple[str, ...]]
    )
    line_chars: Annotated[int, Range(1, 4096)] = 256  # the longest line
    per_s: Annotated[int, Range(1, 1000)] = 200  # items; motion beyond it is joined, and keys are left out and counted
    publish: bool = False  # also as the topic `input`, which has no `readers`
    readers: Annotated[tuple[str, ...], Length(64)] = ("*",)  # of those whom policy lets call

    @property
    def problem(self) -> str:
        """Return what of it is wrong; empty if nothing is."""
        for name, keys in self.chords.items():
            if not 2 <= len(set(keys)) <= 8:
                return f"chords: {name}: name 2 to 8 keys"
            if wrong := [one for one in keys if key_code(one) is None]:
                return f"chords: {name}: there is no key {wrong[0][:32]}: write KEY_VOLUMEUP, or KEY_ and its number"
        if self.mode == "lines" and (self.chords or self.long_press_ms):
            return "mode lines tells whole lines alone: remove chords and long_press_ms"
        return ""


class InputDecoder:
    """The meaning of events, one after the other. Times are monotonic, s."""

    def __init__(self, options: InputOptions) -> None:
        self._options = options
        self._chords = {name: {key_code(one) for one in keys} for name, keys in options.chords.items()}
        self._pressed: dict[int, float] = {}  # since when; infinity once its long press was told
        self._motion: Item = {}
        self._line: list[str] = []
        self._line_s = 0.0
        self._is_too_long = False
        self._second, self._count = 0, 0
        self.dropped = 0
        self.lines_damaged = 0

    def reset(self) -> None:
        """Forget what is pressed and half a line: the device is another one now."""
        self._pressed.clear()
        self._motion.clear()
        self._line.clear()
        self._is_too_long = False

    def decode(self, events: Iterable[InputEvent], now: float) -> list[Item]:
        """Return what these events mean, and what is due."""
        found = self.due(now)
        for event in events:
            if event.kind == KEY:
                found += self._line_key(event, now) if self._options.mode == "lines" else self._key(event, now)
            elif event.kind == SYN and event.code == SYN_DROPPED:
                self.reset()
                found.append({"kind": "lost"})
            elif self._options.mode == "events":
                found += self._other(event, now)
        return found

    def due(self, now: float) -> list[Item]:
        """Return the long presses that are due, and motion that was joined and has room now."""
        found: list[Item] = []
        after_s = self._options.long_press_ms / 1000
        for code, since in [*self._pressed.items()] if after_s else []:
            if now - since >= after_s:
                self._pressed[code] = float("inf")
                found.append({"kind": "long_press", "key": key_name(code), "held_ms": round((now - since) * 1000)})
        return found

    @property
    def waits_for_time(self) -> bool:
        """Tell whether something may be due although no event comes."""
        untold = self._options.long_press_ms and any(since != float("inf") for since in self._pressed.values())
        return bool(untold or self._motion)

    def flush(self, now: float) -> list[Item]:
        """Return the motion that was joined, if there is room for it now."""
        if not self._motion or not self._has_room(now):
            return []
        motion, self._motion = self._motion, {}
        return [{"kind": "motion", **motion}]

    def _has_room(self, now: float) -> bool:
        if int(now) != self._second:
            self._second, self._count = int(now), 0
        self._count += 1
        return self._count <= self._options.per_s

    def _key(self, event: InputEvent, now: float) -> list[Item]:
        state = STATES.get(event.value)
        if state is None:
            return []
        if event.value == DOWN and len(self._pressed) < PRESSED_MOST:
            self._pressed[event.code] = now
        elif event.value not in (DOWN, REPEAT):
            self._pressed.pop(event.code, None)
        if not self._has_room(now):
            self.dropped += 1
            return []
        found: list[Item] = [{"kind": "key", "key": key_name(event.code), "code": event.code, "state": state}]
        if event.value == DOWN:
            down = self._pressed.keys()
            found += [{"kind": "chord", "chord": name} for name, keys in self._chords.items() if keys == down]
        return found

    def _other(self, event: InputEvent, now: float) -> list[Item]:
        if event.kind == SW:
            if self._has_room(now):
                return [{"kind": "switch", "switch": axis_name(SW, event.code), "is_on": event.value != 0}]
            self.dropped += 1
        elif event.kind in (REL, ABS):
            name = axis_name(event.kind, event.code)
            axes = self._motion.setdefault("relative" if event.kind == REL else "absolute", {})
            if name in axes or len(axes) < AXES_MOST:
                axes[name] = axes.get(name, 0) + event.value if event.kind == REL else event.value
        elif event.kind == SYN:
            return self.flush(now)
        return []

    def _line_key(self, event: InputEvent, now: float) -> list[Item]:
        """Collect characters until Enter."""
        if event.code in SHIFTS:
            if event.value == 0:
                self._pressed.pop(event.code, None)
            else:
                self._pressed[event.code] = now
            return []
        if event.value != DOWN:
            return []
        if self._line and now - self._line_s > LINE_S:
            self.lines_damaged += 1
            self._line.clear()
            self._is_too_long = False
        self._line_s = now
        if event.code in ENTERS:
            return self._end_of_line(now)
        if len(self._line) >= self._options.line_chars:
            self._is_too_long = True
        else:
            self._line.append(typed(event.code, is_shifted=bool(self._pressed.keys() & SHIFTS)))
        return []

    def _end_of_line(self, now: float) -> list[Item]:
        text, is_whole = "".join(self._line), not self._is_too_long
        self._line.clear()
        self._is_too_long = False
        if not is_whole:
            self.lines_damaged += 1
            return []
        if not text:
            return []
        if not self._has_room(now):
            self.dropped += 1
            return []
        return [{"kind": "scan", "text": text}]
