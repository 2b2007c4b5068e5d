"""The host's packet filter: one table of nftables from declared rules, tried before it lasts, and watched."""

from __future__ import annotations

import asyncio
import dataclasses
import difflib
import ipaddress
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from tlsrt import (
    Busy,
    CallError,
    Component,
    Failed,
    InvalidArgument,
    Length,
    NotFound,
    ProgramError,
    Range,
    database,
    handler,
)
from tlsrt.loops.external.change_trial import STEPS, ChangeTrial
from tlsrt.loops.external.firewall_door import door_sentences
from tlsrt.loops.external.firewall_rules import HOOKS, AddressSet, Chain, Name, Rule, Ruleset, network_of
from tlsrt.loops.external.nftables_document import (
    HELD,
    comment_of,
    counters_of,
    fingerprint,
    held_of,
    loading,
    putting,
    removing,
    taking,
    trial_left_s,
)

_Address = Annotated[str, Length(64, 1)]


class Firewall(Component):
    """The host's packet filter, of which it touches one table of its own."""

    @dataclass(frozen=True, kw_only=True)
    class Options:
        """The rules, and how long a change waits for its confirmation."""

        name: Annotated[Name, "Its table is inet tlsrt_NAME."] = "main"
        sets: Annotated[dict[str, AddressSet], "Named sets of addresses, which rules name as @SET."] = field(
            default_factory=dict[str, AddressSet]
        )
        input: Annotated[Chain | None, "Rules for packets to this host."] = None
        output: Annotated[Chain | None, "Rules for packets of this host."] = None
        forward: Annotated[Chain | None, "Rules for packets through this host."] = None
        confirm_s: Annotated[int, Range(2, 3600), "Seconds after which a change is undone unless it is confirmed."] = 60
        look_s: Annotated[int, Range(2, 3600), "Seconds between two looks at what is loaded."] = 60
        keep_open: Annotated[
            tuple[Annotated[int, Range(1, 65535)], ...], "TCP ports of which a plan says if it cuts them off."
        ] = (7443,)
        spared: Annotated[
            tuple[Annotated[str, Length(64, 1)], ...], "Addresses and networks that no method puts into a set."
        ] = ()

        def __post_init__(self) -> None:
            """Refuse rules that do not go together. Raises ValueError."""
            self.ruleset().check()
            for one in self.spared:
                network_of(one)

        def ruleset(self) -> Ruleset:
            """Return what is declared."""
            chains = {"input": self.input, "output": self.output, "forward": self.forward}
            return Ruleset(sets=self.sets, chains={name: one for name, one in chains.items() if one is not None})

    topics = {  # noqa: RUF012
        "changed": "a revision is trying, loaded, undone or stuck: revision, state, why",
        "drift": "another program has changed the table: sentence",
        "blocked": "an address was put into a set: set, address, timeout_s, by",
    }
    db = database(steps=[*STEPS, "create table loaded (one integer primary key, fingerprint text not null)"])

    async def start(self) -> None:
        self._table = f"tlsrt_{self.options.name}"
        self._nft = asyncio.Lock()
        self._drift: str | None = None
        self._trial = ChangeTrial(self)
        await self._trial.start()
        self.spawn(self._watch, name="looks at the table")

    @handler(idempotent=True)
    async def plan(self) -> dict[str, Any]:
        """What `apply` would do: {changes, warnings, loaded}; `changes` are lines with + and -."""
        last = await self._trial.last()
        now = _ruleset_of(last["wanted"]) if last is not None else Ruleset()
        wanted = self.options.ruleset()
        lines = difflib.unified_diff(_lines(now), _lines(wanted), lineterm="", n=0)
        changes = [one for one in lines if one[:1] in "+-" and one[:3] not in ("+++", "---")]
        look = await self._look()
        return {
            "changes": changes,
            "warnings": [*door_sentences(wanted, self.options.keep_open), *([look] if look else [])],
            "loaded": last["number"] if last is not None else None,
        }  # fmt: skip

    @handler
    async def apply(self) -> dict[str, Any]:
        """Load the declared rules on trial: {revision, confirm_within_s, warnings}. Unless confirmed it is undone."""
        wanted = self.options.ruleset()
        plain = dataclasses.asdict(wanted)
        number = await self._trial.begin(self.caller, plain, self._before, self.options.confirm_s)
        self.count("applied")
        warnings = door_sentences(wanted, self.options.keep_open)
        return {"revision": number, "confirm_within_s": self.options.confirm_s, "warnings": warnings}

    @handler
    async def confirm(self, revision: int) -> None:
        """Keep the rules of a revision that is on trial."""
        await self._trial.confirm(revision, self.caller)

    @handler
    async def undo(self, revision: int) -> None:
        """Go back at once from a revision that is on trial."""
        await self._trial.undo(revision, self.caller)

    @handler
    async def remove(self) -> None:
        """Remove the table, so that this service filters nothing any more."""
        if self._trial.number:
            await self._trial.undo(self._trial.number, self.caller)
        await self._load(removing(self._table))
        await self._trial.forget(self.caller)
        self.publish("changed", {"revision": None, "state": "removed", "why": f"removed by {self.caller}"})

    @handler(idempotent=True)
    async def status(self) -> dict[str, Any]:
        """What is loaded: {table, revision, by, at, trial, trial_left_s, drift}; null for what there is not."""
        return {"table": f"inet {self._table}", **await self._trial.facts(), "drift": await self._look()}

    @handler(idempotent=True)
    async def revisions(self) -> list[dict[str, Any]]:
        """The last 100 revisions, the newest first: {number, caller, at, state, why}."""
        return await self._trial.revisions()

    @handler(idempotent=True)
    async def counters(self) -> dict[str, dict[str, int]]:
        """Packets and bytes since a revision was loaded, by `CHAIN.RULE`; `policy` is what no rule has decided."""
        return counters_of(await self._listed(), is_trial=bool(self._trial.number))

    @handler
    async def block(
        self, set: Name, address: _Address, timeout_s: Annotated[int, Range(1, 31_536_000)] | None = None
    ) -> None:  # fmt: skip
        """Put an address into a set that has `timeout_s`, for so long or for fewer seconds; again: from now on."""
        declared = self._set(set, address)
        for_s = min(timeout_s or declared.timeout_s, declared.timeout_s)
        await self._in_sets(set, lambda name: putting(self._table, name, address, for_s))
        self.publish("blocked", {"set": set, "address": address, "timeout_s": for_s, "by": self.caller})
        self.count("blocked")

    @handler
    async def unblock(self, set: Name, address: _Address) -> None:
        """Take an address out of a set; it need not be there."""
        self._set(set, address)
        await self._in_sets(set, lambda name: taking(self._table, name, address))

    @handler(idempotent=True)
    async def blocked(self, set: Name) -> list[dict[str, Any]]:
        """What methods have put into a set: {address, left_s}."""
        held = held_of(await self._listed(), is_trial=bool(self._trial.number))
        if set not in held:
            raise NotFound(f"no set {set} is loaded: see `status`")
        return [{"address": address, "left_s": left} for address, left in held[set]]

    # The change that is tried

    async def _before(self) -> dict[str, Any] | None:
        last = await self._trial.last()
        return None if last is None else {"number": last["number"], "rules": last["wanted"]}

    async def attempt(self, number: int, wanted: Any, undo: Any, trial_s: int) -> None:
        """Load it beside what was there: the kernel goes back by itself."""
        held = held_of(await self._listed())
        before = _ruleset_of(undo["rules"]) if undo is not None else None
        comment = f"revision {number} on trial"
        rules = _ruleset_of(wanted)
        await self._load(loading(self._table, comment, rules, before=before, trial_s=trial_s, held=held))

    async def settle(self, number: int, wanted: Any) -> None:
        """Load it alone."""
        listed = await self._listed()
        held = held_of(listed, is_trial=trial_left_s(listed) is not None)
        await self._load(loading(self._table, f"revision {number}", _ruleset_of(wanted), held=held))

    async def go_back(self, undo: Any) -> None:
        """Load what was there before, or nothing."""
        if undo is None:
            await self._load(removing(self._table))
        else:
            held = held_of(await self._listed())
            comment = f"revision {undo['number']}"
            await self._load(loading(self._table, comment, _ruleset_of(undo["rules"]), held=held))

    # nft

    async def _load(self, document: bytes) -> None:
        """Have one transaction done, and note what the table is then."""
        async with self._nft:
            await self._run("-j", "-f", "-", data=document)
            found = fingerprint(await self._list())
            await self.db.execute("insert or replace into loaded (one, fingerprint) values (1, ?)", found)
            self._drift = None

    async def _listed(self) -> list[dict[str, Any]]:
        async with self._nft:
            return await self._list()

    async def _list(self) -> list[dict[str, Any]]:
        found = await self._run("-j", "list", "tables")
        tables = [one["table"] for one in found if "table" in one]
        if not any(one["family"] == "inet" and one["name"] == self._table for one in tables):
            return []
        return await self._run("-j", "list", "table", "inet", self._table)

    async def _run(self, *words: str, data: bytes = b"") -> list[dict[str, Any]]:
        try:
            with self.time("nft"):
                found = await self.run("nft", *words, input=data)
        except ProgramError as error:
            raise Failed(f"nft did not run: {error}") from None
        if found.status:
            lines = [one.strip() for one in found.stderr.splitlines() if one.strip()]
            raise Failed(f"nft refuses it: {(lines or ['it says nothing'])[0][:300]}")
        try:
            listed: list[dict[str, Any]] = json.loads(found.stdout)["nftables"] if found.stdout else []
        except (ValueError, KeyError, TypeError):
            raise Failed("nft said what cannot be read: is it the nft of nftables, with JSON?") from None
        return listed

    async def _in_sets(self, name: str, document: Any) -> None:
        """Change a set, of the rules on trial and of those before."""
        listed = await self._listed()
        there = [one["set"]["name"] for one in listed if "set" in one]
        places = [one for one in (f"kept_{name}{HELD}", f"new_{name}{HELD}") if one in there]
        if not places:
            raise NotFound(f"no set {name} is loaded: apply the rules first")
        async with self._nft:
            for one in places:
                try:
                    await self._run("-j", "-f", "-", data=document(one))
                except Failed as error:
                    if "Too many open files in system" not in str(error):  # ENFILE, as nft words a full set
                        raise
                    raise Busy(f"set {name} is full: raise its `most`, or unblock what is not needed") from None

    def _set(self, name: str, address: str) -> AddressSet:
        declared: AddressSet | None = self.options.sets.get(name)
        if declared is None:
            raise NotFound(f"no set {name} is declared: {', '.join(self.options.sets) or 'there is none'}")
        if not declared.timeout_s:
            raise InvalidArgument(f"set {name} has no timeout_s, so methods put nothing into it")
        try:
            version = ipaddress.ip_address(address).version
        except ValueError:
            raise InvalidArgument(f"{address!r} is no address") from None
        if "%" in address or version != declared.version:
            raise InvalidArgument(f"set {name} holds addresses of IPv{declared.version} without a zone, not {address}")
        own = ipaddress.ip_network(address)
        if spared := [one for one in self.options.spared if network_of(one).overlaps(own)]:  # of the other version: no
            raise InvalidArgument(f"{address} is in {spared[0]}, which is `spared`: no method blocks it")
        return declared

    # What others do

    async def _look(self) -> str | None:
        """Return a sentence if the table is not what was loaded."""
        async with self._nft:
            rows = await self.db.read("select fingerprint from loaded")
            listed = await self._list()
        for name, one in counters_of(listed, is_trial=bool(self._trial.number)).items():
            self.gauge(f"{name.replace('.', '_')}_packets", one["packets"])
        if not rows or rows[0]["fingerprint"] == fingerprint(listed):
            self._drift = None
            return None
        what = "is not there any more" if not listed else "is not as it was loaded"
        return f"table inet {self._table} {what}: another program has changed it; `apply` loads it again"

    async def _load_after_boot(self) -> None:
        """Load the revision that was confirmed, where no table is there."""
        last = await self._trial.last()
        if last is not None and not self._trial.number and comment_of(await self._listed()) is None:
            await self.settle(int(last["number"]), last["wanted"])
            self.log.info("loaded revision %d, as there was no table", last["number"])

    async def _watch(self) -> None:
        await self._load_after_boot()
        while True:
            await asyncio.sleep(self.options.look_s)
            before = self._drift
            try:
                self._drift = await self._look()
            except CallError as error:
                self.log.warning("cannot look at the table: %s", error)
                continue
            if self._drift is not None and before is None:
                self.log.warning("%s", self._drift)
                self.publish("drift", {"sentence": self._drift, "at": time.time()})
                self.count("drifts")


