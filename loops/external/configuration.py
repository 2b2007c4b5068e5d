"""Addresses, routes, MTU and state of the host's interfaces as declared, tried before they last. By ip of iproute2."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated, Any

from tlsrt import CallError, Component, Failed, KeptUndo, ProgramError, Range, database, handler
from tlsrt.loops.external.change_trial import STEPS, ChangeTrial
from tlsrt.loops.external.interface_state import (
    DeclaredInterface,
    DeclaredRoute,
    State,
    check_name,
    cut_sentences,
    indices_of,
    lines_between,
    read_state,
    target_of,
)
from tlsrt.loops.external.networkd_folder import NetworkdFolder
from tlsrt.loops.external.undo_requests import undo_requests

_INTERFACES = 16
_PASSES = 3  # what one change takes with it, as a link that goes down its routes, the next one makes again
_BOOT_S = 120.0  # by which two boots differ at least
_LOOKS, _LOOK_S = 20, 0.25  # at what systemd-networkd makes of its files
_LATER_S = 10  # after the end of a trial, if this process does not even then undo it


class Configuration(Component):
    """The host's interfaces, of which it changes those that are declared."""

    @dataclass(frozen=True, kw_only=True)
    class Options:
        """The interfaces, and how long a change waits for its confirmation."""

        interfaces: Annotated[dict[str, DeclaredInterface], "Interfaces by their names."] = field(
            default_factory=dict[str, DeclaredInterface]
        )
        networkd: Annotated[
            str, "Folder in which confirmed interfaces are kept as files of systemd-networkd, such as /srv/network."
        ] = ""
        confirm_s: Annotated[int, Range(2, 3600), "Seconds after which a change is undone unless it is confirmed."] = 60

        def __post_init__(self) -> None:
            """Refuse too many. Raises ValueError."""
            if len(self.interfaces) > _INTERFACES:
                raise ValueError(f"interfaces: at most {_INTERFACES}")
            for name in self.interfaces:
                check_name(name)
            if self.networkd and not self.networkd.startswith("/"):
                raise ValueError("networkd: an absolute path of a folder, such as /srv/network")

    topics = {"changed": "a revision is trying, loaded, undone or stuck: revision, state, why"}  # noqa: RUF012
    db = database(steps=[*STEPS, "create table boot (one integer primary key, at real not null)"])

    def warm_up(self) -> None:
        """Import the library of D-Bus while code can be read."""
        self._networkd = NetworkdFolder(self.options.networkd, self.work)

    async def start(self) -> None:
        self._ip = asyncio.Lock()
        self._kept_undo: KeptUndo | None = None
        self._trial = ChangeTrial(self)
        await self._trial.start()
        self.spawn(self._set_after_boot, name="sets what was confirmed", restart=False)

    @handler(idempotent=True)
    async def plan(self) -> dict[str, Any]:
        """What `apply` would do: {changes, warnings}; `changes` are the words that ip gets, none if all is so."""
        async with self._ip:
            now = await self._state(list(self.options.interfaces))
        wanted = target_of(now, self.options.interfaces)
        return {"changes": lines_between(now, wanted), "warnings": list(cut_sentences(now, wanted))}

    @handler
    async def apply(self) -> dict[str, Any]:
        """Make it so, on trial: {revision, confirm_within_s, warnings}. Unless confirmed it is undone."""
        declared = self.options.interfaces
        warnings: list[str] = []

        async def before() -> State:
            async with self._ip:
                now = await self._state(list(declared))
            warnings.extend(cut_sentences(now, target_of(now, declared)))
            return now

        wanted = {name: dataclasses.asdict(one) for name, one in declared.items()}
        number = await self._trial.begin(self.caller, wanted, before, self.options.confirm_s)
        self.count("applied")
        return {"revision": number, "confirm_within_s": self.options.confirm_s, "warnings": warnings}

    @handler
    async def confirm(self, revision: int) -> None:
        """Keep a revision that is on trial."""
        await self._trial.confirm(revision, self.caller)

    @handler
    async def undo(self, revision: int) -> None:
        """Go back at once from a revision that is on trial."""
        await self._trial.undo(revision, self.caller)

    @handler(idempotent=True)
    async def status(self) -> dict[str, Any]:
        """{revision, by, at, trial, trial_left_s, interfaces, differs, networkd}; null for what there is not.

        `differs` is what would make the interfaces as they were confirmed; `networkd` how its files are: see the guide.
        """
        last = await self._trial.last()
        async with self._ip:
            now = await self._state(list(self.options.interfaces))
        differs: list[str] = []
        if last is not None and not self._trial.number:
            declared = {name: one for name, one in _declared(last["wanted"]).items() if name in now}
            differs = [f"{name} is not there" for name in last["wanted"] if name not in now]
            differs += lines_between(now, target_of(now, declared))
        return {
            **await self._trial.facts(),
            "interfaces": {name: now.get(name) for name in self.options.interfaces}, "differs": differs,
            "networkd": self._networkd.status,
        }  # fmt: skip

    @handler(idempotent=True)
    async def revisions(self) -> list[dict[str, Any]]:
        """The last 100 revisions, the newest first: {number, caller, at, state, why}."""
        return await self._trial.revisions()

    # The change that is tried

    async def attempt(self, number: int, wanted: Any, undo: Any, trial_s: int) -> None:
        """Make it so; what is to be undone is kept outside of the host before."""
        await self._keep_undo(_declared(wanted), undo, trial_s + _LATER_S)
        await self._make(_declared(wanted), trial_s=trial_s)

    async def settle(self, number: int, wanted: Any) -> None:
        """Make it so, lastingly: files of systemd-networkd are written now, as they would outlast a trial."""
        declared = _declared(wanted)
        await self._make(declared)
        try:
            if await self._networkd.keep(declared):
                await self._stays(declared)
        except CallError:
            with suppress(CallError):  # the trial goes on, and its end tries it again
                await self._networkd.keep(await self._confirmed())
            raise
        self._release_undo()
        await self.db.execute("insert or replace into boot (one, at) values (1, ?)", _booted_at())

    async def go_back(self, undo: Any) -> None:
        """Make the interfaces as they were. One that has vanished needs nothing."""
        await self._networkd.keep(await self._confirmed())
        async with self._ip:
            for _ in range(_PASSES):
                now = await self._state(list(undo))
                lines = lines_between(now, undo)
                if not lines:
                    self._release_undo()
                    return
                await self._batch(lines)
        raise Failed("ip has done all, and the interfaces are not as before: another program changes them, too")

    async def _confirmed(self) -> dict[str, DeclaredInterface]:
        last = await self._trial.last()
        return _declared(last["wanted"]) if last is not None else {}

    async def _stays(self, declared: Mapping[str, DeclaredInterface]) -> None:
        """Wait until systemd-networkd has made it so by its files. Raises Failed if it makes something else."""
        lines: list[str] = []
        for _ in range(_LOOKS):
            async with self._ip:
                now = await self._state(list(declared))
            lines = lines_between(now, target_of(now, declared))
            if not lines:
                return
            await asyncio.sleep(_LOOK_S)
        raise Failed(f"systemd-networkd makes something else of it, which lacks `{lines[0]}`: see `networkctl status`")

    async def _keep_undo(self, declared: Mapping[str, DeclaredInterface], before: State, seconds: int) -> None:
        """Have a process outside of the host undo it when this one has died. Raises Failed where none does."""
        async with self._ip:
            listed = await self._run("-j", "address", "show")
            requests = undo_requests(before, target_of(before, declared), indices_of(listed))
            try:
                async with self.program("ip", "-batch", "-") as running:  # which gets no line: the way is its run's
                    self._kept_undo = await running.keep_undo(requests, seconds)
                    await running.wait()
            except ProgramError as error:
                raise Failed(f"ip did not run: {error}") from None

    def _release_undo(self) -> None:
        kept, self._kept_undo = self._kept_undo, None
        if kept is not None:
            kept.release()

    async def _make(self, declared: Mapping[str, DeclaredInterface], *, trial_s: int = 0) -> None:
        async with self._ip:
            for _ in range(_PASSES):
                now = await self._state(list(declared))
                lines = lines_between(now, target_of(now, declared), trial_s=trial_s)
                if not lines:
                    return
                await self._batch(lines)
        raise Failed("ip has done all, and the interfaces are not as wanted: another program changes them, too")

    async def _set_after_boot(self) -> None:
        """Make it so again as it was confirmed, if the host has booted since."""
        last = await self._trial.last()
        rows = await self.db.read("select at from boot")
        if last is None or self._trial.number or (rows and abs(rows[0]["at"] - _booted_at()) < _BOOT_S):
            return
        try:
            await self.settle(int(last["number"]), last["wanted"])
            self.log.info("set revision %d, as the host has booted", last["number"])
        except CallError as error:
            self.log.warning("cannot set revision %d: %s", last["number"], error)
            self.set_status(f"revision {last['number']} is not set: {error}")

    # ip

    async def _state(self, names: list[str]) -> State:
        links = await self._run("-j", "address", "show")
        routes = [
            {**one, "version": int(version)}
            for version in "46"
            for one in await self._run("-j", f"-{version}", "route", "show", "table", "main")
        ]
        return read_state(names, links, routes)

    async def _batch(self, lines: list[str]) -> None:
        await self._run("-batch", "-", data="".join(f"{line}\n" for line in lines).encode("ascii"), lines=lines)

    async def _run(self, *words: str, data: bytes = b"", lines: list[str] | None = None) -> list[Any]:
        try:
            with self.time("ip"):
                found = await self.run("ip", *words, input=data)
        except ProgramError as error:
            raise Failed(f"ip did not run: {error}") from None
        if found.status:
            told = [one.strip() for one in found.stderr.splitlines() if one.strip()]
            at = next((int(one.rpartition(":")[2]) for one in told if one.startswith("Command failed -:")), 0)
            which = f" `{lines[at - 1]}`" if lines and 0 < at <= len(lines) else ""
            raise Failed(f"ip refuses{which}: {(told or ['it says nothing'])[0][:200]}")
        if lines is not None or not found.stdout.strip():
            return []
        try:
            listed: list[Any] = json.loads(found.stdout)
        except ValueError:
            raise Failed("ip said what is no JSON: is it the ip of iproute2?") from None
        return listed


def _booted_at() -> float:
    """Return when the host has booted, by the clock of now."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


def _declared(plain: Mapping[str, Any]) -> dict[str, DeclaredInterface]:
    """Return what was declared, from plain values of it."""
    return {
        name: DeclaredInterface(
            up=one["up"],
            mtu=one["mtu"],
            addresses=None if one["addresses"] is None else tuple(one["addresses"]),
            routes=None if one["routes"] is None else tuple(DeclaredRoute(**route) for route in one["routes"]),
        )
        for name, one in plain.items()
    }
