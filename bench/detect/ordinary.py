"""Ordinary traffic: what nobody should be told of. Each script draws its own parameters, so no two are alike."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from bench.detect.deeds import NOTHING, PER_MIN, PER_S, Call, Chance, Deeds, Script

FRAME_BYTES = 330  # of a request without its body: header, token, proof, TLS
METHODS: tuple[Call, ...] = tuple(
    (component, method)
    for component, methods in {
        "secondary/store": ("get", "put", "list", "delete", "size"),
        "third/io": ("read", "write", "watch", "list"),
        "primary/kernel": ("uname", "uptime", "load"),
        "primary/hardware": ("cpus", "memory", "disks"),
        "forth/power": ("state", "battery"),
        "external/network": ("fetch", "resolve"),
    }.items()
    for method in methods
)


def work(
    chance: Chance, frames: int, ways: tuple[Call, ...], size_in: float, size_out: float, open_calls: int
) -> Deeds:
    """Return so many requests of these methods."""
    if frames < 1:
        return NOTHING
    return Deeds(
        frames,
        frames * FRAME_BYTES + chance.size(size_in * frames, 0.3),
        frames * FRAME_BYTES + chance.size(size_out * frames, 0.3),
        ways[: frames],
        (),
        open_calls,
    )  # fmt: skip


def steady(random_: random.Random) -> Script:
    """A service that asks all the time."""
    chance = Chance(random_)
    rate = random_.uniform(1, 20) / PER_S
    ways = tuple(random_.sample(METHODS, random_.randint(1, 4)))
    size_in, size_out = chance.size(200, 1), chance.size(800, 1)
    while True:
        yield work(chance, chance.count(rate), ways, size_in, size_out, random_.randint(0, 2))


def polling(random_: random.Random) -> Script:
    """A dashboard that asks for the same things every few seconds."""
    chance = Chance(random_)
    every = random_.choice((5, 10, 15, 30)) * PER_S
    ways = tuple(random_.sample(METHODS, random_.randint(3, 8)))
    size_out = chance.size(600, 1)
    while True:
        for tick in range(every):
            yield work(chance, len(ways), ways, 50, size_out, 1) if tick == 0 else NOTHING


def bursty(random_: random.Random) -> Script:
    """Jobs that come by chance, of very different sizes."""
    chance = Chance(random_)
    pause_s, burst = random_.uniform(20, 120), random_.uniform(100, 1500)
    ways = tuple(random_.sample(METHODS, random_.randint(1, 5)))
    size_in, size_out = chance.size(500, 1), chance.size(1500, 1)
    while True:
        for _ in range(chance.ticks(pause_s)):
            yield NOTHING
        left = chance.size(burst, 0.8)
        while left > 0:
            frames = min(left, chance.count(60))
            left -= max(1, frames)
            yield work(chance, frames, ways, size_in, size_out, random_.randint(8, 32))


def person(random_: random.Random) -> Script:
    """Somebody at a keyboard: a few calls, a look at the answer, now and then a method never used before or a file."""
    chance = Chance(random_)
    known = random_.sample(METHODS, 4)
    while True:
        for _ in range(random_.randint(3, 30)):
            if random_.random() < 0.02:
                known.append(random_.choice(METHODS))
            if random_.random() < 0.03:
                for _ in range(random_.randint(2, 20)):  # a file
                    yield work(chance, 16, (("third/io", "read"),), 60, 60_000, 8)
            yield work(chance, random_.randint(1, 3), (random_.choice(known),), 100, 2000, 1)
            for _ in range(chance.ticks(6)):
                yield NOTHING
        for _ in range(chance.ticks(300)):
            yield NOTHING


def nightly(random_: random.Random) -> Script:
    """A batch that runs once a day for some minutes, and a sign of life every minute otherwise."""
    chance = Chance(random_)
    at = random_.randint(60, 22 * 60) * PER_MIN
    lasts = random_.randint(5, 25) * PER_MIN
    tick = 0
    while True:
        of_day = tick % (24 * 60 * PER_MIN)
        if at <= of_day < at + lasts:
            yield work(chance, chance.count(40), (("secondary/store", "list"), ("third/io", "read")), 100, 20_000, 16)
        elif tick % PER_MIN == 0:
            yield work(chance, 1, (("primary/kernel", "uptime"),), 20, 60, 1)
        else:
            yield NOTHING
        tick += 1


def daily(random_: random.Random) -> Script:
    """A service whose load follows the day: three times as much at noon as at night."""
    chance = Chance(random_)
    rate = random_.uniform(2, 8) / PER_S
    ways = tuple(random_.sample(METHODS, 3))
    begin = random_.randint(0, 24 * 60 * PER_MIN)
    tick = begin
    while True:
        share = abs((tick / (12 * 60 * PER_MIN)) % 2 - 1)
        yield work(chance, chance.count(rate * (0.5 + share)), ways, 300, 900, random_.randint(0, 3))
        tick += 1


def clumsy(random_: random.Random) -> Script:
    """A program with a mistake: every few minutes it calls what its policy does not allow, always the same."""
    chance = Chance(random_)
    every = random_.randint(2, 6) * PER_MIN
    wrong = ("not_allowed", "secondary/store.delete")
    for tick, deeds in enumerate(steady(random_)):
        yield deeds._replace(frames=deeds.frames + 1, refusals=(wrong,)) if tick % every == every - 1 else deeds
        chance.random.random()


ORDINARY: Mapping[str, Callable[[random.Random], Script]] = {
    "steady": steady, "polling": polling, "bursty": bursty, "person": person, "nightly": nightly, "daily": daily,
    "clumsy": clumsy,
}  # fmt: skip
