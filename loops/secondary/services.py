"""Units of systemd that the options list: state, start and stop, changes as events; and jobs that systemd confines.

It speaks to process 1 over the system bus as a user of its own, so that what it may do is said three times: by its
options, by the proxy of its bus (which members), and by a rule of polkit for its user alone (which units).
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Annotated, Any

from tlsrt import (
    Busy,
    CallError,
    Component,
    ConfigError,
    Denied,
    Failed,
    Length,
    MisuseError,
    NotFound,
    Range,
    Unavailable,
    handler,
)
from tlsrt.loops.secondary.unit_rules import (
    Act,
    JobOptions,
    UnitOptions,
    check_units,
    job_unit,
    output_untrusted,
    rule_for,
    rule_of,
    switch_unit,
    unit_of_path,
)

try:
    from tlsrt.bus import Bus, Message
except ImportError:  # without the extra `dbus`
    Bus = None  # type: ignore[assignment,misc]

SYSTEMD, PATH = "org.freedesktop.systemd1", "/org/freedesktop/systemd1"
MANAGER, UNIT, SERVICE = f"{SYSTEMD}.Manager", f"{SYSTEMD}.Unit", f"{SYSTEMD}.Service"
ENDED = 256  # jobs of systemd whose end is remembered
INSTANCES = 256  # in a list
OUTPUT_S = 25.0
UNKNOWN = (1 << 64) - 1  # what systemd says for no value
_MEMBERS: dict[Act, str] = {
    "start": "StartUnit",
    "stop": "StopUnit",
    "restart": "RestartUnit",
    "reload": "ReloadUnit",
}
_SAYS = {
    "failed": "it failed", "timeout": "it took too long", "canceled": "another job took its place",
    "dependency": "something that it depends on failed", "skipped": "it does not apply in its state",
    "assert": "an assertion of it does not hold", "unsupported": "the host does not support it",
    "collected": "it was removed", "once": "it runs once, and has run",
}  # fmt: skip
_Unit = Annotated[str, Length(255, 1)]
Rows = list[dict[str, Any]]
_Within = Annotated[float, Range(0.1, 290.0)]


class Services(Component):
    """Units of systemd: those that are listed."""

    @dataclass(frozen=True)
    class Options:
        """Units, jobs, and how many acts a caller has under way."""

        units: Annotated[dict[str, UnitOptions], "Units by full name, NAME@.service for instances."] = field(
            default_factory=dict[str, UnitOptions]
        )
        jobs: Annotated[dict[str, JobOptions], "Commands that callers may have run, by name."] = field(
            default_factory=dict[str, JobOptions]
        )
        at_once: Annotated[int, Range(1, 32), "Acts of one caller at once."] = 4

        def __post_init__(self) -> None:
            check_units(self.units, self.jobs)

    topics = {"changed": "a listed unit has another state: unit, active, sub, result"}  # noqa: RUF012

    async def start(self) -> None:
        if Bus is None:
            raise ConfigError("it needs dbus-fast: pip install 'tlsrt[dbus]', then start it again")
        bus = Bus(self._joined, self._heard)
        self._systemd = bus.peer(SYSTEMD)
        self._units: Mapping[str, UnitOptions] = self.options.units
        self._jobs: Mapping[str, JobOptions] = self.options.jobs
        self._waits: dict[str, asyncio.Future[str]] = {}
        self._ended: OrderedDict[str, str] = OrderedDict()
        self._states: dict[str, tuple[str, str]] = {}
        self._busy: Counter[str] = Counter()
        self.spawn(bus.keep, name="stays on the bus")

    async def _joined(self) -> None:
        await self._systemd.match(f"path='{PATH}',interface='{MANAGER}',member='JobRemoved'")
        await self._systemd.match(
            f"path_namespace='{PATH}/unit',interface='org.freedesktop.DBus.Properties',member='PropertiesChanged',arg0='{UNIT}'"
        )
        await self._systemd.call(PATH, MANAGER, "Subscribe")
        for row in await self._rows():
            self._note(row["unit"], row["active"], row["sub"], None)
        for waiting in list(self._waits.values()):  # its end may have been told meanwhile
            if not waiting.done():
                waiting.set_result("lost")

    def _heard(self, message: Message) -> None:
        body = message.body
        if message.member == "JobRemoved" and len(body) == 4:
            job, result = str(body[1]), str(body[3])
            waiting = self._waits.get(job)
            if waiting is not None and not waiting.done():
                waiting.set_result(result)
            self._ended[job] = result
            while len(self._ended) > ENDED:
                self._ended.popitem(last=False)
        elif message.member == "PropertiesChanged" and len(body) == 3 and body[0] == UNIT and message.path:
            unit, changed = unit_of_path(message.path), body[1]
            if "ActiveState" in changed and "SubState" in changed and rule_of(self._units, unit) is not None:
                self._note(unit, str(changed["ActiveState"].value), str(changed["SubState"].value), None)

    def _note(self, unit: str, active: str | None, sub: str | None, result: str | None) -> None:
        """Tell of a state that differs from the one before."""
        state, before = (active or "absent", sub or "absent"), self._states.get(unit)
        if state == before or (unit not in self._states and len(self._states) >= 4 * INSTANCES):
            return
        self._states[unit] = state
        if before is not None or unit not in self._units:
            self.publish("changed", {"unit": unit, "active": state[0], "sub": state[1], "before": before and before[0]})
            self.count("changes")
        if unit not in self._units and state[0] == "inactive":
            del self._states[unit]  # an instance is forgotten by systemd, too

    async def _rows(self) -> list[dict[str, Any]]:
        exact = [name for name, rule in self._units.items() if not rule.instances]
        found = (await self._systemd.call(PATH, MANAGER, "ListUnitsByNames", "as", exact))[0] if exact else []
        families = [name.replace("@.", "@*.") for name, rule in self._units.items() if rule.instances]
        if families:
            many = (await self._systemd.call(PATH, MANAGER, "ListUnitsByPatterns", "asas", [], families))[0]
            found = [*found, *[one for one in many if rule_of(self._units, one[0])][:INSTANCES]]
        by_name = {one[0]: one for one in found}
        names = list(dict.fromkeys([*exact, *(one for one in by_name if rule_of(self._units, one))]))
        return [self._row(name, by_name.get(name)) for name in names]

    def _row(self, name: str, said: Any) -> dict[str, Any]:
        rule = rule_of(self._units, name)
        is_known = said is not None and said[2] != "not-found"
        return {
            "unit": name, "description": said[1] if is_known else None, "load": said[2] if said is not None else None,
            "active": said[3] if is_known else None, "sub": said[4] if is_known else None,
            "actions": list(rule.actions) if rule else [],
        }  # fmt: skip

    @handler(idempotent=True)
    async def list(self) -> list[dict[str, Any]]:
        """Units that are listed here: unit, description, load, active, sub, and the actions that callers may take."""
        with self.time("list"):
            return await self._rows()

    @handler(idempotent=True)
    async def status(self, unit: _Unit) -> dict[str, Any]:
        """State of one unit: active, sub, since, main pid, memory, restarts, last result; null where there is none."""
        rule_for(self._units, unit)
        with self.time("status"):
            return await self._status(unit)

    async def _object(self, unit: str) -> tuple[str, dict[str, Any]]:
        """Return the path and properties of a unit. Raises NotFound if it is not there, or is another one's name."""
        path = str((await self._systemd.call(PATH, MANAGER, "LoadUnit", "s", unit))[0])
        said = await self._systemd.properties(path, UNIT)
        if said.get("Id") != unit:
            raise NotFound(f"{unit} is another name of {said.get('Id')}: list that one, if it is meant")
        return path, said

    async def _status(self, unit: str) -> dict[str, Any]:
        path, said = await self._object(unit)
        more = await self._systemd.properties(path, SERVICE) if unit.endswith(".service") else {}
        since = said.get("StateChangeTimestamp")
        return {
            "unit": unit, "description": said.get("Description"), "load": said.get("LoadState"),
            "active": said.get("ActiveState"), "sub": said.get("SubState"),
            "enabled": said.get("UnitFileState") or None,
            "since_wall_ms": since // 1000 if isinstance(since, int) and since else None,
            "main_pid": more.get("MainPID") or None, "memory_bytes": _known(more.get("MemoryCurrent")),
            "restarts": more.get("NRestarts"), "result": more.get("Result"),
            "exit_status": more.get("ExecMainStatus") if more.get("ExecMainExitTimestamp") else None,
            "text": more.get("StatusText") or None,
        }  # fmt: skip

    @handler
    async def start_unit(self, unit: _Unit, within_s: _Within = 30.0) -> dict[str, Any]:
        """Start a unit, and return its status when it runs; `failed` if it does not."""
        return await self._act(unit, "start", within_s)

    @handler
    async def stop_unit(self, unit: _Unit, within_s: _Within = 30.0) -> dict[str, Any]:
        """Stop a unit, and return its status when it has ended."""
        return await self._act(unit, "stop", within_s)

    @handler
    async def restart_unit(self, unit: _Unit, within_s: _Within = 30.0) -> dict[str, Any]:
        """Stop and start a unit, and return its status."""
        return await self._act(unit, "restart", within_s)

    @handler
    async def reload_unit(self, unit: _Unit, within_s: _Within = 30.0) -> dict[str, Any]:
        """Have a unit read its configuration again, and return its status."""
        return await self._act(unit, "reload", within_s)

    @handler
    async def enable_unit(self, unit: _Unit, within_s: _Within = 30.0) -> dict[str, Any]:
        """Have a unit start with the machine, from its next start on, and return its status."""
        return await self._act(unit, "enable", within_s)

    @handler
    async def disable_unit(self, unit: _Unit, within_s: _Within = 30.0) -> dict[str, Any]:
        """Have a unit not start with the machine any more, and return its status; what runs goes on."""
        return await self._act(unit, "disable", within_s)

    async def _act(self, unit: str, act: Act, within_s: float) -> dict[str, Any]:
        rule_for(self._units, unit, act)
        async with self._place(self.caller):
            _, said = await self._object(unit)
            if said.get("LoadState") != "loaded":
                raise NotFound(f"systemd has no {unit} to {act}: it is {said.get('LoadState')}")
            self.log.info("%s has %s %s", self.caller, act, unit)
            member, what = _MEMBERS.get(act, "StartUnit"), unit
            if act not in _MEMBERS:
                what = switch_unit(act, unit)
                if (await self._object(what))[1].get("LoadState") != "loaded":
                    raise NotFound(
                        f"the host has no tlsrt-{act}@.service: write it once with unit_setup, see the guide"
                    )
            with self.time(act):
                result = await self._until_done(member, what, within_s)
            if result != "done":
                raise Failed(f"{act} of {unit} ended with {result}: {_SAYS.get(result, result)}; see its `status`")
            return await self._status(unit)

    async def _until_done(self, member: str, unit: str, within_s: float) -> str:
        """Have systemd do it; return how its job ended."""
        job = str((await self._systemd.call(PATH, MANAGER, member, "ss", unit, "replace"))[0])
        if job in self._ended:
            return self._ended[job]
        waiting = self._waits.setdefault(job, asyncio.get_running_loop().create_future())
        try:
            result = await asyncio.wait_for(asyncio.shield(waiting), within_s)
        except TimeoutError:
            raise Unavailable(
                f"{unit} is not done after {within_s:g} s, and systemd goes on: see its `status`"
            ) from None
        finally:
            self._waits.pop(job, None)
        if result == "lost":
            raise Unavailable(f"the bus was away meanwhile, so how it ended is not known: see the `status` of {unit}")
        return result

    @handler(idempotent=True)
    async def components(self) -> dict[str, str]:
        """Components of this host that `needs: runtime` lets this service list, and their states; no bus is asked."""
        try:
            return await self.runtime.states()
        except MisuseError:
            raise Failed("it lists no components: name them under `needs: runtime`, with `may: list`") from None

    @handler(idempotent=True)
    async def jobs(self) -> Rows:
        """Commands that can be run: job, argv, words, and what each may take."""
        return [
            {"job": name, "argv": list(one.argv), "words": list(one.words), "seconds": one.seconds,
             "memory_mb": one.memory_mb, "tasks": one.tasks, "user": one.user or None}
            for name, one in self._jobs.items()
        ]  # fmt: skip

    @handler
    async def run_job(self, job: str, words: Annotated[tuple[str, ...], Length(8)] = ()) -> dict[str, Any]:
        """Run a job to its end: unit, result, exit_status, output; null for an output that is not known.

        `output` is the end of what it wrote, at most 2900 bytes; all of it is in the journal, under its unit.
        """
        unit = job_unit(self._jobs, job, words)
        async with self._place(self.caller):
            path, said = await self._object(unit)
            if said.get("LoadState") != "loaded":
                raise NotFound(f"systemd has no unit for job {job}: write it once with unit_setup, see the guide")
            if said.get("ActiveState") not in ("inactive", "failed"):
                raise Busy(f"job {job} runs with these words already: wait for its end")
            self.log.info("%s runs %s", self.caller, unit)
            async with self._held(path):
                with self.time("job"):
                    how = await self._until_done("StartUnit", unit, self._jobs[job].seconds + 10.0)
                more = await self._systemd.properties(path, SERVICE)
                said = await self._systemd.properties(path, UNIT)
                status = more.get("ExecMainStatus") if more.get("ExecMainExitTimestamp") else None
                if how == "done" and status is None:
                    status = 0  # systemd has forgotten it, as only a success is: it could not be held
                output: str | None = None
                try:
                    output = await self._output(said.get("InvocationID"))
                except CallError as error:
                    self.log.warning("no output of %s: %s", unit, error)
            return {"unit": unit, "result": more.get("Result"), "exit_status": status, "output": output}

    async def _output(self, invocation: object) -> str | None:
        """Return the end of what a job wrote, in its run of this id; None if the host does not hand it over."""
        if not isinstance(invocation, bytes) or len(invocation) != 16:
            return None
        unit = f"tlsrt-output@{invocation.hex()}.service"
        path, said = await self._object(unit)
        if said.get("LoadState") != "loaded":
            return None
        async with self._held(path):
            if await self._until_done("StartUnit", unit, OUTPUT_S) != "done":
                return None
            return output_untrusted((await self._systemd.properties(path, SERVICE)).get("StatusText"))

    @asynccontextmanager
    async def _held(self, path: str) -> AsyncIterator[None]:
        """Keep systemd from forgetting a unit that has ended, if polkit lets it."""
        with suppress(Denied):
            await self._systemd.call(path, UNIT, "Ref")
        try:
            yield
        finally:
            with suppress(CallError):  # without a bus it is forgotten anyway
                await self._systemd.call(path, UNIT, "Unref")

    @asynccontextmanager
    async def _place(self, caller: str) -> AsyncIterator[None]:
        if self._busy[caller] >= self.options.at_once:
            raise Busy(f"{caller} has {self.options.at_once} acts under way: wait for one of them")
        self._busy[caller] += 1
        try:
            yield
        finally:
            self._busy[caller] -= 1
            if not self._busy[caller]:
                del self._busy[caller]


def _known(value: Any) -> int | None:
    return value if isinstance(value, int) and value != UNKNOWN else None
