"""Who is on the host, what attack begins when, and what happens to the host meanwhile: all out of one seed."""

from __future__ import annotations

import random
from dataclasses import dataclass

from bench.detect.attacks import ATTACKS, Attack
from bench.detect.deeds import PER_MIN, Actor, Who
from bench.detect.ordinary import ORDINARY, steady

TUNING, REPORTING = range(1000, 2000), range(5000, 6000)  # seeds: what was tuned on is not what is reported
CLIENTS, COMPONENTS = 10, 3
WARM_MIN = 60  # before an attack
EPOCH_MIN, RELOAD_MIN, RESPAWN_MIN = 15, 100, 70
STRANGER, CAPTURED = "203.0.113.9", "third"


@dataclass(frozen=True, slots=True)
class Scenario:
    """`actors` by their places; disturbances as {tick: "epoch", "reload" or "respawn"}."""

    name: str
    seed: int
    ticks: int
    actors: tuple[Actor, ...]
    disturbances: dict[int, str]
    attack: Actor | None = None


def ordinary(seed: int, hours: float) -> Scenario:
    """Return traffic in which nobody does wrong: two of each kind, some that come later, components."""
    chance = random.Random(f"ordinary {seed}")
    ticks = round(hours * 60 * PER_MIN)
    actors = [
        Actor(f"client/{kind}{number}", Who.CLIENT, kind, script)
        for kind, script in ORDINARY.items() for number in range(2)
    ]  # fmt: skip
    for number in range(2):
        kind = chance.choice([kind for kind in ORDINARY if kind != "nightly"])
        begin = chance.randrange(ticks)
        actors.append(Actor(f"client/new{number}", Who.CLIENT, "new client", ORDINARY[kind], begin))
    actors += [Actor(f"third/part{number}", Who.COMPONENT, "component", steady) for number in range(COMPONENTS)]
    return Scenario("ordinary", seed, ticks, tuple(actors), _disturbances(chance, ticks))


def attacked(
    kind: str, seed: int, *, clients: int = CLIENTS, warm_min: int = WARM_MIN, minutes: int | None = None
) -> Scenario:
    """Return ordinary traffic of a smaller host, and an attack on it after an hour."""
    attack = ATTACKS[kind]
    chance = random.Random(f"{kind} {seed}")
    kinds = [chance.choice([kind for kind in ORDINARY if kind != "nightly"]) for _ in range(clients)]
    actors = [Actor(f"client/{at}", Who.CLIENT, kind, ORDINARY[kind]) for at, kind in enumerate(kinds)]
    actors += [Actor(f"third/part{at}", Who.COMPONENT, "component", steady) for at in range(COMPONENTS)]
    begin = (warm_min + chance.randrange(10)) * PER_MIN + chance.randrange(PER_MIN)
    ticks = begin + (minutes or attack.minutes) * PER_MIN
    attacker = Actor(_name(attack, chance, clients), attack.who, kind, attack.script, begin, ticks, is_attack=True)
    return Scenario(kind, seed, ticks, (*actors, attacker), _disturbances(chance, ticks), attacker)


def _name(attack: Attack, chance: random.Random, clients: int) -> str:
    if attack.who is Who.ADDRESS:
        return STRANGER
    return CAPTURED if attack.who is Who.CHANNEL else f"client/{chance.randrange(clients)}"


def _disturbances(chance: random.Random, ticks: int) -> dict[int, str]:
    found: dict[int, str] = {}
    for what, minutes in (("epoch", EPOCH_MIN), ("reload", RELOAD_MIN), ("respawn", RESPAWN_MIN)):
        at = chance.randrange(minutes * PER_MIN)
        while at < ticks:
            found[at] = what
            at += minutes * PER_MIN
    return found