def _ruleset_of(plain: Mapping[str, Any]) -> Ruleset:
    """Return a ruleset from the plain values of one that was checked."""

    def made(kind: type, values: Mapping[str, Any]) -> Any:
        return kind(**{key: tuple(one) if isinstance(one, list) else one for key, one in values.items()})

    chains = {
        name: Chain(policy=one["policy"], rules=tuple(made(Rule, rule) for rule in one["rules"]))
        for name, one in plain["chains"].items()
    }
    return Ruleset(sets={name: made(AddressSet, one) for name, one in plain["sets"].items()}, chains=chains)


def _lines(ruleset: Ruleset) -> list[str]:
    """Return a ruleset as lines that people compare."""
    lines = [f"set {name}: {_words(one)}" for name, one in sorted(ruleset.sets.items())]
    for hook in (one for one in HOOKS if one in ruleset.chains):
        chain = ruleset.chains[hook]
        lines += [f"{hook} {one.name}: {_words(one, 'name')}" for one in chain.rules]
        lines.append(f"{hook} policy: {chain.policy}")
    return lines


def _words(value: Any, *without: str) -> str:
    """Return the fields of a dataclass that are not as by default."""
    found: list[str] = []
    for one in dataclasses.fields(value):
        its = getattr(value, one.name)
        if one.name not in without and its != one.default:
            shown = " ".join(map(str, its)) if isinstance(its, tuple) else str(its)
            found.append(shown if one.name == "action" else f"{one.name} {shown}")
    return ", ".join(found)
