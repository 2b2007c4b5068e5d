"""A process that is killed at random moments while a client writes through TLS: what was acknowledged is there."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

from hosts.running_host import RunningHost

from tlsrt import CallError, Client

NAMES = 40
LONGEST_S = 0.15  # from one life to its kill
Write = Callable[[Client, str, int], int]
Read = Callable[[Client, str], tuple[int, object]]


class KilledWriter:
    """Writes numbers under names. `write` returns the version that it made, `read` the present one and its value."""

    def __init__(self, host: RunningHost, process: str, write: Write, read: Read) -> None:
        self._host = host
        self._process = process
        self._write = write
        self._read = read
        self._kept: dict[str, tuple[int, int]] = {}  # the last one that was acknowledged, with its number
        self._unsure: dict[str, list[int]] = {}  # numbers behind it that may have been written
        self._is_over = threading.Event()
        self.acknowledged = 0

    def run(self, kills: int, seed: int) -> None:
        """Kill so often, then compare. Raises AssertionError for what is lost."""
        print("seed", seed)
        chance = random.Random(seed)
        writer = threading.Thread(target=self._go_on)
        writer.start()
        try:
            for _ in range(kills):
                self._is_over.wait(chance.random() * LONGEST_S)
                self._kill()
        finally:
            self._is_over.set()
            writer.join(60)
        assert self.acknowledged > kills, "it was killed before it wrote anything"
        with self._host.client() as client:
            for name, (version, number) in self._kept.items():
                found = self._read(client, name)
                is_later = found[0] > version and found[1] in self._unsure.get(name, [])
                assert found == (version, number) or is_later, f"{name}: {(version, number)} was kept, there is {found}"

    def _kill(self) -> None:
        pid = self._host.kill(self._process)
        self._host.until(
            lambda status: any(
                one["name"] == self._process and one["state"] == "active" and one["pid"] != pid
                for one in status["loops"]
            ),
            f"another {self._process}",
            timeout_s=30,
        )

    def _go_on(self) -> None:
        number = 0
        while not self._is_over.is_set():
            name = ""
            try:
                with self._host.client() as client:
                    while not self._is_over.is_set():
                        number += 1
                        name = f"n{number % NAMES}"
                        self._kept[name] = self._write(client, name, number), number
                        self._unsure.pop(name, None)
                        self.acknowledged += 1
            except CallError:
                self._unsure.setdefault(name, []).append(number)
