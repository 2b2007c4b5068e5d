"""The authority: the unprivileged process that holds master_key for a moment, and issues everything after it.

This is its shell: one blocking epoll loop over the office channel (to the supervisor) and a trust channel per loop.
The clock is read once per wake-up. Fairness: a wake-up takes a bounded number of messages from each channel, so a loop
that floods its channel slows only itself. What a loop does wrong ends its channel, is told to the supervisor as
`offence`, and ends nothing else. It never forks, opens no file but its state, and imports nothing late.
"""

from __future__ import annotations

import os
import secrets
import select
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tlsrt.channels.clock import boottime_ms
from tlsrt.channels.control.authority_channel import AUTHORITY_CHANNEL
from tlsrt.channels.control.seqpacket import ControlChannel
from tlsrt.config.schema import Config
from tlsrt.errors import EX_CONFIG, EX_SOFTWARE, ConfigError, PeerError
from tlsrt.supervisor.audit.log import AuditLog, open_audit
from tlsrt.supervisor.authority.boot import boot
from tlsrt.supervisor.authority.keys.secret_memory import wipe
from tlsrt.supervisor.authority.master_key_rotation import MasterKeyRotation
from tlsrt.supervisor.authority.model.log import log, one_line
from tlsrt.supervisor.authority.model.loop_table import LoopTable
from tlsrt.supervisor.authority.model.services import Charge, ChargeKind
from tlsrt.supervisor.authority.model.state import StateFile
from tlsrt.supervisor.authority.model.state_thread import StateWriterThread
from tlsrt.supervisor.authority.reload import HostReload, told
from tlsrt.supervisor.authority.sessions.event_notes import EventNotes
from tlsrt.supervisor.authority.trust_connection import TrustConnection
from tlsrt.supervisor.authority.wiring import Service, make_service

MESSAGES_PER_WAKEUP = 16  # from one channel, before the others have their turn

Clock = Callable[[], int]
Early = tuple[str, Any, list[int]]


def wall_ms() -> int:
    """Return wall time in ms: for certificates and stored revocations only."""
    return time.time_ns() // 1_000_000


def authority_main(
    config: Config,
    office: int,
    trust: Mapping[str, int],
    state_dir: Path | None,
    *,
    now: Clock = boottime_ms,
    wall: Clock = wall_ms,
) -> int:
    """Run the body of the forked, confined process; return its exit code.

    `office` is the channel to the supervisor and `trust` the ends of the loops' channels; both are owned from here
    on. `now` is CLOCK_BOOTTIME and `wall` wall time, in ms. Without `state_dir` the folder handed over is used.
    """
    try:
        return Authority(config, office, trust, state_dir, now, wall).run()
    except PeerError as error:
        log(f"the supervisor is lost: {error.reason}")
    except Exception as error:
        log(f"cannot go on: {one_line(error)}")
    return EX_SOFTWARE


