"""The role of the Primary loop: the gate, the router and the door.

Primary holds K_gate and the mailbox roots of its own components, and nothing else. Of a locked host it gets the door's
certificate and no key: it carries no frame, starts no component, and tells every client that the host is locked. Such a
process never gets keys; the unlocked host has another one.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tlsrt.budget import Budget
from tlsrt.channels.clock import boottime_ms
from tlsrt.channels.control.telemetry import pack_rows
from tlsrt.channels.control.trust import EventsMessage, LockedMessage, MemberMessage, RestrictMessage
from tlsrt.config import door_places
from tlsrt.config.processes import DOOR_PROCESS
from tlsrt.errors import PeerError
from tlsrt.loops.door.tarpit import Tarpit, TarpitLimits
from tlsrt.loops.doorway.front import DoorFront
from tlsrt.loops.doorway.remote_door import RemoteDoor
from tlsrt.loops.doorway.served_door import ServedBackend, ServedDoor
from tlsrt.loops.gate.decoys import Decoys
from tlsrt.loops.gate.gate import Gate
from tlsrt.loops.gate.refusals import ADDRESS, RefusalReporter
from tlsrt.loops.primary.client_requests import ClientRequests
from tlsrt.loops.primary.decoy_reports import DecoyReports
from tlsrt.loops.primary.doorway import Doorway
from tlsrt.loops.primary.events import Events
from tlsrt.loops.primary.figures import gate_lines
from tlsrt.loops.primary.last_answers import LastAnswers
from tlsrt.loops.primary.router import Router
from tlsrt.loops.primary.telemetry import Telemetry
from tlsrt.loops.runtime.process import LoopProcess
from tlsrt.loops.runtime.process_figures import Line
from tlsrt.loops.runtime.role import LoopRole

DOOR = "door"
DECOY = "decoy"
GOODBYE_SHARE = 0.3  # of the time for draining, kept for dismissing clients


class PrimaryLoop(LoopRole):
    """Routes for all loops; trusted by none beyond that."""

    def __init__(self, process: LoopProcess) -> None:
        config = process.config
        self._process = process
        self.monitor = self
        self._decoys = Decoys(config.deception)
        self.gate = Gate(
            process.verifier,
            calls_per_session=config.limits.calls_per_session,
            decoys=self._decoys,
        )
        self._reporter = reporter = RefusalReporter(process.trust)
        self.router = Router(self, process.name, self.gate, reporter, config.limits)
        self.router.listen(
            process.batch,
            {name: each for name, each in process.listeners.items() if name not in (DOOR, DECOY, DOOR_PROCESS)},
        )
        self.channel = self.router.channel
        self._decoy_reports = DecoyReports(self._decoys, self.router, process.hosts, process.trust)
        self._requests = ClientRequests(process.trust)
        self._remote: RemoteDoor | None = None  # where the door has a process of its own
        self.doorway = Doorway(process, self.router, self._requests, self._decoy_reports, reporter, self._make_door)
        self._telemetry = Telemetry(self.doorway.bytes_moved)
        endpoint = config.deception.endpoint
        limits = TarpitLimits(endpoint.max_connections, endpoint.max_per_address) if endpoint else None
        has_decoy = limits is not None and DECOY in process.listeners
        self._tarpit = Tarpit(self._decoys.check_stranger, limits) if has_decoy else None
        self._last_answers = LastAnswers(self.gate.calls, process.batch)
        self._is_locked = False
        self.handlers: dict[str, Callable[..., None]] = {
            **self.doorway.handlers,
            "locked": self._lock,
            "member": self._set_loop,
            "events": self._publish,
            "restrict": self._restrict,
            "try_decoy": self._decoy_reports.on_try,
            "canaries": self._decoy_reports.on_canaries,
        }

    # -- the door ---------------------------------------------------------------------------------------------

    def _make_door(self, backend: ServedBackend) -> DoorFront:
        process, config = self._process, self._process.config
        if DOOR_PROCESS not in process.listeners:
            return ServedDoor(
                config, backend, process.batch, process.log, self._requests.tell, process.listeners.get(DOOR, -1)
            )
        most = config.door.max_connections + config.door.max_unauthenticated + door_places.ALL
        self._remote = RemoteDoor(
            self, backend, process.batch, process.listeners[DOOR_PROCESS], config.limits.queue_frames, most
        )
        return self._remote

    @property
    def ids(self) -> tuple[bytes, bytes]:
        """The ids of this install and boot."""
        return self._process.verifier.install, self._process.verifier.boot

    def on_bad_door(self, reason: str) -> None:
        """Report what the process of the door has sent and may not send."""
        self._process.refusals.note(reason)
        self._reporter.link(DOOR_PROCESS, reason)

    def on_stranger(self, address: str) -> None:
        """A client has sent something to the decoy endpoint."""
        self._decoys.check_stranger(address)

    def on_leaving(self, timeout_s: float) -> None:
        """Let the calls that are in flight be answered, and then the door dismiss its clients: its process ends."""
        self._leaving = asyncio.get_running_loop().create_task(self._let_go(timeout_s))

    async def _let_go(self, timeout_s: float) -> None:
        if self._remote is not None:
            end = asyncio.get_running_loop().time() + timeout_s * (1 - 2 * GOODBYE_SHARE)
            await self._last_answers.wait(end)
            self._remote.dismiss(timeout_s * GOODBYE_SHARE)

    # -- messages of the authority ----------------------------------------------------------------------------

    def figures(self) -> Iterator[Line]:
        """Return what gate and door have counted."""
        yield from gate_lines(self.router.frames_out, self.router.refused, len(self.gate.calls.by_name))
        yield from self.doorway.figures()

    def set_root(self, epoch: int, incarnation: int, root: bytes) -> None:
        self.gate.set_root(epoch, incarnation, root)

    def drop_epoch(self, epoch: int) -> None:
        self.gate.drop_epoch(epoch)

    def on_message(self, name: str, fields: Any, descriptors: list[int]) -> None:
        """Apply what the authority tells Primary only."""
        handler = self.handlers.get(name)
        if handler is None:
            raise PeerError(f"{name}_while_locked" if self._is_locked else "unknown_message")
        if descriptors:
            handler(fields, descriptors)
        else:
            handler(fields)

    def _lock(self, message: LockedMessage) -> None:
        """Serve the door of a locked host from now on, and nothing else."""
        self._process.lock(message.epoch)
        self._is_locked = True
        self.router.close()
        self.doorway.lock((message.install, message.boot, message.lock))
        late: Mapping[str, Callable[..., None]] = {"member": _ignore, "ended": _ignore}  # sent before the lock
        self.handlers = {"locked": self._lock, **self.doorway.locked_handlers, **late}

    def _set_loop(self, message: MemberMessage) -> None:
        if message.loop == DOOR_PROCESS and self._remote is not None:
            self._remote.member(message.incarnation)
            return  # it has no component, and the gate takes no frame of it
        self.gate.set_loop(*message)

    def _publish(self, message: EventsMessage) -> None:
        """Give the host's events to our component for them, if it was not switched off."""
        for host in self._process.hosts.values():
            if isinstance(host.component, Events):
                host.component.take(message.lines)
        self._requests.tell("took_events")  # or there are no more events

    def _restrict(self, message: RestrictMessage) -> None:
        """Limit or block a subject for a time, or lift that."""
        step, kind, value, for_ms = message
        if kind == ADDRESS:
            self.doorway.block(step, value, for_ms / 1000)
        else:
            self.gate.limit(kind, value, boottime_ms() + for_ms if for_ms else 0)

    def link(self, process: str, listener: int) -> None:
        """Carry the frames of a further process, which a reload has added; `listener` is ours from here on."""
        if self._is_locked:
            os.close(listener)
        else:
            self.router.listen(self._process.batch, {process: listener})

    def unlink(self, process: str) -> None:
        """Carry the frames of a process no more, which a reload has removed."""
        self.router.unlink(process)

    # -- what the router needs --------------------------------------------------------------------------------

    def take(self, data: bytes) -> None:
        self._process.take(data)

    def catch_up(self) -> bool:
        return self._process.conversation.catch_up()

    def note_refused(self, reason: str) -> None:
        self._process.refusals.note(reason)

    def send_to_client(self, connection: int, data: bytes) -> None:
        if self.doorway.door is not None:
            self.doorway.door.send_frame(connection, data)

    def rest_client(self, connection: int, for_s: float) -> None:
        if self.doorway.door is not None:
            self.doorway.door.rest(connection, for_s)

    # -- life -------------------------------------------------------------------------------------------------

    @property
    def frames_in(self) -> int:
        return self.router.frames_in

    @property
    def frames_out(self) -> int:
        return self.router.frames_out

    @property
    def sessions(self) -> int:
        return self.gate.sessions

    def on_refused_frame(self, data: bytes, reason: str) -> None:
        """Report who is over a budget of ours. Our own word about our own gate is worth nothing."""
        self._reporter.recipient_untrusted(data, reason)

    def on_refused_session(self, session: bytes, reason: str) -> None:
        """Report nothing, likewise."""

    def on_over_budget(self, session: bytes, budget: Budget) -> None:
        self._reporter.session_over_budget(session, budget)

    def on_active(self) -> None:
        for host in self._process.hosts.values():
            if isinstance(host.component, Events):
                host.component.count_by(self.gate.called)
        if self._tarpit is not None:
            self._tarpit.listen(self._process.listeners[DECOY])
        if not self._is_locked:
            self._process.primary.note(self._process.incarnation)
        self.doorway.open()

    def set_up(self, up: bool) -> None:
        """Our own components reach the gate as soon as they hold its keys."""
        for host in self._process.hosts.values():
            host.caller.set_up(up)

    async def before_drain(self, timeout_s: float) -> None:
        """Let the calls that are in flight now be answered, and then dismiss all clients.

        New connections wait for the next Primary meanwhile; new calls pass, but are not waited for.
        """
        if self._tarpit is not None:
            self._tarpit.close()
        end = asyncio.get_running_loop().time() + timeout_s
        if not self._is_locked:
            self.doorway.stop_listening()
            await self._last_answers.wait(end - timeout_s * GOODBYE_SHARE)
        await self.doorway.drain(max(0.0, end - asyncio.get_running_loop().time()) / 2)

    def each_beat(self, now: int) -> None:
        self.gate.sweep(now)
        self._last_answers.look()
        self._decoy_reports.report()
        try:
            self.doorway.report()
            if rows := self._telemetry.sample(self.gate.each_session):
                self._process.trust.send("telemetry", pack_rows(rows))
        except PeerError:
            return  # an authority that is busy or restarting misses it; that it has ended is found out elsewhere


def _ignore(message: object) -> None:
    """Do nothing."""
