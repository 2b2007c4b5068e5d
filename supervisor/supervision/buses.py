"""Buses: the proxies that stand between components and buses of D-Bus, xdg-dbus-proxy(1).

Theory of operation. For each filtered grant of a living process the supervisor has a socket that listens, in a folder
that no other process passes. The broker connects the component there instead of to the bus, under the name that the bus
has. With the first connection that waits, the proxy is forked as a program of the component; what it would have listen
is replaced by this socket (`sandbox/seccomp/broker.py`), and what it connects to the bus is connected as the uid of the
component, which is what the bus compares with the words of the client (EXTERNAL). So the proxy needs no name, no folder
and no right of its own. It ends with its component, and when the supervisor lets go of its standard input; one that
ends otherwise is there again with the next connection, behind a socket made anew, as it may have undone the one before.
"""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from functools import partial

from tlsrt.channels.control.life import LoopState
from tlsrt.channels.control.program_outcome import Outcome
from tlsrt.channels.control.program_request import encode_request
from tlsrt.config.bus_proxies import socket_of
from tlsrt.sandbox.profile.program_profile import PlacedProgram
from tlsrt.supervisor.process.children import CallRules
from tlsrt.supervisor.process.event_loop import Timer
from tlsrt.supervisor.process.uid_names import UidNames
from tlsrt.supervisor.process.unix_path import bind_unix
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.feature import Feature
from tlsrt.supervisor.supervision.loop import Loop
from tlsrt.supervisor.supervision.programs import Programs
from tlsrt.supervisor.supervision.states import LIVING, LoopEvent

BACKLOG = 32
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 8.0  # from the end of a proxy to the next one
GOOD_S = 10.0  # one that ran for so long is followed at once


class BusDoor:
    """Where the supervisor listens for one proxy, while the component's process lives."""

    def __init__(self, context: Context, programs: Programs, loop: Loop, placed: PlacedProgram) -> None:
        self._context = context
        self._programs = programs
        self._loop = loop
        self._placed = placed
        self._path = socket_of(context.current.config.run_dir, placed.component.address, placed.program.name)
        self._listener: socket.socket | None = None
        self._held: list[socket.socket] = []  # of the proxy that runs
        self._is_watching = False
        self._begun_at = 0.0
        self._pause_s = FIRST_PAUSE_S
        self._timer: Timer | None = None
        self._is_closed = False
        self._wait()

    def close(self) -> None:
        """End, as the process has ended; its programs end with it."""
        self._is_closed = True
        self._close_listener()
        if self._timer is not None:
            self._timer.cancel()
        self._let_go()
        self._path.unlink(missing_ok=True)

    def _listen(self) -> None:
        """Listen anew: who connects waits."""
        try:
            self._listener = bind_unix(self._path.parent, self._path.name, backlog=BACKLOG)
        except OSError as error:
            self._context.console.warning(self._placed.label, f"cannot listen: {error.strerror}")

    def _wait(self) -> None:
        """Begin the proxy when someone connects; without a socket, try again to listen."""
        if self._listener is None:
            self._listen()
        if self._listener is None:
            self._timer = self._context.event_loop.call_later(LONGEST_PAUSE_S, self._wait)
            return
        self._is_watching = True
        self._context.event_loop.watch(self._listener.fileno(), lambda events: self._begin())

    def _begin(self) -> None:
        """Have the proxy run; it takes what waits, and what comes."""
        self._forget()
        self._begun_at = self._context.event_loop.now
        if not self._programs.begin(self._loop, self._placed, self):
            self._again()

    @property
    def run_as(self) -> CallRules:
        """Return the rules for the calls of the proxy: as the component, to the bus, behind this socket."""
        children = self._loop.managed_by or self._context.current.children
        own = children.call_rules(self._placed.slots[0])
        its = children.call_rules(self._loop.name)
        bus = frozenset({os.fspath(self._placed.program.bus or "")})
        if own is None:
            return CallRules(frozenset(), frozenset())
        return replace(own, sockets=bus, uid=its.uid if its is not None else own.uid, door=self._listener)

    def handed(self, data: socket.socket, leash: socket.socket) -> None:
        """Give the proxy its arguments, and keep what it ends with."""
        for one in (data, leash):
            self._held.append(one.dup())
        words = [word.text.encode() for form in self._placed.program.args for word in form.words]
        self._held[0].setblocking(False)
        self._held[0].send(encode_request(words), socket.MSG_NOSIGNAL)

    def over(self, outcome: Outcome) -> None:
        """Listen for the next one, after a pause if this one ended early."""
        self._let_go()
        if self._context.event_loop.now - self._begun_at > GOOD_S:
            self._pause_s = FIRST_PAUSE_S
        if not self._is_closed:
            self._again()

    def _again(self) -> None:
        """Turn away who waited for the one before, and let wait for the next one."""
        self._close_listener()
        self._listen()
        self._timer = self._context.event_loop.call_later(self._pause_s, self._wait)
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    def _forget(self) -> None:
        if self._is_watching and self._listener is not None:
            self._context.event_loop.forget(self._listener.fileno())
        self._is_watching = False

    def _close_listener(self) -> None:
        self._forget()
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _let_go(self) -> None:
        for one in self._held:
            one.close()
        self._held = []


class Buses(Feature):
    """The doors of all processes that are granted a bus."""

    def __init__(self, context: Context, programs: Programs) -> None:
        self._context = context
        self._programs = programs
        self._names = UidNames()
        self._doors: dict[str, list[BusDoor]] = {}  # by process

    def loop_moved(self, loop: Loop, before: LoopState, event: LoopEvent) -> None:
        if event is LoopEvent.ATTESTED:
            self._open(loop)
        elif loop.state not in LIVING:
            for door in self._doors.pop(loop.name, []):
                door.close()

    def stopped(self, exit_code: int) -> None:
        self._names.take_away()

    def _open(self, loop: Loop) -> None:
        children = loop.managed_by or self._context.current.children
        if not any(one.needs.buses for one in self._context.current.config.components_of(loop.name)):
            return
        if not children.identity.rootless:
            say = partial(self._context.console.warning, loop.name)
            self._names.give(loop.name, children.uid(loop.name), say)
        placed = children.proxies_of(loop.name)
        self._doors[loop.name] = [BusDoor(self._context, self._programs, loop, one) for one in placed]
