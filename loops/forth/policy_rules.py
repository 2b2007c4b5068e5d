"""Rules of power: which of them hold, from samples that may flap or say nothing. Pure.

A rule is active or not. It becomes active when all of its conditions have held for `for_s`, and ends when one of them
has clearly failed: a threshold by `hysteresis`. It stays what it is for `dwell_s` at least, whatever samples say, and
while something that it asks for is not known. So it changes at most once in `dwell_s`. An override of the operator is
stronger than samples, and ends by itself.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Literal, NamedTuple

from tlsrt import Length, Range

RULES = 32
ACTIONS = 16  # of one rule
PROFILES = ("power-saver", "balanced", "performance")
MACHINE = ("suspend", "hibernate", "reboot", "power_off")  # actions of logind
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_ADDRESS = re.compile(r"[a-z][a-z0-9_-]*/[a-z][a-z0-9_-]*")

Percent = Annotated[float, Range(0, 100)]
Seconds = Annotated[float, Range(0, 86400)]


@dataclasses.dataclass(frozen=True)
class Sample:
    """What is known of the power at one moment; None: not known."""

    on_battery: bool | None = None
    percent: float | None = None
    celsius: float | None = None
    ups_low: bool | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rule:
    """When something is done, and what: all conditions that are written must hold."""

    on_battery: bool = False
    on_mains: bool = False
    below: Percent | None = None  # percent of the battery
    above: Percent | None = None
    temperature_above: Annotated[float, Range(-50, 200)] | None = None  # degrees Celsius of the warmest zone
    ups_low: bool = False
    for_s: Seconds = 0.0  # so long they must hold before
    hysteresis: Annotated[float, Range(0, 50)] = 3.0  # percent and degrees
    dwell_s: Annotated[float, Range(1, 86400)] = 60.0  # so long it stays active, or not
    then: Annotated[tuple[str, ...], Length(ACTIONS, 1)]
    after: Annotated[tuple[str, ...], Length(ACTIONS)] = ()  # when it ends; profiles and pauses end by themselves

    def __post_init__(self) -> None:
        if not self.conditions:
            raise ValueError("write a condition: on_battery, on_mains, below, above, temperature_above or ups_low")
        for action in self.then:
            Action.read(action)
        for action in self.after:
            if Action.read(action).verb not in ("notify", "set"):
                raise ValueError(f"after: {action}: only notify and set are done when a rule ends")

    @property
    def conditions(self) -> tuple[str, ...]:
        """Return the names of the conditions that are written."""
        flags = [name for name in ("on_battery", "on_mains", "ups_low") if getattr(self, name)]
        limits = [name for name in ("below", "above", "temperature_above") if getattr(self, name) is not None]
        return (*flags, *limits)

    def holds(self, sample: Sample, *, is_active: bool) -> bool | None:
        """Tell whether the conditions hold, None if that is not known; an active rule is slow to give up."""
        slack = self.hysteresis if is_active else 0.0
        judged = [_judge(name, self, sample, slack) for name in self.conditions]
        return False if False in judged else None if None in judged else True


def _judge(name: str, rule: Rule, sample: Sample, slack: float) -> bool | None:
    if name == "ups_low":
        return sample.ups_low
    if name in ("on_battery", "on_mains"):
        return None if sample.on_battery is None else sample.on_battery is (name == "on_battery")
    value = sample.celsius if name == "temperature_above" else sample.percent
    limit: float = getattr(rule, name)
    if value is None:
        return None
    return value < limit + slack if name == "below" else value > limit - slack


class Action(NamedTuple):
    """One action, as it is written: `profile power-saver`, `pause secondary/ai`, `set light 10`, `suspend`."""

    verb: Literal["profile", "pause", "set", "notify", "shutdown", "suspend", "hibernate", "reboot", "power_off"]
    what: str = ""
    value: int = 0

    @classmethod
    def read(cls, text: str) -> Action:
        """Return the action that a text says. Raises ValueError with a sentence."""
        match text.split():
            case ["profile", str(name)] if name in PROFILES:
                return cls("profile", name)
            case ["pause", str(address)] if _ADDRESS.fullmatch(address):
                return cls("pause", address)
            case ["set", str(name), str(value)] if _NAME.fullmatch(name) and value.isascii() and value.isdecimal():
                return cls("set", name, int(value))
            case ["notify" | "shutdown" | "suspend" | "hibernate" | "reboot" | "power_off" as verb]:
                return cls(verb)
        raise ValueError(
            f"then: {text[:60]!r} is no action; there are: profile {'|'.join(PROFILES)}, pause LOOP/NAME, "
            "set SETTING NUMBER, notify, shutdown, suspend, hibernate, reboot, power_off"
        )

    def __str__(self) -> str:
        value = str(self.value) if self.verb == "set" else ""
        return " ".join(word for word in (self.verb, self.what, value) if word)


@dataclasses.dataclass(frozen=True)
class Override:
    """What an operator has said of a rule, until a moment of wall time."""

    is_active: bool
    until: float


@dataclasses.dataclass(frozen=True)
class RuleState:
    """Where a rule is; times are seconds of one clock."""

    is_active: bool = False
    since: float | None = None  # of its last change; None: it has never changed
    held_since: float | None = None  # its conditions hold since then, without a gap


class Change(NamedTuple):
    """A rule has become active, or has ended."""

    rule: str
    is_active: bool
    by_override: bool


def step(
    rules: Mapping[str, Rule], states: Mapping[str, RuleState], sample: Sample, now: float,
    overrides: Mapping[str, bool] = {},
) -> tuple[dict[str, RuleState], list[Change]]:  # fmt: skip
    """Return the states of the rules after a sample, and which of them have changed."""
    after: dict[str, RuleState] = {}
    changes: list[Change] = []
    for name, rule in rules.items():
        before = states.get(name, RuleState())
        after[name] = state = _next(rule, before, sample, now, overrides.get(name))
        if state.is_active != before.is_active:
            changes.append(Change(name, state.is_active, name in overrides))
    return after, changes


def _next(rule: Rule, before: RuleState, sample: Sample, now: float, override: bool | None) -> RuleState:
    holds = rule.holds(sample, is_active=before.is_active)
    held_since = None if not holds else now if before.held_since is None else before.held_since
    if override is not None:
        wanted = override
    elif before.since is not None and now - before.since < rule.dwell_s:
        wanted = before.is_active
    elif before.is_active:
        wanted = holds is not False
    else:
        wanted = held_since is not None and now - held_since >= rule.for_s
    since = before.since if wanted == before.is_active else now
    return RuleState(wanted, since, held_since)


class Wanted(NamedTuple):
    """What all active rules together want; the first one that names a profile has it."""

    profile: str | None
    paused: frozenset[str]


def wanted(rules: Mapping[str, Rule], states: Mapping[str, RuleState]) -> Wanted:
    """Return what holds as long as the active rules are."""
    active = [rule for name, rule in rules.items() if states.get(name, RuleState()).is_active]
    actions = [Action.read(text) for rule in active for text in rule.then]
    profile = next((one.what for one in actions if one.verb == "profile"), None)
    return Wanted(profile, frozenset(one.what for one in actions if one.verb == "pause"))


def once(rules: Mapping[str, Rule], changes: Iterable[Change]) -> list[tuple[str, Action]]:
    """Return what is done once for these changes, by which rule: the machine's end last."""
    texts = [(one.rule, text) for one in changes for text in _texts(rules[one.rule], is_active=one.is_active)]
    actions = [(rule, Action.read(text)) for rule, text in texts]
    found = [one for one in actions if one[1].verb not in ("profile", "pause")]
    return sorted(found, key=lambda one: one[1].verb in (*MACHINE, "shutdown"))


def _texts(rule: Rule, *, is_active: bool) -> Sequence[str]:
    return rule.then if is_active else rule.after


def pausable(rules: Mapping[str, Rule]) -> frozenset[str]:
    """Return all components that some rule may pause."""
    actions = [Action.read(text) for rule in rules.values() for text in rule.then]
    return frozenset(one.what for one in actions if one.verb == "pause")
