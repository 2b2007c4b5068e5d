"""Tarpit: a decoy port that holds connections open. asyncio.

It looks like TLS and does none: a client that sends anything gets the head of a handshake record that announces 16 KiB,
and then a byte of it now and then, until its time is over. No key, no certificate, no cryptography, and nothing that
was said is kept or understood; what it costs is a socket and a small object each. Hard caps hold for connections (in
all, and of one address), for bytes either way and for time. One too many is closed at once, so a flood of
the decoy is no way to use up what the door needs. As Endlessh does for SSH.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass

from tlsrt.bounded_table import BoundedTable, WhenFull

HEAD = b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc\x03\x03"  # record, 16 KiB; ServerHello, as long; its version
ACCEPTS_PER_TURN = 8
READ_MAX = 4096  # bytes of one connection that are taken from the kernel, and thrown away


@dataclass(frozen=True, slots=True)
class TarpitLimits:
    """The caps. One tick is the time between two bytes."""

    connections: int = 128
    per_address: int = 8
    tick_s: float = 10.0
    ticks: int = 60  # then it ends: ten minutes, and as many bytes beyond the head


@dataclass(slots=True)
class _Stuck:
    socket: socket.socket
    address: str
    ticks: int = 0
    has_spoken: bool = False


class Tarpit:
    """The endpoint on one listening socket. `on_spoken` gets the address of a client that has sent something."""

    def __init__(self, on_spoken: Callable[[str], None], limits: TarpitLimits | None = None) -> None:
        self._on_spoken = on_spoken
        self._limits = limits or TarpitLimits()
        self._loop = asyncio.get_running_loop()
        self._stuck: BoundedTable[int, _Stuck] = BoundedTable(  # by descriptor
            self._limits.connections, self._limits.per_address, WhenFull.REFUSE
        )
        self._listener: socket.socket | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.turned_away = 0

    def __len__(self) -> int:
        return len(self._stuck)

    def listen(self, descriptor: int) -> None:
        """Accept on a dup of this listening socket from now on."""
        if self._listener is None:
            self._listener = socket.socket(fileno=os.dup(descriptor))
            self._listener.setblocking(False)
            self._loop.add_reader(self._listener.fileno(), self._accept)

    def close(self) -> None:
        """End all connections, and accept no more."""
        if self._listener is not None:
            self._loop.remove_reader(self._listener.fileno())
            self._listener.close()
            self._listener = None
        for row in list(self._stuck):
            self._end(row.value)

    def _accept(self) -> None:
        assert self._listener is not None
        for _ in range(ACCEPTS_PER_TURN):
            try:
                accepted, name = self._listener.accept()
            except OSError:  # no client is left, or there is no descriptor for it now
                return
            address = str(name[0])
            stuck = _Stuck(accepted, address)
            if not self._stuck.add(accepted.fileno(), stuck, address).is_added:
                self.turned_away += 1
                accepted.close()
                continue
            accepted.setblocking(False)
            self._loop.add_reader(accepted.fileno(), self._read, stuck)
            if self._timer is None:
                self._timer = self._loop.call_later(self._limits.tick_s, self._tick)

    def _read(self, stuck: _Stuck) -> None:
        """Read the first bytes, and never again. What comes later fills the kernel's small buffer and waits."""
        try:
            said = stuck.socket.recv(READ_MAX)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            said = b""
        if not said:
            self._end(stuck)
            return
        self._loop.remove_reader(stuck.socket.fileno())
        stuck.has_spoken = True
        self._on_spoken(stuck.address)
        self._send(stuck, HEAD)

    def _tick(self) -> None:
        """Send a byte on each connection, and end those whose time is over. One timer for all, none without any."""
        self._timer = None
        for stuck in [row.value for row in self._stuck]:
            stuck.ticks += 1
            if stuck.ticks >= self._limits.ticks:
                self._end(stuck)
            elif stuck.has_spoken:
                self._send(stuck, os.urandom(1))
        if self._stuck:
            self._timer = self._loop.call_later(self._limits.tick_s, self._tick)

    def _send(self, stuck: _Stuck, data: bytes) -> None:
        try:
            stuck.socket.send(data)
        except (BlockingIOError, InterruptedError):
            return  # it does not read; its time passes all the same
        except OSError:
            self._end(stuck)

    def _end(self, stuck: _Stuck) -> None:
        descriptor = stuck.socket.fileno()
        self._loop.remove_reader(descriptor)
        stuck.socket.close()
        self._stuck.remove(descriptor)
        if not self._stuck and self._timer is not None:
            self._timer.cancel()
            self._timer = None
