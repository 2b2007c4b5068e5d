"""The gateway of a sensor: what it says on a serial line is kept with its history, served, and told when it matters."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol

from tlsrt import CallError, Component, InvalidArgument, Length, NotFound, Range, every, handler, peer

READINGS = "readings"  # the namespace of the store
NAMES = 64  # of readings
_PAUSE_S = 1.0
_Name = Annotated[str, Length(64, 1)]


class Serial(Protocol):
    """What it needs of third/serial."""

    def listen(self, line: str) -> AsyncIterator[dict[str, Any]]: ...


class Store(Protocol):
    """What it needs of secondary/store."""

    async def put(self, key: str, value: Any, *, namespace: str) -> Any: ...
    async def get(self, key: str, *, namespace: str) -> Any: ...
    async def keys(self, *, namespace: str) -> list[str]: ...
    async def history(self, key: str, *, limit: int, namespace: str) -> list[dict[str, Any]]: ...
    async def version(self, key: str, revision: int, *, namespace: str) -> Any: ...


class Notify(Protocol):
    """What it needs of third/notify."""

    async def send(self, title: str, body: str = "", *, severity: str, topic: str, key: str = "") -> Any: ...
    async def withdraw(self, *, key: str) -> bool: ...


class Power(Protocol):
    """What it needs of forth/power."""

    async def status(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Bounds:
    """Between which values a reading is good."""

    low: float | None = None
    high: float | None = None

    def problem(self, value: float) -> str | None:
        """Say what is wrong with a value."""
        if self.low is not None and value < self.low:
            return f"below {self.low:g}"
        if self.high is not None and value > self.high:
            return f"above {self.high:g}"
        return None


class Gateway(Component):
    """Readings of a sensor that sends lines such as `temperature=21.5`."""

    class Options:
        """Options of the gateway."""

        line: Annotated[str, "The line of third/serial on which the sensor speaks."] = "sensor"
        bounds: Annotated[dict[str, Bounds], Length(NAMES), "By reading: outside of which people are told."] = field(
            default_factory=dict
        )

    topics = {"reading": "a reading was kept: name, value, wall_ms"}  # noqa: RUF012

    serial = peer("third/serial", Serial, timeout_s=300.0)
    store = peer("secondary/store", Store, wait_s=10.0)
    notify = peer("third/notify", Notify, wait_s=10.0)
    power = peer("forth/power", Power)

    async def start(self) -> None:
        self._told: dict[str, str | None] = {}  # what people know of each reading
        self._kept: dict[str, float] = {}
        self.spawn(self.listen)

    async def listen(self) -> None:
        """Take what the sensor says, for ever."""
        while True:
            try:
                async for heard in self.serial.listen(self.options.line):
                    if isinstance(data := heard.get("data"), str):
                        await self.take(data)
                    elif "is_present" in heard:
                        self.set_status("listening" if heard["is_present"] else "the sensor is not there")
            except CallError as error:  # a process was restarted, or the time of the stream is over
                self.log.info("listens again: %s", error.message)
            await asyncio.sleep(_PAUSE_S)

    async def take(self, line: str) -> None:
        """Keep one reading, and tell people if it has left its bounds, or is back."""
        name, _, number = line.strip().partition("=")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not (name.isidentifier() and name.isascii() and len(name) <= NAMES and math.isfinite(value)):
            self.count("damaged")
            return
        if name not in self._kept and len(self._kept) >= NAMES:
            self.count("too_many_names")
            return
        reading = {"value": value, "wall_ms": time.time_ns() // 1_000_000}
        await self.store.put(name, reading, namespace=READINGS)
        self._kept[name] = value
        self.count("kept")
        self.publish("reading", {"name": name, **reading})
        if bounds := self.options.bounds.get(name):
            await self.tell(name, f"{name} is {value:g}", bounds.problem(value), "error")

    async def tell(self, key: str, title: str, problem: str | None, severity: str) -> None:
        """Have people know of a problem, once, and no more when it is over."""
        if key in self._told and self._told[key] == problem:
            return
        if problem is not None:
            await self.notify.send(f"{title}, {problem}", severity=severity, topic="gateway", key=key)
        else:
            await self.notify.withdraw(key=key)
        self._told[key] = problem

    @every("30s")
    async def watch_power(self) -> None:
        """Tell people when the gateway runs on its battery."""
        try:
            on_mains = (await self.power.status())["on_mains"]
            if on_mains is not None:
                await self.tell("power", "the gateway", None if on_mains else "on its battery", "warning")
        except CallError as error:
            self.log.warning("cannot look after power: %s", error.message)

    @handler(idempotent=True)
    async def readings(self) -> dict[str, Any]:
        """The last value of each reading, and when it came."""
        names = await self.store.keys(namespace=READINGS)
        return {name: await self.store.get(name, namespace=READINGS) for name in names[:NAMES]}

    @handler(idempotent=True)
    async def history(self, name: _Name, limit: Annotated[int, Range(1, 500)] = 20) -> list[dict[str, Any]]:
        """The last values of a reading, the latest first."""
        try:
            rows = await self.store.history(name, limit=limit, namespace=READINGS)
        except NotFound:
            raise InvalidArgument(f"there is no reading {name!r}: see `readings`") from None
        return [await self.store.version(name, row["revision"], namespace=READINGS) for row in rows]

    @handler
    async def report(self) -> str:
        """Send people all readings; put it off to have it every morning."""
        found = await self.readings()
        text = "\n".join(f"{name}: {one['value']:g}" for name, one in sorted(found.items())) or "there are none yet"
        await self.notify.send("readings of today", text, severity="info", topic="gateway")
        return text
