"""The clock of the host: time, zone, whether and by whom it is synchronised; events of steps and of a lost source.

It never sets a clock. systemd-timedated says whether the clock is synchronised, by any source, chrony and ntpd too.
Server, offset and drift are known of systemd-timesyncd and of chronyd.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Annotated, Any

from tlsrt import Component, ConfigError, Denied, Failed, NotFound, Range, Unavailable, handler
from tlsrt.loops.secondary.chrony import NoAnswer, ask
from tlsrt.loops.secondary.step_watch import StepWatch
from tlsrt.loops.secondary.time_sources import timesyncd_untrusted

try:
    from tlsrt.bus import Bus
except ImportError:  # without the extra `dbus`
    Bus = None  # type: ignore[assignment,misc]

SYNC, SYNC_PATH = "org.freedesktop.timesync1", "/org/freedesktop/timesync1"
DATE, DATE_PATH = "org.freedesktop.timedate1", "/org/freedesktop/timedate1"
_AWAY = (Unavailable, Denied, NotFound, Failed)


class Time(Component):
    """The clock of this host, read only."""

    @dataclass(frozen=True)
    class Options:
        """How often it looks."""

        look_s: Annotated[float, Range(0.5, 60), "Seconds between two looks at the clock, for events."] = 2.0
        ask_s: Annotated[float, Range(1, 3600), "Seconds between two questions to systemd-timedated, for events."] = (
            300.0
        )
        chrony_port: Annotated[int, Range(0, 65535), "The command port of chronyd; 0: it is not asked."] = 323

    topics = {  # noqa: RUF012
        "stepped": "the wall clock was set: by_ms, wall_ms",
        "synchronised": "the clock found or lost its source: is_synchronised, wall_ms",
    }

    async def start(self) -> None:
        if Bus is None:
            raise ConfigError("it needs dbus-fast: pip install 'tlsrt[dbus]', then start it again")
        bus = Bus()
        self._sync, self._date = bus.peer(SYNC, begins=False), bus.peer(DATE)
        self._steps = StepWatch()
        self._was_synchronised: bool | None = None
        self._look()
        self.spawn(bus.keep, name="stays on the bus")
        self.spawn(self._watch, name="looks at the clock")
        self.spawn(self._ask_again, name="asks whether it is synchronised")

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self.options.look_s)
            self._look()

    def _look(self) -> None:
        before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        wall = time.time_ns()
        step = self._steps.look(before, wall, time.clock_gettime_ns(time.CLOCK_BOOTTIME))
        if step is not None:
            self.publish("stepped", {"by_ms": step / 1e6, "wall_ms": wall // 1_000_000})
            self.count("steps")
            self.log.warning("the wall clock was set by %.3f s", step / 1e9)

    async def _ask_again(self) -> None:
        while True:
            is_good = _truth((await self._date_says()).get("NTPSynchronized"))
            if is_good is not None:
                if self._was_synchronised is not None and is_good != self._was_synchronised:
                    told = {"is_synchronised": is_good, "wall_ms": time.time_ns() // 1_000_000}
                    self.publish("synchronised", told)
                self._was_synchronised = is_good
                self.gauge("synchronised", int(is_good))
            await asyncio.sleep(self.options.ask_s)

    @handler(idempotent=True)
    async def now(self) -> dict[str, Any]:
        """The time of three clocks: wall_ms, boottime_ms (with sleep), monotonic_ms (without)."""
        monotonic = time.monotonic_ns()
        return {
            "wall_ms": time.time_ns() / 1e6,
            "boottime_ms": time.clock_gettime_ns(time.CLOCK_BOOTTIME) / 1e6,
            "monotonic_ms": monotonic / 1e6,
        }

    @handler(idempotent=True)
    async def status(self) -> dict[str, Any]:
        """Synchronisation: by whom, server, stratum, offset, drift, uncertainty, last answer, zone; null if unknown."""
        with self.time("status"):
            date = await self._date_says()
            by: str | None = None
            why: str | None = None
            said: dict[str, Any] = {}
            try:
                said = await self._sync.properties(SYNC_PATH, f"{SYNC}.Manager")
                by = "systemd-timesyncd"
            except _AWAY as error:
                why = error.message
        found = timesyncd_untrusted(said)
        is_good = _truth(date.get("NTPSynchronized"))
        if by is None and self.options.chrony_port:
            try:
                found = await ask("127.0.0.1", self.options.chrony_port)
                by, why, is_chronys = "chronyd", None, found.pop("is_synchronised")
                is_good = is_chronys if is_good is None else is_good
            except NoAnswer as error:
                why = f"{why}; chronyd: {error}"
        zone = date.get("Timezone")
        return {
            "is_synchronised": is_good, "by": by, "by_unknown_because": why,
            "time_zone": zone[:64] if isinstance(zone, str) and zone.isprintable() and zone else None,
            **found,
        }  # fmt: skip

    async def _date_says(self) -> dict[str, Any]:
        try:
            return await self._date.properties(DATE_PATH, DATE)
        except _AWAY:
            return {}


def _truth(value: object) -> bool | None:
    return value if isinstance(value, bool) else None
