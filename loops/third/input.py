"""Input devices: keys, buttons, touch, switches and barcode scanners, as events for all who listen.

A device is granted with a reason, opened and grabbed outside of this process, and found again after it was unplugged.
What is typed is written to no log and kept nowhere: it goes to who listens now, and to no other.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Annotated, Any

from tlsrt import (
    BoundedTable,
    Busy,
    Component,
    ConfigError,
    Length,
    MisuseError,
    NotFound,
    Range,
    WhenFull,
    handler,
)
from tlsrt.loops.third.input_decoder import InputOptions, Item
from tlsrt.loops.third.input_device import InputDevice
from tlsrt.loops.third.listener import Listener

DEVICES = 16
LISTENERS = 64
LISTENERS_SHARE = LISTENERS // 4  # of one caller
QUEUE = 256  # items that wait for one listener at most
_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")

Name = Annotated[str, Length(64, 1)]


class Input(Component):
    """Granted input devices."""

    class Options:
        """Options: the devices."""

        inputs: Annotated[dict[str, InputOptions], "Devices by their name under `needs: devices`."]

        def __post_init__(self) -> None:
            if not 0 < len(self.inputs) <= DEVICES:
                raise ValueError(f"inputs: name 1 to {DEVICES} devices")
            for name, one in self.inputs.items():
                if not _NAME.fullmatch(name):
                    raise ValueError(f"inputs: {name!r} is no name: use letters, digits and _, such as scanner")
                if one.problem:
                    raise ValueError(f"inputs: {name}: {one.problem}")

    topics = {  # noqa: RUF012
        "presence": "a device came or went: input, is_present",
        "input": "what a device with `publish` says, as `listen` has it, and `input`, its name",
    }

    async def start(self) -> None:
        self._listeners: BoundedTable[Listener[Item], None] = BoundedTable(LISTENERS, LISTENERS_SHARE, WhenFull.REFUSE)
        self._inputs: dict[str, InputDevice] = {}
        for name, options in self.options.inputs.items():
            try:
                device = self.device(name)
            except MisuseError:
                raise ConfigError(
                    f"input {name}: no device of this name is granted; put it under `needs: devices`, with `input`"
                ) from None
            self._inputs[name] = one = InputDevice(
                name, device, options, partial(self._tell_items, name), partial(self._tell_presence, name)
            )
            self.spawn(one.pump, name=f"reads {name}")

    def _tell_presence(self, name: str, is_present: bool) -> None:
        self.publish("presence", {"input": name, "is_present": is_present})
        self.count("came" if is_present else "went")

    def _tell_items(self, name: str, items: Sequence[Item]) -> None:
        self.count("told", len(items))
        if self._inputs[name].options.publish:
            for item in items:
                self.publish("input", {"input": name, **item})

    def _may(self, one: InputDevice) -> bool:
        return "*" in one.options.readers or self.caller in one.options.readers

    @handler(idempotent=True)
    async def list(self) -> list[dict[str, Any]]:
        """Devices: is it there, how often it came, events, items left out, damaged lines, listeners."""
        return [one.shown() for one in self._inputs.values() if self._may(one)]

    @handler(idempotent=True)
    async def listen(self, input: Name, queue: Annotated[int, Range(1, QUEUE)] = 64) -> AsyncIterator[dict[str, Any]]:
        """What a device says from now on: `kind` key, chord, long_press, motion, switch, scan or lost, and `wall_ms`.

        Who is too slow misses the oldest ones beyond `queue`; `dropped` in the next item says how many. `is_present`
        tells when the device comes or goes.
        """
        one = self._inputs.get(input)
        if one is None or not self._may(one):
            raise NotFound(f"no input {input}; `list` shows those that you may listen to")
        listener = Listener[Item](queue)
        if not self._listeners.add(listener, None, self.caller).is_added:
            raise Busy(f"{LISTENERS_SHARE} listeners of one caller, or {LISTENERS} of all: try again later")
        one.listeners.add(listener)
        try:
            yield {"is_present": one.port.is_present}
            while True:
                dropped, item = await listener.take()
                if dropped:
                    self.count("dropped", dropped)
                yield {**item, "dropped": dropped} if dropped else item
        finally:
            one.listeners.discard(listener)
            self._listeners.remove(listener)
