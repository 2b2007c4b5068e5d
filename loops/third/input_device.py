"""One input device with all who listen to it: it goes, comes again, and is read all the time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from tlsrt.loops.third.input_decoder import InputDecoder, InputOptions, Item
from tlsrt.loops.third.input_events import InputEvents
from tlsrt.loops.third.listener import Listener
from tlsrt.loops.third.serial_line import Port

LOOK_S = 0.5  # for a device that has gone, of which nothing else tells while nothing is typed
DUE_S = 0.02  # for a long press that becomes due, and for motion that was joined


class InputDevice:
    """A device; what is typed goes to the listeners of the moment, and is kept nowhere."""

    def __init__(
        self, name: str, port: Port, options: InputOptions, on_items: Callable[[Sequence[Item]], None],
        on_presence: Callable[[bool], None],
    ) -> None:  # fmt: skip
        self.name = name
        self.port = port
        self.options = options
        self.decoder = InputDecoder(options)
        self.listeners: set[Listener[Item]] = set()
        self.events = 0
        self._on_items = on_items
        self._on_presence = on_presence
        self._stream = InputEvents()
        self._connections = port.connections
        self._is_told = port.is_present

    async def pump(self) -> None:
        """Read the device, for ever; it waits while the device is away."""
        while True:
            self._look()
            if not self.port.is_present:
                await self.port.present()
                continue
            data = b""
            try:
                async with asyncio.timeout(DUE_S if self.decoder.waits_for_time else LOOK_S):
                    data = await self.port.read()
            except TimeoutError:
                pass  # something may be due
            self._look()  # these may be the first bytes of another one
            events = self._stream.feed_untrusted(data)
            self.events += len(events)
            now = time.monotonic()
            if items := [*self.decoder.decode(events, now), *self.decoder.flush(now)]:
                self._tell(items)
                self._on_items(items)

    def _look(self) -> None:
        """Tell if it has gone or come, and begin anew then."""
        is_present = self.port.is_present
        is_another = self.port.connections != self._connections
        if is_present == self._is_told and not is_another:
            return
        for one in [False, True] if self._is_told and is_another and is_present else [is_present]:
            self._tell([{"is_present": one}])
            self._on_presence(one)
        self._is_told, self._connections = is_present, self.port.connections
        self._stream.reset()
        self.decoder.reset()

    def _tell(self, items: Sequence[Item]) -> None:
        wall_ms = time.time_ns() // 1_000_000
        for item in items:
            item["wall_ms"] = wall_ms
            for listener in self.listeners:
                listener.put(item)

    def shown(self) -> dict[str, Any]:
        """Return what is told of it: nothing that was typed."""
        return {
            "name": self.name, "mode": self.options.mode, "is_present": self.port.is_present,
            "connections": self.port.connections, "events": self.events, "dropped": self.decoder.dropped,
            "lines_damaged": self.decoder.lines_damaged, "listeners": len(self.listeners),
        }  # fmt: skip
