"""What a captured loop uses up: processes, threads, memory, descriptors, processor, files, log. One function each.

Most work in slices and let the loop's own work go on between them, as an attacker would who does not want to be
noticed; `spin` does not. Everything is let go at the end, and the answer says how far it went.
"""

from __future__ import annotations

import _thread
import asyncio
import ctypes
import errno
import gc
import mmap
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

SLICE_S = 0.02
CHUNK = 4 << 20
MIB = 1 << 20
MAP_SHARED, MAP_PRIVATE, MAP_SHARED_VALIDATE, MAP_ANONYMOUS, MAP_GROWSDOWN = 0x01, 0x02, 0x03, 0x20, 0x100
IN_FLIGHT_MAX = 4096
DESCRIPTORS_PER_MESSAGE = 200

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
_FAILED = ctypes.c_void_p(-1).value


def _outcome(action: Callable[..., object], *arguments: object) -> str:
    try:
        action(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    except (RuntimeError, MemoryError) as error:
        return str(error) or type(error).__name__
    return "allowed"


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


async def _again_and_again(action: Callable[..., object], seconds: int) -> dict[str, int]:
    """Do something for so long, in slices; returns how often each outcome came."""
    found: dict[str, int] = {}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        slice_end = time.monotonic() + SLICE_S
        while time.monotonic() < slice_end:
            outcome = _outcome(action)
            found[outcome] = found.get(outcome, 0) + 1
        await asyncio.sleep(0)
    return found


async def forks(seconds: int) -> dict[str, int]:
    """A fork bomb."""
    return await _again_and_again(_fork, seconds)


async def burn(seconds: int) -> dict[str, int]:
    """All of the processor that it gets, without missing a beat."""
    return await _again_and_again(lambda: sum(range(1000)), seconds)


def spin(seconds: int) -> None:
    """The same, without a beat."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(1000))


async def _hold(seconds: int) -> None:
    """Keep what was taken for so long, and say in the log when this begins and ends.

    Also when the call is cancelled, as its caller is gone: a captured loop does as it likes.
    """
    print("holding", file=sys.stderr, flush=True)
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(left)
    print("let go", file=sys.stderr, flush=True)


async def threads(seconds: int) -> dict[str, Any]:
    """Threads that wait, until no more can be had; by the kernel's word, not by that of `threading`."""
    done, ended = threading.Event(), threading.Semaphore(0)
    threading.stack_size(64 << 10)  # so that memory is not what ends it

    def wait() -> None:
        done.wait()
        ended.release()

    started, outcome = 0, "allowed"
    while outcome == "allowed":
        outcome = _outcome(_thread.start_new_thread, wait, ())
        started += outcome == "allowed"
    await _hold(seconds)
    done.set()
    for _ in range(started):
        ended.acquire()
    return {"outcome": outcome, "count": started}


async def memory(most_mib: int) -> dict[str, Any]:
    """Ordinary memory, written to."""
    held: list[bytearray] = []

    def take() -> None:
        held.append(bytearray(b"x" * CHUNK))

    outcome = "allowed"
    while outcome == "allowed" and len(held) * CHUNK < most_mib * MIB:
        outcome = _outcome(take)
        await asyncio.sleep(0)
    count = len(held) * CHUNK // MIB
    held.clear()
    gc.collect()
    return {"outcome": outcome, "mib": count}


def _map(most_mib: int, flags: int) -> dict[str, Any]:
    held: list[int] = []
    while len(held) * CHUNK < most_mib * MIB:
        address = _libc.mmap(None, CHUNK, mmap.PROT_READ | mmap.PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0)
        if address == _FAILED:
            outcome = errno.errorcode[ctypes.get_errno()]
            break
        ctypes.memset(address, 1, CHUNK)
        held.append(address)
    else:
        outcome = "allowed"
    for address in held:
        _libc.munmap(ctypes.c_void_p(address), ctypes.c_size_t(CHUNK))
    return {"outcome": outcome, "mib": len(held) * CHUNK // MIB}


def _fill(make: Callable[[], list[int]]) -> dict[str, int]:
    """Make descriptors until there are no more; close all."""
    held: list[int] = []
    outcome = "allowed"

    def take() -> None:
        held.extend(make())

    try:
        while outcome == "allowed":
            outcome = _outcome(take)
        return {outcome: len(held)}
    finally:
        for descriptor in held:
            os.close(descriptor)


def _pair() -> list[int]:
    return [end.detach() for end in socket.socketpair()]


async def descriptors(seconds: int) -> dict[str, int]:
    """Every kind of descriptor that can be made, until there are no more; then, for a while, none is left."""
    makes: dict[str, Callable[[], list[int]]] = {
        "socket": lambda: [socket.socket(socket.AF_UNIX).detach()],
        "socketpair": _pair,
        "eventfd": lambda: [os.eventfd(0)],
        "file": lambda: [os.open("/dev/null", os.O_RDONLY)],
    }
    found: dict[str, int] = {}
    for name, make in makes.items():
        for outcome, count in _fill(make).items():
            found[f"{name} {outcome}"] = count
        await asyncio.sleep(0)
    held = []
    with suppress(OSError):
        while True:
            held.append(socket.socket(socket.AF_UNIX))
    await _hold(seconds)
    for one in held:
        one.close()
    return found


async def in_flight(seconds: int) -> dict[str, Any]:
    """Descriptors that are sent and never received, which the kernel counts for a whole user, too."""
    sent, outcome = 0, "allowed"
    pairs: list[tuple[socket.socket, socket.socket]] = []
    try:
        while sent < IN_FLIGHT_MAX:
            if not pairs or sent % (4 * DESCRIPTORS_PER_MESSAGE) == 0:
                pairs.append(socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))
                pairs[-1][0].setblocking(False)
            socket.send_fds(pairs[-1][0], [b"x"], [2] * DESCRIPTORS_PER_MESSAGE)
            sent += DESCRIPTORS_PER_MESSAGE
    except OSError as error:
        outcome = errno.errorcode[error.errno or 0]
    await _hold(seconds)
    for ends in pairs:
        for end in ends:
            end.close()
    return {"outcome": outcome, "sent": sent}


async def signals(seconds: int) -> dict[str, Any]:
    """Signals to itself that it does not take."""
    number = signal.SIGRTMIN + 1
    signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    count, outcome = 0, "allowed"
    while outcome == "allowed" and count < 1 << 20:
        outcome = _outcome(signal.pthread_kill, threading.get_ident(), number)
        count += outcome == "allowed"
    await _hold(seconds)
    signal.signal(number, signal.SIG_IGN)  # which drops them
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    return {"outcome": outcome, "count": count}


async def file_size(most_mib: int) -> dict[str, Any]:
    """One file that grows."""
    return await _grow("/state/bomb", os.O_WRONLY | os.O_CREAT, most_mib, remove=True)


async def log(most_mib: int) -> dict[str, Any]:
    """The loop's own log."""
    return await _grow("", 0, most_mib, remove=False)


async def _grow(path: str, flags: int, most_mib: int, *, remove: bool) -> dict[str, Any]:
    descriptor = os.open(path, flags, 0o600) if path else 2
    line = b"x" * 65535 + b"\n"
    written, outcome = 0, "allowed"
    try:
        while written < most_mib * MIB:
            try:
                written += os.write(descriptor, line)
            except OSError as error:
                outcome = errno.errorcode[error.errno or 0]
                break
            await asyncio.sleep(0)
    finally:
        if path:
            os.close(descriptor)
        if remove:
            os.unlink(path)
    return {"outcome": outcome, "mib": written // MIB}


async def buffers(seconds: int) -> dict[str, Any]:
    """Full buffers of as many sockets as can be had: memory of the kernel."""
    held = list(socket.socketpair())
    before = held[0].getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    held[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 30)
    larger = held[0].getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) > before
    filled = 0
    with suppress(OSError):
        while True:
            held += (pair := socket.socketpair())
            if larger:
                pair[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 30)
            pair[0].setblocking(False)
            with suppress(BlockingIOError):
                while True:
                    filled += pair[0].send(bytes(65536))
            await asyncio.sleep(0)
    await _hold(seconds)
    for one in held:
        one.close()
    return {"larger": larger, "mib": filled // MIB}


BOMBS: dict[str, Callable[[int], Any]] = {
    function.__name__: function
    for function in (forks, burn, spin, threads, memory, descriptors, in_flight, signals, file_size, log, buffers)
} | {
    "shared_memory": lambda most_mib: _map(most_mib, MAP_SHARED),
    "validated_memory": lambda most_mib: _map(most_mib, MAP_SHARED_VALIDATE),
    "growing_memory": lambda most_mib: _map(most_mib, MAP_PRIVATE | MAP_GROWSDOWN),
    "private_memory": lambda most_mib: _map(most_mib, MAP_PRIVATE),
}
