"""Attacks, as their traffic looks to the gate and the door. Each draws how bold it is: from loud to patient.

What is allowed and what the gate refuses follows from the protocol, and `tests/attacks` shows it on a running host:
who has stolen a whole bundle is refused nothing, who has only a token is refused everything.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.detect.deeds import NOTHING, PER_MIN, PER_S, Chance, Deeds, Refusal, Script, Who
from bench.detect.ordinary import METHODS, work


@dataclass(frozen=True, slots=True)
class Attack:
    """A kind of attack. With `Who.CLIENT` or `COMPONENT` it comes on top of what its victim does anyway."""

    name: str
    who: Who
    script: Callable[[random.Random], Script]
    minutes: int
    about: str


def refused(count: int, *refusals: Refusal) -> Deeds:
    return Deeds(count, 500 * count, 0, (), refusals) if count else NOTHING


def replay(random_: random.Random) -> Script:
    """Recorded frames are sent again, on the connection of a client."""
    chance, rate = Chance(random_), random_.choice((0.02, 0.2, 5)) / PER_S
    while True:
        count = chance.count(rate)
        yield refused(count, *[("replay", "")] * count)


def scanning(random_: random.Random) -> Script:
    """A stranger tries what the door takes: garbage, other protocols, no certificate, silence."""
    chance, rate = Chance(random_), random_.choice((0.05, 0.5, 5)) / PER_S
    words = ("tls_unexpected_message", "no_protocol", "no_certificate", "handshake_timeout", "tls_bad_certificate")
    while True:
        yield Deeds(refusals=tuple((random_.choice(words), "") for _ in range(chance.count(rate))))


def theft(random_: random.Random) -> Script:
    """A stolen name: half have a token only, on a socket of their own; half a bundle, and look around."""
    chance = Chance(random_)
    if random_.random() < 0.5:
        rate = random_.choice((0.05, 1)) / PER_S
        while True:
            count = chance.count(rate)
            yield refused(count, *[("wrong_certificate", "")] * count)
    pace = random_.choice((0.2, 1, 5)) / PER_S
    while True:
        way = random_.choice(METHODS)
        size = random_.choice((2_000, 20_000, 60_000))
        yield work(chance, chance.count(pace), (way,), 100, size, random_.randint(1, 4))


def exfiltration(random_: random.Random) -> Script:
    """Data leaves by allowed calls: at once, or more from minute to minute."""
    chance = Chance(random_)
    target = random_.choice((20_000, 60_000, 250_000)) / PER_S  # bytes a second
    is_ramp = random_.random() < 0.4
    tick = 0
    while True:
        share = min(1.0, tick / (20 * PER_MIN)) if is_ramp else 1.0
        wanted, size = target * share, 40_000
        frames = chance.count(wanted / size)
        yield work(chance, frames, (("third/io", "read"),), 60, size, 1)
        tick += 1


def flooding(random_: random.Random) -> Script:
    """More than the host can take: of frames that are in order, or of some that are none."""
    chance, rate = Chance(random_), random_.choice((300, 2000, 15_000)) / PER_S
    is_garbage = random_.random() < 0.3
    ways = tuple(random_.sample(METHODS, 2))
    while True:
        count = chance.count(rate)
        if is_garbage:
            yield refused(count, *[("not_a_header", "")] * min(count, 64))
        else:
            yield work(chance, count, ways, 100, 200, 1000)


def grinding(random_: random.Random) -> Script:
    """A captured loop tries tokens."""
    chance, rate = Chance(random_), random_.choice((0.05, 1, 50)) / PER_S
    words = random_.choice((("token_forged",), ("token_forged", "too_many_signatures"), ("token_signature",)))
    while True:
        yield Deeds(refusals=tuple((random_.choice(words), "") for _ in range(min(64, chance.count(rate)))))


def enumeration(random_: random.Random) -> Script:
    """A client asks what there is: names by guess, or, if it may call everything, one method after the other."""
    chance, rate = Chance(random_), random_.choice((0.1, 1, 10)) / PER_S
    is_allowed = random_.random() < 0.5
    number = 0
    while True:
        count = chance.count(rate)
        names = [f"guess{number + at}" for at in range(count)]
        number += count
        if is_allowed:
            deeds = work(chance, count, tuple(("secondary/store", name) for name in names), 20, 60, 1)
            yield deeds
        else:
            yield refused(count, *[("not_allowed", f"secondary/store.{name}") for name in names])


def patient(random_: random.Random) -> Script:
    """Everything, seldom: a refused guess, a new method, some data, each every few minutes."""
    chance = Chance(random_)
    every = random_.choice((20, 60, 180))
    number = 0
    while True:
        for _ in range(chance.ticks(every)):
            yield NOTHING
        number += 1
        what = random_.randrange(3)
        if what == 0:
            yield refused(1, ("not_allowed", f"third/io.guess{number}"))
        elif what == 1:
            yield work(chance, 2, tuple(random_.sample(METHODS, 2)), 50, 300, 1)
        else:
            yield work(chance, random_.randint(2, 12), (("third/io", "read"),), 60, 40_000, 2)


ATTACKS: Mapping[str, Attack] = {
    attack.name: attack
    for attack in (
        Attack("replay", Who.CLIENT, replay, 10, "recorded frames again, on a client's connection"),
        Attack("scanning", Who.ADDRESS, scanning, 10, "a stranger tries what the door takes"),
        Attack("credential theft", Who.CLIENT, theft, 20, "a stolen token, or a whole bundle"),
        Attack("slow exfiltration", Who.CLIENT, exfiltration, 30, "data leaves by allowed calls"),
        Attack("flooding", Who.CLIENT, flooding, 5, "frames in order, or none"),
        Attack("token grinding", Who.CHANNEL, grinding, 10, "a captured loop tries tokens"),
        Attack("enumeration", Who.CLIENT, enumeration, 15, "guessed names, or one allowed method after the other"),
        Attack("low and slow", Who.CLIENT, patient, 45, "all of it, once in minutes"),
    )
}
