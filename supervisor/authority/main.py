"""The authority process: boots with master_key, wipes it, and issues all keys and tokens.

This is its shell: one blocking event loop over the channel to the supervisor and a trust channel per loop. The clock is
read once per wake-up. Fairness: a wake-up takes a bounded number of messages from each channel, so a loop that floods
its channel slows only itself. What a loop does wrong ends its channel, is told to the supervisor as `offence`, and ends
nothing else. It never forks, opens no file but its state, and imports nothing late.
"""

from __future__ import annotations

import os
import secrets
import select
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tlsrt.channels.clock import boottime_ms
from tlsrt.config import key_schedule
from tlsrt.config.files import open_folder
from tlsrt.config.schema import Config
from tlsrt.errors import EX_CONFIG, EX_SOFTWARE, ConfigError, PeerError, one_line
from tlsrt.supervisor.audit.files import AuditFolder
from tlsrt.supervisor.authority.audit_log import AuditLog, open_audit
from tlsrt.supervisor.authority.boot import Booted, boot
from tlsrt.supervisor.authority.connections import Clock, Connections, WakeUpClock, wall_ms
from tlsrt.supervisor.authority.model.ports import SignalSource, SourceKind
from tlsrt.supervisor.authority.model.state import StateFile
from tlsrt.supervisor.authority.model.state_writer import StateWriterThread
from tlsrt.supervisor.authority.reload import told
from tlsrt.supervisor.authority.sessions.event_notes import EventNotes
from tlsrt.supervisor.authority.trust_connection import TrustConnection
from tlsrt.supervisor.authority.wiring import Ports, Wired, wire
from tlsrt.supervisor.process.boot_nonce import read_boot_nonce
from tlsrt.supervisor.process.event_loop import READ, WRITE, EventLoop
from tlsrt.supervisor.process.secret_memory import wipe

MESSAGES_PER_WAKEUP = 16  # from one channel, before the others have their turn

Early = tuple[str, Any, list[int]]


def authority_main(
    config: Config,
    channel: int,
    trust: Mapping[str, int],
    state_dir: Path | None,
    *,
    now: Clock = boottime_ms,
    wall: Clock = wall_ms,
) -> int:
    """Run the body of the forked, confined process; return its exit code.

    `channel` leads to the supervisor, and `trust` are the ends of the loops' channels; both are owned from here on.
    `now` is CLOCK_BOOTTIME and `wall` wall time, in ms. Without `state_dir` the folder handed over is used.
    """
    clock = WakeUpClock(now, wall)
    connections = Connections(channel, trust, clock)
    try:
        return _run(config, connections, state_dir, clock)
    except PeerError as error:
        connections.log(f"the supervisor is lost: {error.reason}")
    except Exception as error:
        connections.log(f"cannot go on: {one_line(error)}")
    return EX_SOFTWARE


def _run(config: Config, connections: Connections, state_dir: Path | None, clock: WakeUpClock) -> int:
    """Say that the sandbox is sealed, boot, then serve until the supervisor says stop."""
    connections.supervisor.send("sealed")  # the supervisor attests this process, and sends `boot` only then
    early: list[Early] = []
    descriptors = _wait_for_boot(connections, early)
    if not descriptors:
        return 0
    try:
        nonce = read_boot_nonce(descriptors.pop())
        folder = _open_folder(state_dir, descriptors[3])
        file = StateFile(folder)
        known = AuditFolder.if_there(folder)
        try:
            booted = boot(config, nonce, descriptors, file, clock.moment().wall, known)
        finally:
            if known is not None:
                known.close()
        clock.read()
        opened = open_audit(folder, booted, config, clock.moment(), secrets.token_bytes)
        store, notes = StateWriterThread(file), EventNotes()
        audit = AuditLog(opened, booted.state, connections, clock.now)
        ports = Ports(store, connections, audit.recorder, notes, secrets.token_bytes, clock.moment)
        wired = wire(config, booted, nonce, ports, audit)
    except ConfigError as error:
        for sentence in error.problems:  # before it says so: the supervisor kills it then
            connections.log(f"refused to boot: {sentence}")
        connections.tell("refused", told(error.problems))
        return EX_CONFIG
    wipe(booted.issuer_seed)  # the issuer has a copy of its own, which goes when another follows it
    answer = (booted.state.epoch, [*booted.warnings, *opened.warnings])
    authority = Authority(connections, wired, audit, store, notes, clock, nonce, answer)
    authority.begin(booted)
    for name, message, received in early:
        authority.handle(name, message, received)
    return authority.serve()


def _wait_for_boot(connections: Connections, early: list[Early]) -> list[int]:
    """Return the descriptors of `boot`, none of them for `stop`."""
    waiting = select.poll()
    waiting.register(connections.supervisor.fileno(), select.POLLIN)
    while True:
        waiting.poll()
        received = connections.supervisor.receive("supervisor", "new", descriptors=True)
        if received is None:
            continue
        name, _, descriptors = received
        if name == "stop":
            return []
        if name == "boot":
            return descriptors
        early.append(received)


def _open_folder(state_dir: Path | None, handed: int) -> int:
    if state_dir is None:
        return os.dup(handed)
    try:
        return open_folder(state_dir)
    except OSError as error:
        raise ConfigError(f"cannot open the state folder {state_dir}: {error.strerror}") from None


