"""The role of the door's own process: it parses what strangers send and holds the key of TLS, and no key of the gate.

It has no component and no epoch's keys. The authority gives it the files of the door; all else passes Primary, over a
link as that of any loop. It serves for one incarnation of Primary at a time: when that ends, so do all connections, as
their sessions do, and who connects meanwhile waits in the kernel for the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from itertools import count
from typing import Any

from tlsrt.budget import Budget
from tlsrt.channels.links.channel import DeclaredChannel
from tlsrt.channels.links.link import Link
from tlsrt.channels.session.grant import parse_grant_untrusted
from tlsrt.config import door_places
from tlsrt.errors import PeerError
from tlsrt.loops.door.tarpit import Tarpit, TarpitLimits
from tlsrt.loops.doorway.door_messages import (
    GATE,
    LOCKED,
    NEW,
    OPEN,
    BeginMessage,
    BlockMessage,
    DismissMessage,
    GrantedClientMessage,
    RefusedFramesMessage,
    RestMessage,
    parse_untrusted,
)
from tlsrt.loops.doorway.remote_gate import RemoteGate
from tlsrt.loops.doorway.served_door import ServedDoor
from tlsrt.loops.runtime.process import LoopProcess
from tlsrt.loops.runtime.process_figures import Line
from tlsrt.loops.runtime.role import LoopRole

LISTENER, DECOY = "door", "decoy"
NUMBER_BITS = 32  # connections of one process of the door
GOODBYE_SHARE = 0.3  # of the time for draining


class DoorLoop(LoopRole):
    """The door, and nothing behind it."""

    def __init__(self, process: LoopProcess) -> None:
        config = process.config
        self._process = process
        self.monitor = self
        most = config.door.max_connections + config.door.max_unauthenticated + door_places.ALL
        self._link = self.channel = DeclaredChannel(
            Link, process.batch, process.confinement.path("/channel"), self._heard, process.refusals.note,
            queue_max=config.limits.queue_frames + 4 * most,
        )  # fmt: skip
        self._gate = RemoteGate(self.channel, config.limits.queue_frames, self._rest, self._lose_link)
        self._numbers = count(process.incarnation << NUMBER_BITS)
        self._served = ServedDoor(
            config, self._gate, process.batch, process.log, process.trust.send, process.listeners.get(LISTENER, -1),
            numbers=self._numbers,
        )  # fmt: skip
        endpoint = config.deception.endpoint
        limits = TarpitLimits(endpoint.max_connections, endpoint.max_per_address) if endpoint else None
        self._tarpit = Tarpit(self._gate.on_stranger, limits) if limits else None
        self._state = NEW
        self._ids = (b"", b"")
        self._frames_in = 0
        self._is_up = self._is_active = False
        self._dismissed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        served = self._served
        self._handlers: dict[str, Callable[[Any], None]] = {
            "begin": self._begin,
            "challenged": lambda message: served.challenged(message.connection, message.challenge, *self._ids),
            "granted": self._granted,
            "delegated": lambda message: served.delegated(message.connection, parse_grant_untrusted(message.grant)),
            "renewed": lambda message: self._door.renewed(*message),
            "refused": lambda message: served.refused(*message),
            "enrolled": lambda message: served.enrolment.enrolled(*message),
            "not_enrolled": lambda message: served.enrolment.not_enrolled(message.connection),
            "close": lambda message: self._door.close(*message),
            "succession": lambda message: served.announce_succession(message.chain),
            "operators": lambda message: served.set_operators([str(each) for each in message.subjects]),
            "rest": self._rest_for,
            "refused_frames": self._refused_frames,
            "block": self._block,
            "listen": lambda message: served.open(),
            "stop_listening": lambda message: served.stop_listening(),
            "dismiss": self._dismiss,
        }

    # -- messages of the authority ----------------------------------------------------------------------------

    def set_root(self, epoch: int, incarnation: int, root: bytes) -> None:
        """Take no key of the gate."""
        raise PeerError("gate_key_for_door")

    def drop_epoch(self, epoch: int) -> None:
        """Nothing is kept of an epoch."""

    def on_message(self, name: str, fields: Any, descriptors: list[int]) -> None:
        """Take the files of the door."""
        handler = self._served.handlers.get(name)
        if handler is None:
            raise PeerError("unknown_message")
        if descriptors:
            handler(fields, descriptors)
        else:
            handler(fields)

    # -- messages of Primary ----------------------------------------------------------------------------------

    def _heard(self, data: bytes) -> None:
        self._frames_in += 1
        try:
            name, message = parse_untrusted(data, GATE, self._state)
        except PeerError as error:
            if self._state != NEW:  # else it was said to the process before us
                self._process.refusals.note(error.reason)
            return
        if name == "answer":
            if (door := self._served.door) is not None:
                door.send_frame(*message)
            return
        try:
            if self._served.door is not None or name not in ("granted", "renewed", "close"):
                self._handlers[name](message)
        except PeerError as error:
            self._process.refusals.note(error.reason)

    @property
    def _door(self) -> Any:
        return self._served.door

    def _begin(self, message: BeginMessage) -> None:
        if message.incarnation != self._process.incarnation:
            return
        self._end_connections()
        self._ids = (message.install, message.boot)
        self._state = LOCKED if message.lock else OPEN
        self._served.begin((*self._ids, message.lock) if message.lock else None)

    def _granted(self, message: GrantedClientMessage) -> None:
        connection, number, ciphertext, signature, subject = message
        self._door.granted(connection, number, ciphertext, signature, b"", subject)

    def _rest_for(self, message: RestMessage) -> None:
        self._rest(message.connection, message.for_ms / 1000)

    def _rest(self, connection: int, for_s: float) -> None:
        if (door := self._served.door) is not None:
            door.rest(connection, for_s)

    def _refused_frames(self, message: RefusedFramesMessage) -> None:
        if (door := self._served.door) is not None:
            door.frames_refused(*message)

    def _block(self, message: BlockMessage) -> None:
        self._served.block(message.step, message.address, message.for_ms / 1000)

    def _dismiss(self, message: DismissMessage) -> None:
        self._spawn(self._dismiss_all(message.timeout_ms / 1000))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _dismiss_all(self, timeout_s: float) -> None:
        await self._served.drain(timeout_s)
        self._gate.say("dismissed")
        self._dismissed.set()

    def _lose_link(self) -> None:
        """Connect anew, where Primary cannot be told what it has to know: it forgets all connections, as we do."""
        asyncio.get_running_loop().call_soon(self._renew_link)

    def _renew_link(self) -> None:
        if self._is_up:
            self._end_connections()
            self._open_link()

    def _open_link(self) -> None:
        self._link.open()
        self._gate.say("hello", self._process.incarnation)

    def _end_connections(self) -> None:
        """End all connections: Primary has ended, or knows none of them."""
        self._state = NEW
        self._gate.first = next(self._numbers)  # above all that there are
        if (ending := self._served.end()) is not None:
            self._spawn(ending.cut("closed_without_primary"))

    # -- life -------------------------------------------------------------------------------------------------

    @property
    def frames_in(self) -> int:
        return self._frames_in

    @property
    def frames_out(self) -> int:
        return self.channel.sent

    @property
    def sessions(self) -> int:
        return 0 if self._served.door is None else self._served.door.sessions

    def figures(self) -> Iterator[Line]:
        """Return what the door has counted."""
        yield from self._served.figures()

    def set_up(self, up: bool) -> None:
        self._is_up = up
        self._update()

    def on_active(self) -> None:
        self._is_active = True
        self._update()
        if self._tarpit is not None:
            self._tarpit.listen(self._process.listeners[DECOY])

    def _update(self) -> None:
        if self._is_up and self._is_active:
            self._open_link()
        else:
            self._link.close()
            self._end_connections()

    def on_refused_frame(self, data: bytes, reason: str) -> None:
        """No frame is for us."""

    def on_refused_session(self, session: bytes, reason: str) -> None:
        """Likewise."""

    def on_over_budget(self, session: bytes, budget: Budget) -> None:
        """Likewise."""

    async def before_drain(self, timeout_s: float) -> None:
        """Let the calls that are in flight now be answered, and then dismiss all clients."""
        if self._tarpit is not None:
            self._tarpit.close()
        self._served.stop_listening()
        if self._state == NEW:
            return
        self._dismissed.clear()
        self._gate.say("leaving", round(timeout_s * 1000))
        try:
            async with asyncio.timeout(timeout_s * (1 - GOODBYE_SHARE / 2)):
                await self._dismissed.wait()
        except TimeoutError:
            await self._served.drain(timeout_s * GOODBYE_SHARE / 2)

    def each_beat(self, now: int) -> None:
        """Nothing is due."""
