"""The first process of a user-mode kernel: tlsrt's own control groups with real controllers, against two bombs.

Everything is printed as one line of JSON for the test outside, which judges it.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tlsrt.sandbox import syscalls
from tlsrt.sandbox.cgroup.cgroup import Limits, own_place, write
from tlsrt.supervisor.process.cgroups import ControlGroups
from tlsrt.supervisor.process.exit_reason import cause_of_death
from tlsrt.supervisor.process.spawn import SpawnedChild, freeze, reap, spawn

_POWER_OFF = 0x4321FEDC  # reboot(2), LINUX_REBOOT_CMD_POWER_OFF
_MIB = 1 << 20
MEMORY, TASKS = 64 * _MIB, 8
LIMITS = {name: Limits(MEMORY, TASKS) for name in ("memory_bomb", "fork_bomb", "calm", "burner", "other_burner")}
_ROUNDS = 200


def mount_all() -> None:
    for kind, place in (("proc", "/proc"), ("sysfs", "/sys"), ("cgroup2", "/sys/fs/cgroup")):
        with suppress(OSError):
            syscalls.umount2(place)
        syscalls.mount(kind, place, kind)


def memory_bomb() -> int:
    held = bytearray(4 * MEMORY)
    for at in range(0, len(held), 4096):
        held[at] = 1
    return 0


def fork_bomb(writer: int) -> int:
    made = 0
    try:
        while made < 100:
            if os.fork() == 0:
                while True:
                    select.select([], [], [])
            made += 1
    except OSError as error:
        os.write(writer, json.dumps({"made": made, "error": error.strerror}).encode() + b"\n")
    while True:
        select.select([], [], [])


def calm(asked: int, answers: int) -> int:
    """Answers each byte, as a loop answers its calls."""
    while os.read(asked, 1):
        os.write(answers, b"a")
    return 0


def burn() -> int:
    while True:
        pass


class Calm:
    """The process that lives beside the bombs."""

    def __init__(self, groups: ControlGroups) -> None:
        asked, self._ask = os.pipe()
        self._answer, answers = os.pipe()

        def body() -> int:
            os.close(self._ask)
            return calm(asked, answers)

        self.child = spawn(body, group=groups.descriptor("calm"))

    def answers(self) -> int:
        """Ask again and again; return how often an answer came in time."""
        good = 0
        for _ in range(_ROUNDS):
            os.write(self._ask, b"q")
            good += bool(select.select([self._answer], [], [], 5)[0]) and os.read(self._answer, 1) == b"a"
        return good


def end_of(child: SpawnedChild) -> str:
    select.select([child.pidfd], [], [], 30)
    return str(reap(child))


def events(groups: ControlGroups, name: str, file: str) -> dict[str, int]:
    place = groups.place(name)
    assert place is not None
    lines = (place.folder / file).read_text().splitlines()
    return {line.split()[0]: int(line.split()[1]) for line in lines}


def until_empty(groups: ControlGroups, name: str) -> bool:
    limit = time.monotonic() + 10
    while not groups.clear(name):
        if time.monotonic() > limit:
            return False
        select.select([], [], [], 0.01)
    return True


def cpu_shares(groups: ControlGroups) -> list[int]:
    """One burner against three in another group: with shares both groups get half."""
    children = [spawn(burn, group=groups.descriptor("burner"))]
    children += [spawn(burn, group=groups.descriptor("other_burner")) for _ in range(3)]
    select.select([], [], [], 3)
    used = [events(groups, name, "cpu.stat")["usage_usec"] for name in ("burner", "other_burner")]
    for name in ("burner", "other_burner"):
        until_empty(groups, name)
    for child in children:
        reap(child)
    return used


def try_all(say: Callable[[str, object], None]) -> None:
    say("kernel", os.uname().release)
    say("offered", (own_place().folder / "cgroup.controllers").read_text().split())
    groups = ControlGroups(Path("/tmp"), None)
    groups.claim(LIMITS)
    say("sentence", groups.sentence())
    say("enforced", groups.enforced())
    place = groups.place("calm")
    assert place is not None, groups.reason
    files = ("memory.max", "memory.swap.max", "memory.oom.group", "pids.max", "cpu.weight")
    say("files", {name: (place.folder / name).read_text().strip() for name in files if (place.folder / name).exists()})
    beside = Calm(groups)
    bomb = spawn(memory_bomb, group=groups.descriptor("memory_bomb"))
    select.select([bomb.pidfd], [], [], 30)
    reason = reap(bomb)
    say("memory_bomb", str(reason))
    say("memory_bomb_cause", str(cause_of_death(reason, None, oom_kills=groups.oom_kills("memory_bomb")).cause))
    say("oom_kills", events(groups, "memory_bomb", "memory.events")["oom_kill"])
    say("answers_beside_memory", beside.answers())
    reader, writer = os.pipe()
    bomb = spawn(lambda: fork_bomb(writer), group=groups.descriptor("fork_bomb"))
    say("fork_bomb", json.loads(os.read(reader, 4096)))
    say("forks_refused", events(groups, "fork_bomb", "pids.events")["max"])
    say("answers_beside_forks", beside.answers())
    say("cleared", until_empty(groups, "fork_bomb"))
    say("bomb_ended", end_of(bomb))
    say("cpu", cpu_shares(groups))
    say("calm_lives", reap(beside.child) is None)
    say("calm_oom_kills", events(groups, "calm", "memory.events")["oom_kill"])
    groups.release()
    say("released", not place.folder.exists())
    say("service", as_a_service())


def as_a_service() -> list[str]:
    """What is said in a delegated group that holds us, and in a group called `supervisor` below it."""
    service = own_place().child("service")
    said: list[str] = []
    for place in (service, service.child("supervisor")):
        os.mkdir(place.folder)
        write(place.folder / "cgroup.procs", "0")
        groups = ControlGroups(Path("/tmp"), None)
        groups.claim(LIMITS)
        said.append(groups.sentence())
        groups.release()
    return said


def main() -> None:
    found: dict[str, object] = {}
    try:
        mount_all()
        freeze()
        try_all(found.__setitem__)
    except BaseException as error:
        found["error"] = f"{type(error).__name__}: {error}"
    print(f"FOUND {json.dumps(found)}", flush=True)
    os.sync()
    ctypes.CDLL(None).reboot(_POWER_OFF)


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    main()
