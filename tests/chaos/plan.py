"""What goes wrong, when and where: a plan made of a seed, and of nothing else. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

LOOPS = ("primary", "primary.facts", "secondary", "third", "forth", "external")  # their processes
ALL = (*LOOPS, "authority")
HOST = ("host",)
GAP_MS = (600, 2600)

# How often each comes in a deck, and to whom. A walk draws from a shuffled deck until it is empty, so that whatever can
# go wrong does so soon, in an order that is different each time.
FAULTS: dict[str, tuple[int, tuple[str, ...]]] = {
    "kill": (8, ALL),
    "stop": (4, ALL),
    "pause": (3, ALL),
    "segv": (2, LOOPS),
    "exit0": (2, LOOPS),
    "exit1": (2, LOOPS),
    "leak": (2, LOOPS),
    "memory": (2, LOOPS),
    "block": (2, LOOPS),
    "spin": (1, LOOPS),
    "disk_full": (2, HOST),
    "epoch": (2, HOST),
    "rotate": (1, HOST),
    "rotate_master": (1, HOST),
    "certificate": (1, HOST),
    "revoke_all": (1, HOST),
    "step_wall": (1, HOST),
    "suspend": (1, HOST),
    "drop_client": (2, HOST),
    "kill_supervisor": (1, HOST),
    "restart": (1, HOST),
    "torn_state": (1, HOST),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong: at so many ms from the begin, to a process; `draw` in [0, 1) says how."""

    at_ms: int
    name: str
    target: str
    draw: float


def make_plan(seed: int, lasts_ms: int) -> list[Fault]:
    """Return the faults of a walk, in order; the same for the same seed, and a longer walk begins as a shorter one."""
    chance = random.Random(seed)
    at = 0
    plan: list[Fault] = []
    for name in _names(chance):
        at += chance.randint(*GAP_MS)
        fault = Fault(at, name, chance.choice(FAULTS[name][1]), chance.random())
        if at >= lasts_ms:
            return plan
        plan.append(fault)
    return plan


def _names(chance: random.Random) -> Iterator[str]:
    while True:
        deck = [name for name, (count, _) in FAULTS.items() for _ in range(count)]
        chance.shuffle(deck)
        yield from deck