class Authority:
    """Reads the channels, hands messages to the dispatcher, and gives the services their turn."""

    def __init__(
        self, connections: Connections, wired: Wired, audit: AuditLog, store: StateWriterThread, notes: EventNotes,
        clock: WakeUpClock, nonce: bytes, answer: tuple[int, list[str]],
    ) -> None:  # fmt: skip
        self._connections = connections
        self._wired = wired
        self._dispatcher = wired.dispatcher
        self._provisioner = wired.provisioner
        self._audit = audit
        self._store = store
        self._notes = notes
        self._clock = clock
        self._nonce = nonce
        self._answer = answer  # to `boot`
        self._events = EventLoop(lambda: clock.read() / 1000)
        self._masks: dict[int, int] = {}  # of the trust connections that are watched
        self._is_stopped = False

    def begin(self, booted: Booted) -> None:
        """Tell the supervisor that the authority has booted, and begin."""
        if booted.state.lock is not None:
            self._connections.tell("lock_state", *booted.state.lock)
            self._connections.tell("lock_stored", booted.state.lock.lock)
        self._connections.tell("booted", *self._answer)
        self._audit.begin()
        self._wired.reload.keep_door()
        self._provisioner.start(self._clock.now, self._connections.loops, is_resumed=booted.is_resumed)

    def serve(self) -> int:
        """Serve until the supervisor says stop; return the exit code."""
        self._events.watch(self._connections.supervisor.fileno(), self._hear_supervisor)
        for thread in (self._audit, self._store):  # a tick takes what was written
            self._events.watch(thread.fileno(), lambda events: None)
        while True:
            self._settle()
            self._connections.check_supervisor()
            self._watch()
            timer = self._events.call_later(self._wait_s(), lambda: None)
            self._events.run_once()
            timer.cancel()
            if self._is_stopped:
                self._wired.context.writer.finish(self._clock.moment())
                self._audit.finish(self._clock.moment(), self._wired.context.writer.persisted)
                return 0
            lateness = self._dispatcher.tick(self._clock.moment())
            if lateness is not None:
                self._connections.flush()
                self._provisioner.beat(lateness)
            self._connections.lose(self._notes.tell(self._connections.supervisor, self._clock.now))

    def _wait_s(self) -> float:
        due = [when for when in (self._dispatcher.next_due(), self._notes.next_due()) if when is not None]
        return max(0, min(due) - self._clock.read()) / 1000  # there is always a next feed

    # The supervisor

    def _hear_supervisor(self, events: int) -> None:
        for _ in range(MESSAGES_PER_WAKEUP):
            received = self._connections.supervisor.receive("supervisor", "booted", descriptors=True)
            if received is None:
                return
            if received[0] == "stop":
                self._is_stopped = True
                return
            self.handle(*received)

    def handle(self, name: str, message: Any, descriptors: list[int]) -> None:
        """Handle a message of the supervisor."""
        if name == "boot":  # said again: the answer is the same, and another boot needs another process
            for descriptor in descriptors:
                os.close(descriptor)
            if message.boot != key_schedule.boot_id(self._nonce):
                raise PeerError("another_boot")
            self._connections.tell("booted", *self._answer)
            return
        if name == "spawned":
            self._close(message.loop)
            self._connections.open(message.loop, descriptors.pop())
        self._dispatcher.asked(name, message, self._clock.moment(), descriptors)

    # The loops

    def _watch(self) -> None:
        """Watch each loop's channel: for messages that may be read, and for room if something waits."""
        for connection in self._connections:
            mask = (READ if self._provisioner.may_read(connection.loop) else 0) | (
                WRITE if connection.is_blocked else 0
            )
            descriptor = connection.fileno()
            known = self._masks.get(descriptor, 0)
            if mask == known:
                continue
            if known and mask:
                self._events.change(descriptor, mask)
            elif mask:
                self._events.watch(descriptor, partial(self._attend, connection), mask)
            else:
                self._events.forget(descriptor)
            self._masks[descriptor] = mask

    def _attend(self, connection: TrustConnection, events: int) -> None:
        try:
            connection.flush(self._clock.now)
            if events & ~WRITE:
                self._hear_loop(connection)
        except PeerError as error:
            self._connections.break_off(connection.loop, error.reason)

    def _hear_loop(self, connection: TrustConnection) -> None:
        loop = connection.loop
        for _ in range(MESSAGES_PER_WAKEUP):
            if not self._provisioner.may_read(loop):  # a message before may have changed that
                return
            received = connection.receive(self._provisioner.state_of(loop))
            if received is None or self._connections.is_broken(loop):
                return
            name, message = received
            try:
                self._dispatcher.heard(loop, name, message, self._clock.moment())
            except PeerError:
                raise
            except Exception as error:  # our bug, but one loop's message must not end all sessions of the host
                self._connections.log(f"{name} of {loop} could not be handled: {one_line(error)}")
                raise PeerError("internal") from error

    def _settle(self) -> None:
        """Close what broke, and tell; that may break others."""
        while (broken := self._connections.take_broken()) is not None:
            loop, reason = broken
            self._close(loop)
            moment = self._clock.moment()
            if reason != "closed":  # a loop that died is the supervisor's news, not ours
                self._connections.tell("event", "offence", f"{loop}: {reason}")
                self._connections.log(f"offence of {loop}: {reason}")
                source = SignalSource(SourceKind.PROCESS, loop)
                self._wired.detection.add("control_protocol", source, 0, {"what": reason}, moment)
            self._provisioner.lost(loop, moment)

    def _close(self, loop: str) -> None:
        connection = self._connections.get(loop)
        if connection is not None:
            self._masks.pop(connection.fileno(), None)
            self._events.forget(connection.fileno())
            self._connections.close(loop)
