"""The scale: read by pyserial, which opens the line by its path as it does anywhere. Each line is a weight in grams."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated

import serial

from home_devices.meter import Lines
from tlsrt import Component, Range, Unavailable, handler


class Scale(Component):
    """The weight, as it changes."""

    topics = {"weight": "grams"}  # noqa: RUF012

    @dataclass(frozen=True, slots=True)
    class Options:
        baud: Annotated[int, "As under `tty` of the manifest: pyserial may set the line to what it is."] = 9600
        retry_s: Annotated[float, Range(0.05, 600), "The pause before it opens the line again."] = 1.0

    async def start(self) -> None:
        self.line = self.open()  # one that is plugged in is there by now
        self.grams: float | None = None
        self.spawn(self.listen)

    def open(self) -> serial.Serial | None:
        """Return the open line, or None while it is not plugged in."""
        try:
            return serial.Serial(self.device("line").path, self.options.baud, timeout=0.5, write_timeout=0.5)
        except serial.SerialException as error:
            self.log.info("%s", error)
            return None

    def ready(self) -> str | None:
        """Return why there is no weight."""
        return None if self.line is not None else "the scale is not plugged in"

    async def listen(self) -> None:
        """Take what it says, and open the line again when it was away: pyserial raises, as it does on any host."""
        lines = Lines()
        while True:
            try:
                while self.line is not None:  # pyserial waits, so a thread does it
                    for text in lines.feed(await self.work(self.line.read, max(1, self.line.in_waiting))):
                        self.grams = float(text)
                        self.publish("weight", self.grams)
            except ValueError:
                continue
            except OSError as error:  # SerialException is one
                self.log.info("%s", error)
                self.line.close()
            await asyncio.sleep(self.options.retry_s)
            self.grams, lines, self.line = None, Lines(), self.open()

    @handler(idempotent=True)
    async def weigh(self) -> float:
        """Return the weight."""
        if self.grams is None:
            raise Unavailable("nothing came yet")
        return self.grams

    @handler
    async def zero(self) -> None:
        """Have it take the present weight for zero."""
        if self.line is None:
            raise Unavailable("the scale is not plugged in")
        await self.work(self.line.write, b"Z\r\n")
        self.line.flush()
