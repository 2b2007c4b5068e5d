"""Added components, judged by the rest of the configuration: which may run, and which policy lines hold. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlsrt.config import program_kind
from tlsrt.config.access import PolicyRule
from tlsrt.config.drop_ins import AddedComponent
from tlsrt.config.failed import FailedComponent
from tlsrt.config.processes import SHARED_PARTS
from tlsrt.config.setting import Where
from tlsrt.text import did_you_mean

Tree = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Judged:
    """The added components that may run, those that may not, their policy lines, and what was left out of these."""

    components: tuple[AddedComponent, ...] = ()
    failed: tuple[FailedComponent, ...] = ()
    policy: tuple[PolicyRule, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def trees(self) -> dict[str, Any]:
        """Return what `components` of a configuration would have of them."""
        return {one.address: one.tree for one in self.components}

    @property
    def origins(self) -> dict[str, str]:
        """Return the package that each comes from, by address."""
        return {one.address: one.package for one in self.components}

    @property
    def titles(self) -> dict[str, str]:
        """Return what each is, in one line, by address."""
        return {one.address: one.title for one in self.components}

    @property
    def packages(self) -> dict[str, Path | None]:
        """Return the folder of packages of its own of each, by address."""
        return {one.address: one.packages for one in self.components}

    def place(self, where: Where) -> str | None:
        """Return where a key below `components` stands, None if no drop-in has it."""
        one = next((each for each in self.components if where[:2] == ("components", each.address)), None)
        if one is None:
            return None
        keys = where[2:]
        found = (one.places[keys[:length]] for length in range(len(keys), 0, -1) if keys[:length] in one.places)
        return next(found, str(one.file))


def judge(
    added: Iterable[AddedComponent], failed: Iterable[FailedComponent], tree: Tree, loops: Sequence[str],
    builtin: Collection[str],
) -> Judged:  # fmt: skip
    """Compare added components with the rest of a configuration: its checked tree, its loops, what is built in."""
    wrong = [*failed]
    good: list[AddedComponent] = []
    for one in added:
        problems = list(_problems(one, tree, loops, builtin))
        if problems:
            wrong.append(FailedComponent(one.address, tuple(problems)))
        else:
            good.append(one)
    own = tree.get("components", {})
    switched_off = {address for address, value in own.items() if value is None}
    known = ({*builtin, *own} - switched_off) | {one.address for one in good}
    clients = {f"client/{name}" for name in tree.get("clients", ())}
    rules: list[PolicyRule] = []
    remarks: list[str] = []
    for one in good:
        for line, methods in one.policy.items():
            source, _, target = (side.strip() for side in line.partition("->"))
            if line in one.optional and target not in known:
                continue
            if sentence := _unknown_side(source, target, known, clients, loops):
                remarks.append(f"{one.places['policy', line]}: {line}: {sentence}, so the line is left out")
            else:
                rules.append(PolicyRule(source, target, tuple(methods)))
    return Judged(tuple(good), tuple(wrong), tuple(rules), tuple(remarks))


def _problems(one: AddedComponent, tree: Tree, loops: Sequence[str], builtin: Collection[str]) -> Iterable[str]:
    loop, _, name = one.address.partition("/")
    if one.address in tree.get("components", {}):
        yield f"{one.file}: {one.address} is in the configuration too: remove one of them"
    elif one.address in builtin:
        yield f"{one.file}: {one.address} is built in: choose another address"
    if loop not in loops:
        yield f"{one.file}: there is no loop {loop}{did_you_mean(loop, loops)}"
    if name == SHARED_PARTS.get(loop) and one.tree.get("process") != "shared":
        yield f"{one.file}: {loop}.{name} is the process of components that share one: choose another name"
    for key, sentence in program_kind.problems_of(one.tree):
        yield f"{one.places[key]}: {one.address}: {sentence}"
    if "class" not in one.tree and one.tree.get("kind") != "program":
        yield f"{one.places['component',]}: {one.address} has no class: name it as package.module:Class"


def _unknown_side(
    source: str, target: str, known: Collection[str], clients: Collection[str], loops: Sequence[str]
) -> str:
    """Return what is wrong with a line; "" if nothing is."""
    if source.startswith("*/"):
        return f"the left side must name a loop or client, {source} would let everyone in"
    if target.startswith("client/"):
        return "a client cannot be called"
    for side, all_known, verb in ((source, {*known, *clients}, "that could call"), (target, known, "to call")):
        loop, name = side.split("/")
        is_there = side in all_known
        if name == "*":
            is_there = loop in ("*", "client", *loops)
        elif loop == "*":
            is_there = any(one.endswith(f"/{name}") for one in all_known)
        if not is_there:
            return f"there is no {side} {verb}{did_you_mean(side, sorted(all_known))}"
    return ""
