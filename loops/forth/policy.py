"""Power policy: rules of the operator, evaluated over what upowerd, /sys and a UPS say, and what follows from them.

The rules are pure (`policy_rules.py`). This file takes samples, keeps the history and overrides, and has effects: by
power-profiles-daemon and logind on D-Bus, by the runtime itself (`needs: runtime`) and by declared settings.
"""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
import time
from collections import deque
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from tlsrt import Component, ConfigError, Failed, Length, NotFound, Range, Unavailable, database, handler
from tlsrt.loops.forth.confirmation import VALID_S, Confirmations
from tlsrt.loops.forth.effects import Effects
from tlsrt.loops.forth.policy_rules import RULES, Override, Rule, RuleState, Sample, once, pausable, step, wanted
from tlsrt.loops.forth.supplies import sample_of
from tlsrt.loops.forth.ups import Ups

try:
    from tlsrt.loops.forth.power_bus import PowerBus
except ImportError:  # without the extra `dbus`
    PowerBus = None  # type: ignore[assignment,misc]

HISTORY = 200
SAMPLES_MAX = 1000  # of one dry run
OVERRIDE_S = 7 * 86400.0

Name = Annotated[str, Length(64, 1)]
MachineAction = Literal["suspend", "hibernate", "reboot", "power_off"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class GivenSample:
    """A sample of a dry run; what is left out is not known."""

    at_s: Annotated[float, Range(0, 1e9)]
    on_battery: bool | None = None
    percent: Annotated[float, Range(0, 100)] | None = None
    celsius: Annotated[float, Range(-100, 250)] | None = None
    ups_low: bool | None = None

    @property
    def sample(self) -> Sample:
        return Sample(self.on_battery, self.percent, self.celsius, self.ups_low)


class Policy(Component):
    """What the host does when power is short: rules, their history, and confirmed actions of the machine."""

    class Options:
        """Options: the rules, and where samples come from."""

        rules: Annotated[dict[str, Rule], "Rules by name, in the order of their weight."]
        sample_s: Annotated[float, Range(0.5, 3600), "How often it looks; and at once when upowerd tells."] = 10
        dbus: Annotated[bool, "Ask upowerd, power-profiles-daemon and logind, as `needs: buses` grants them."] = False
        bus: Annotated[str, Length(200), "The address of another bus than the system's."] = ""
        ups: Annotated[str, Length(128), "A UPS of NUT: NAME@HOST[:PORT], which `needs: egress` lists."] = ""
        profile: Annotated[
            Literal["power-saver", "balanced", "performance"], "The profile when no rule names one any more."
        ] = "balanced"

        def __post_init__(self) -> None:
            if not 0 < len(self.rules) <= RULES:
                raise ValueError(f"rules: name 1 to {RULES}")
            if self.ups:
                Ups.read(self.ups)

    topics = {  # noqa: RUF012
        "decided": "a rule has become active or has ended, or an action was done: what `history` has",
        "notify": "a rule with `notify` has become active or has ended: rule, is_active, sample",
    }

    db = database(
        steps=["create table overrides (rule text primary key, is_active integer not null, until_ms integer not null)"]
    )
    sys = Path("/sys")

    async def start(self) -> None:
        if self.options.dbus and PowerBus is None:
            raise ConfigError("dbus needs dbus-fast: pip install 'tlsrt[dbus]', then start the process again")
        self._states: dict[str, RuleState] = {}
        self._history: deque[dict[str, Any]] = deque(maxlen=HISTORY)
        self._confirmations = Confirmations(lambda: f"{secrets.randbelow(10**8):08d}")
        self._now_again = asyncio.Event()
        self._sample = Sample()
        self._sources: dict[str, str] = {}
        self._ups = Ups.read(self.options.ups) if self.options.ups else None
        self._looking = asyncio.Lock()
        self._overrides: dict[str, Override] = {
            row["rule"]: Override(bool(row["is_active"]), row["until_ms"] / 1000)
            for row in await self.db.read("select * from overrides")
            if row["rule"] in self.options.rules
        }
        self._bus = None
        if self.options.dbus:
            self._bus = PowerBus(self.options.bus, self._now_again.set)
            self.spawn(self._bus.keep, name="stays on the bus")
        self._effects = Effects(
            self._bus, self.runtime, self.set, self._notify, self.options.profile, pausable(self.options.rules)
        )
        self.spawn(self._watch, name="looks at the power")

    # -- samples ------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        while True:
            await self._look()
            try:
                async with asyncio.timeout(self.options.sample_s):
                    await self._now_again.wait()
            except TimeoutError:
                continue
            await asyncio.sleep(0.25)  # upowerd tells a change in several signals
            self._now_again.clear()

    async def _look(self) -> None:
        """Take a sample, and do what follows from it."""
        async with self._looking:
            with self.time("look"):
                self._sample = sample = await self._take()
            now, wall = time.clock_gettime(time.CLOCK_BOOTTIME), time.time()
            forced = {name: one.is_active for name, one in self._overrides.items() if wall < one.until}
            self._states, changes = step(self.options.rules, self._states, sample, now, forced)
            for change in changes:
                self.count("changes")
                self._note(
                    change.rule, "active" if change.is_active else "over", "override" if change.by_override else ""
                )
            await self._effects.reach(wanted(self.options.rules, self._states), partial(self._note, ""))
            for rule, action in once(self.options.rules, changes):
                await self._effects.do_once(rule, action, partial(self._note, rule))

    async def _take(self) -> Sample:
        """Return what is known: upowerd before /sys, and that before the UPS."""
        found = [sample_of(self.sys)]
        if self._bus is not None:
            try:
                found.insert(0, await self._bus.sample())
                self._sources["upowerd"] = "answers"
            except (Unavailable, Failed) as error:
                self._sources["upowerd"] = str(error)
        if self._ups is not None:
            try:
                found.append(await self._ups.sample())
                self._sources["ups"] = "answers"
            except Unavailable as error:
                self._sources["ups"] = str(error)
        names = [field.name for field in dataclasses.fields(Sample)]
        values = {name: [getattr(one, name) for one in found] for name in names}
        return Sample(**{name: next((one for one in each if one is not None), None) for name, each in values.items()})

    def _notify(self, rule: str) -> None:
        is_active = self._states[rule].is_active
        self.publish("notify", {"rule": rule, "is_active": is_active, "sample": dataclasses.asdict(self._sample)})

    def _note(self, rule: str, what: str, how: str) -> None:
        entry = {
            "wall_ms": time.time_ns() // 1_000_000, "rule": rule or None, "what": what, "how": how or None,
            "sample": dataclasses.asdict(self._sample),
        }  # fmt: skip
        self._history.append(entry)
        self.publish("decided", entry)
        if how not in ("", "done", "override"):
            self.log.warning("%s: %s", what, how)

    # -- what callers ask ---------------------------------------------------------------------------------------

    @handler(idempotent=True)
    async def status(self) -> dict[str, Any]:
        """The last sample (null: not known), sources, each rule, the profile of the rules, and what is paused."""
        now, wall = time.clock_gettime(time.CLOCK_BOOTTIME), time.time()
        return {
            "sample": dataclasses.asdict(self._sample),
            "sources": dict(self._sources),
            "odd_answers": self._bus.odd if self._bus is not None else 0,
            "rules": {name: self._shown(name, now, wall) for name in self.options.rules},
            "profile": self._effects.profile,
            "paused": sorted(self._effects.paused),
        }

    def _shown(self, name: str, now: float, wall: float) -> dict[str, Any]:
        state, override = self._states.get(name, RuleState()), self._overrides.get(name)
        is_forced = override is not None and wall < override.until
        return {
            "is_active": state.is_active,
            "since_s": None if state.since is None else round(now - state.since, 1),
            "held_s": None if state.held_since is None else round(now - state.held_since, 1),
            "override_s": round(override.until - wall, 1) if override is not None and is_forced else None,
        }

    @handler(idempotent=True)
    async def history(self, most: Annotated[int, Range(1, HISTORY)] = 50) -> list[dict[str, Any]]:
        """The last decisions, the newest last: rule, what, how it went, and the sample. Of this life of the process."""
        return list(self._history)[-most:]

    @handler
    async def look(self) -> dict[str, Any]:
        """Look now, and return the status."""
        await self._look()
        return await self.status()

    @handler(idempotent=True)
    async def dry_run(self, samples: Annotated[list[GivenSample], Length(SAMPLES_MAX, 1)]) -> list[dict[str, Any]]:
        """What would be done for these samples, from no active rule on. Nothing is done."""
        states: dict[str, RuleState] = {}
        found: list[dict[str, Any]] = []
        for given in samples:
            states, changes = step(self.options.rules, states, given.sample, given.at_s)
            aim = wanted(self.options.rules, states)
            if changes:
                found.append({
                    "at_s": given.at_s,
                    "active": [name for name, state in states.items() if state.is_active],
                    "profile": aim.profile,
                    "paused": sorted(aim.paused),
                    "once": [str(action) for _, action in once(self.options.rules, changes)],
                })  # fmt: skip
        return found

    @handler
    async def override(
        self, rule: Name, is_active: bool, for_s: Annotated[float, Range(1, OVERRIDE_S)] = 3600.0
    ) -> dict[str, Any]:
        """Have a rule be active, or not, whatever samples say, for so long; it survives a restart."""
        self._known(rule)
        until = time.time() + for_s
        await self.db.execute(
            "insert or replace into overrides values (?, ?, ?)", rule, int(is_active), int(until * 1000)
        )
        self._overrides[rule] = Override(is_active, until)
        await self._look()
        return await self.status()

    @handler
    async def release(self, rule: Name) -> dict[str, Any]:
        """End an override; the rule follows samples again, after its dwell."""
        self._known(rule)
        await self.db.execute("delete from overrides where rule = ?", rule)
        self._overrides.pop(rule, None)
        await self._look()
        return await self.status()

    def _known(self, rule: str) -> None:
        if rule not in self.options.rules:
            raise NotFound(f"no rule {rule}; there are {', '.join(self.options.rules)}")

    @handler
    async def request(self, action: MachineAction) -> dict[str, Any]:
        """Ask for an action of the machine; `confirm` with this code does it, by the same caller within 60 s."""
        if self._bus is None:
            raise Unavailable("no bus is used: set the option `dbus`")
        code = self._confirmations.request(self.caller, action, time.monotonic())
        return {"action": action, "code": code, "valid_s": VALID_S}

    @handler
    async def confirm(self, code: Annotated[str, Length(16, 1)]) -> dict[str, Any]:
        """Do what `request` has given this code for, once. Three wrong codes, and the request is forgotten."""
        action = self._confirmations.confirm(self.caller, code, time.monotonic())
        if self._bus is None:
            raise Unavailable("no bus is used: set the option `dbus`")
        self._note("", action, f"confirmed by {self.caller}")
        await self._bus.end_machine(action)
        self._note("", action, "done")
        return {"action": action}
