"""A component whose event loop stops in every way that Python and its libraries know, and one that lies about it."""

from __future__ import annotations

import collections
import gc
import itertools
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from tlsrt import Component, handler
from tlsrt.channels.control.heartbeat_name import pulse_name
from tlsrt.errors import PeerError
from tlsrt.loops.runtime.process import LoopProcess
from tlsrt.sandbox.syscalls import name_thread

_reading, _writing = os.pipe()  # nobody writes; no pipe can be made after the seal


def spin_in_python() -> None:
    while True:
        pass


def spin_in_c() -> None:
    """One call of an extension that never gives the interpreter up."""
    collections.deque(itertools.repeat(None), maxlen=0)


def wait_for_a_lock() -> None:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def liar(process: Any) -> None:
    """Go on beating for an event loop that is stuck, with the next numbers, under the right name."""
    beats = process._heartbeat.beats
    names = ["/proc/self/comm", f"/proc/self/task/{os.getpid()}/comm", f"/proc/{os.getpid()}/comm"]
    while True:
        beats += 1
        name_thread(pulse_name(process.name, beats))  # its own: there is no call that names another
        for path in names:
            try:
                with open(path, "wb") as file:
                    file.write(pulse_name(process.name, beats))
            except OSError:
                continue
        try:
            process._life.send("beat", beats, 100, 0, 1024, 0, 0, 0, 1, process.authority.committed)
        except PeerError:
            return
        time.sleep(0.25)


HANGS: dict[str, Callable[[], object]] = {
    "spin_in_python": spin_in_python,
    "spin_in_c": spin_in_c,
    "sleep": lambda: time.sleep(3600),
    "lock": wait_for_a_lock,
    "read": lambda: os.read(_reading, 1),
    "hiccup": lambda: time.sleep(0.6),
}


class Hanging(Component):
    """Stops its loop."""

    @handler
    async def now(self) -> float:
        return time.monotonic()

    @handler
    async def hang(self, how: str) -> float:
        """Stop the event loop; only a hiccup is answered."""
        HANGS[how]()
        return time.monotonic()

    @handler
    async def lie(self) -> None:
        """Stop the event loop, while another thread says that it goes on."""
        process = next(thing for thing in gc.get_objects() if isinstance(thing, LoopProcess))
        threading.Thread(target=liar, args=(process,), daemon=True).start()
        time.sleep(3600)
