"""Power: supplies, batteries, governors, thermal zones and sleep states, from /sys. Reads only."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

from tlsrt import Component, handler
from tlsrt.loops.forth.supplies import batteries, numbers, on_mains, thermal
from tlsrt.loops.sampling.number_history import NumberHistory, Span
from tlsrt.loops.sampling.procfs import Interval, awake_s, clocks, names, read_text
from tlsrt.loops.sampling.samples import Samples


class Power(Component):
    """Where the power comes from and how the host spends it."""

    class Options:
        """There are none."""

    topics = {"changed": "the status, whenever the source of power or a battery's charge state changed during a watch"}  # noqa: RUF012

    proc = Path("/proc")
    sys = Path("/sys")

    def __init__(self) -> None:
        self._samples = Samples(self._read_status)
        self._source: object = None  # of the last sample: what `changed` is about
        self._history = NumberHistory(("charge", "watts", "celsius"))

    def healthy(self) -> str | None:
        """Say what is wrong, and take a sample for `history`: so it wakes up for none."""
        if self._history.is_due(now := awake_s()):
            self._history.add(numbers(self.sys), now)
        return None if names(self.sys / "class") else "/sys shows nothing"

    @handler(idempotent=True)
    async def status(self) -> dict[str, Any]:
        """On mains (null if the host does not tell), batteries, thermal zones, governor, sleep states, uptime."""
        return self._samples.now()

    def _read_status(self) -> dict[str, Any]:
        words = (read_text(self.proc / "uptime") or "").split()
        governors = self._governors()
        mains, all_batteries = on_mains(self.sys), batteries(self.sys)
        status = {
            "on_mains": mains,
            "batteries": all_batteries,
            "thermal": thermal(self.sys),
            "governor": next(iter(governors["in_use"].values()), None),
            "suspend_states": (read_text(self.sys / "power/state") or "").split(),
            "uptime_s": float(words[0]) if words else None,
            **clocks(),
        }
        source = (mains, [battery["state"] for battery in all_batteries])
        if self._source is not None and source != self._source:
            self.publish("changed", status)
        self._source = source
        return status

    @handler(idempotent=True)
    async def history(self, span: Span = "hour") -> dict[str, Any]:
        """Numbers of the last hour (of each 10 s) or day (of each 5 min), since this service runs; gaps are left out.

        `ages_s`: how long ago each bucket began. `series`: of each the lists `least`, `most` and `mean` beside these,
        null where it was not known: charge of the fullest battery (percent), watts of all batteries, drawn or taken
        in, and celsius of the warmest zone.
        """
        return self._history.told(span, awake_s())

    @handler(idempotent=True)
    async def batteries(self) -> list[dict[str, Any]]:
        """Every battery of the host: charge in percent, state, energy in watt hours, power in watts."""
        return batteries(self.sys)

    @handler(idempotent=True)
    async def governors(self) -> dict[str, Any]:
        """The frequency governor of each processor and those it could use; empty without frequency scaling."""
        return self._governors()

    def _governors(self) -> dict[str, Any]:
        folder = self.sys / "devices/system/cpu"
        scaling = {
            name: folder / name / "cpufreq"
            for name in names(folder)
            if name.startswith("cpu") and name[3:].isdecimal() and (folder / name / "cpufreq").is_dir()
        }
        available = {
            governor
            for path in scaling.values()
            for governor in (read_text(path / "scaling_available_governors") or "").split()
        }
        in_use = {name: read_text(path / "scaling_governor") for name, path in scaling.items()}
        return {"in_use": in_use, "available": sorted(available)}

    @handler
    async def watch(self, interval_s: Interval = 5.0) -> AsyncIterator[dict[str, Any]]:
        """The status now and every `interval_s` seconds, at the same moments for all who watch."""
        async with aclosing(self._samples.every(interval_s)) as samples:
            async for sample in samples:
                yield sample