class Authority:
    """The event loop. It is the Outlet of the services."""

    def __init__(
        self, config: Config, office: int, trust: Mapping[str, int], state_dir: Path | None, now: Clock, wall: Clock
    ) -> None:
        self._config = config
        self._office = ControlChannel(office, AUTHORITY_CHANNEL)
        self._lines = {loop: TrustConnection(loop, descriptor) for loop, descriptor in trust.items()}
        self._state_dir = state_dir
        self._clock = now
        self._wall = wall
        self._now = now()
        self._poll = select.epoll()
        self._masks: dict[int, int] = {}
        self._broken: dict[str, str] = {}
        self._nonce = b""
        self._notes = EventNotes()
        self._lost = ""  # why the supervisor cannot be told anything any more

    def run(self) -> int:
        """Say that the sandbox is sealed, boot, then serve until the supervisor says stop."""
        self._office.send("sealed")  # the supervisor looks from outside, and sends `boot` only then
        early: list[Early] = []
        nonce, descriptors = self._wait_for_boot(early)
        if not descriptors:
            return 0
        try:
            service = self._boot(nonce, descriptors)
        except ConfigError as error:
            self.tell("refused", told(error.problems))
            for sentence in error.problems:
                log(f"refused to boot: {sentence}")
            return EX_CONFIG
        for message in early:
            self._handle_office(service, *message)
        code = self._serve(service)
        self._audit.finish(self._clock(), self._wall())
        return code

    # Outlet

    def send(self, loop: str, name: str, *fields: object, descriptors: Sequence[int] = ()) -> None:
        """Send a trust message; trouble is noted, and dealt with after the handler."""
        line = self._lines.get(loop)
        if line is None or loop in self._broken:
            return
        try:
            line.send(self._now, name, *fields, descriptors=descriptors)
        except PeerError as error:
            self._broken[loop] = error.reason

    def tell(self, name: str, *fields: object) -> None:
        """Send an office message; without its supervisor the authority ends, after the handler."""
        try:
            self._office.send(name, *fields)
        except PeerError as error:
            self._lost = error.reason

    def _lose(self, reason: str) -> None:
        self._lost = reason

    def is_blocked(self, loop: str) -> bool:
        """Tell whether messages wait for this loop to read."""
        line = self._lines.get(loop)
        return line is not None and line.is_blocked

    def log(self, line: str) -> None:
        """Write one line to the log."""
        log(line)

    # Boot

    def _wait_for_boot(self, early: list[Early]) -> tuple[bytes, list[int]]:
        """Return the nonce and the descriptors of `boot`, none of them for `stop`."""
        waiting = select.poll()
        waiting.register(self._office.fileno(), select.POLLIN)
        while True:
            waiting.poll()
            received = self._office.receive("supervisor", "new", descriptors=True)
            if received is None:
                continue
            name, message, descriptors = received
            if name == "stop":
                return b"", []
            if name == "boot":
                return message.nonce, descriptors
            early.append(received)

    def _boot(self, nonce: bytes, descriptors: list[int]) -> Service:
        wall = self._wall()
        folder = self._open_folder(descriptors[3])
        store = StateFile(folder)
        booted = boot(self._config, nonce, descriptors, store, wall)
        self._nonce = nonce
        self._now = self._clock()
        kind = "resumed" if booted.is_resumed else "boot"
        opened = open_audit(folder, booted, self._config, kind, self._now, wall, secrets.token_bytes)
        roster = LoopTable(
            (loop.name, tuple(component.address for component in self._config.components_of(loop.name)))
            for loop in self._config.loops
        )
        self._keeping = StateWriterThread(store)
        service = make_service(self._config, booted, roster, self._keeping, self, secrets.token_bytes, self._now)
        wipe(booted.issuer_seed)  # the issuer has a copy of its own, which goes when another follows it
        rekeying = MasterKeyRotation(self._config, nonce, service.ring, booted.state, secrets.token_bytes)
        self._changes = HostReload(
            self._config, booted.mac_key, booted.state, rekeying, service, self._office, self.tell
        )
        self._changes.on_lost = self._lose
        service.tell_of_sessions(self._notes)
        self._audit = AuditLog(opened, booted.state, self, self._now)
        service.record_with(self._audit.recorder, lambda: (self._now, self._wall()))
        service.parts += [self._audit.recorder, self._keeping]
        self._keeping.write_again = service.keep
        self._changes.on_rekeyed = self._audit.recorder.name_root_key
        self._booted = (booted.state.epoch, [*booted.warnings, *opened.warnings])
        if booted.state.lock is not None:
            self.tell("lock_state", *booted.state.lock)
        self.tell("booted", *self._booted)
        self._audit.begin()
        self._changes.keep_door()
        service.start(self._now, tuple(self._lines), is_resumed=booted.is_resumed)
        return service

    def _open_folder(self, handed: int) -> int:
        if self._state_dir is None:
            return os.dup(handed)
        try:
            return os.open(self._state_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise ConfigError(f"cannot open the state folder {self._state_dir}: {error.strerror}") from None

    # Serving

    def _serve(self, service: Service) -> int:
        self._poll.register(self._office.fileno(), select.EPOLLIN)
        for thread in (self._audit, self._keeping):  # what was written is taken by a tick
            self._poll.register(thread.fileno(), select.EPOLLIN)
        while True:
            self._settle(service)
            if self._lost:
                raise PeerError(self._lost)
            self._register(service)
            due = service.next_due(self._now)
            if (notes_due := self._notes.next_due()) is not None:
                due = min(due, notes_due)
            timeout_ms = max(0, due - self._clock())
            ready = self._poll.poll(timeout_ms / 1000)
            self._now = self._clock()
            by_descriptor = {line.fileno(): line for line in self._lines.values()}
            for descriptor, mask in ready:
                if descriptor == self._office.fileno():
                    if self._hear_office(service):
                        return 0
                elif (line := by_descriptor.get(descriptor)) is not None and self._lines.get(line.loop) is line:
                    self._attend(service, line, mask)
            lateness = service.tick(self._now, self._wall())
            if lateness is not None:
                self._flush_all()
                service.beat(lateness)
            self._lost = self._notes.tell(self._office, self._now) or self._lost

    def _attend(self, service: Service, line: TrustConnection, mask: int) -> None:
        try:
            line.flush(self._now)
            if mask & ~select.EPOLLOUT and service.may_read(line.loop):
                self._hear_loop(service, line)
        except PeerError as error:
            self._broken.setdefault(line.loop, error.reason)

    def _hear_loop(self, service: Service, line: TrustConnection) -> None:
        for _ in range(MESSAGES_PER_WAKEUP):
            if not service.may_read(line.loop):  # what was said before has changed that
                return
            message = line.receive(service.state_of(line.loop))
            if message is None or line.loop in self._broken:
                return
            try:
                service.heard(line.loop, *message, self._now, self._wall())
            except PeerError:
                raise
            except Exception as error:  # our bug, but one loop's message must not end all sessions of the host
                log(f"{message[0]} of {line.loop} could not be handled: {one_line(error)}")
                raise PeerError("internal") from error

    def _hear_office(self, service: Service) -> bool:
        """Handle what the supervisor says; return True for stop."""
        for _ in range(MESSAGES_PER_WAKEUP):
            message = self._office.receive("supervisor", "booted", descriptors=True)
            if message is None:
                return False
            if message[0] == "stop":
                return True
            self._handle_office(service, *message)
        return False

    def _handle_office(self, service: Service, name: str, message: Any, descriptors: list[int]) -> None:
        if name == "boot":  # said again: the answer is the same, and another boot needs another process
            for descriptor in descriptors:
                os.close(descriptor)
            if message.nonce != self._nonce:
                raise PeerError("another_boot")
            self.tell("booted", *self._booted)
        elif name == "spawned":
            loop = message.loop
            self._close_line(loop)
            self._broken.pop(loop, None)
            self._lines[loop] = TrustConnection(loop, descriptors[0])
            service.spawned(loop, message.incarnation, self._now, self._wall())
        elif name == "events":
            service.events.add(message.lines)
        elif name == "attested":
            service.attested(message.loop, message.incarnation, message.epoch, self._now)
        elif name in self._changes.handlers:
            self._changes.handlers[name](message, descriptors, self._now, self._wall())
        elif name in service.office_handlers:
            service.office_handlers[name](message, self._now, self._wall())
        else:
            service.gone(message.loop, message.incarnation, self._now, self._wall())

    # Lines

    def _settle(self, service: Service) -> None:
        """Close what broke, and tell; that may break others."""
        while self._broken:
            loop, reason = self._broken.popitem()
            self._close_line(loop)
            if reason != "closed":  # a loop that died is the supervisor's news, not ours
                self.tell("event", "offence", f"{loop}: {reason}")
                log(f"offence of {loop}: {reason}")
                charge = Charge(ChargeKind.PROCESS, loop)
                service.response.add("control_protocol", charge, 0, {"what": reason}, self._now, self._wall())
            service.lost(loop, self._now, self._wall())

    def _register(self, service: Service) -> None:
        for loop, line in self._lines.items():
            mask = (select.EPOLLIN if service.may_read(loop) else 0) | (select.EPOLLOUT if line.is_blocked else 0)
            descriptor = line.fileno()
            known = self._masks.get(descriptor, 0)
            if mask == known:
                continue
            if known and mask:
                self._poll.modify(descriptor, mask)
            elif mask:
                self._poll.register(descriptor, mask)
            else:
                self._poll.unregister(descriptor)
            self._masks[descriptor] = mask

    def _flush_all(self) -> None:
        for line in self._lines.values():
            try:
                line.flush(self._now)
            except PeerError as error:
                self._broken.setdefault(line.loop, error.reason)

    def _close_line(self, loop: str) -> None:
        line = self._lines.pop(loop, None)
        if line is None:
            return
        if self._masks.pop(line.fileno(), 0):
            self._poll.unregister(line.fileno())
        line.close()
