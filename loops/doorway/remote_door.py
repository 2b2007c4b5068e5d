"""The door, as Primary reaches one with a process of its own: the front at Primary's end of the link. asyncio.

What the door says is checked against a table before anything is done with it. It may say what it likes of its own
connections: to carry a session takes the authority's grant, and a frame proves its session at the gate. So a captured
door can drop, delay and say that clients are others than they are, and can act for none whose keys it does not hold.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from tlsrt.bounded_table import BoundedTable, WhenFull
from tlsrt.channels.links.gate_link import GateLink
from tlsrt.channels.links.write_batch import WriteBatch
from tlsrt.channels.session.grant import GrantContent, encode_grant, parse_open_untrusted
from tlsrt.errors import Busy, PeerError
from tlsrt.loops.door.locked_door import LockIds
from tlsrt.loops.doorway.door_messages import (
    ASKS,
    DOOR,
    LOCKED,
    NEW,
    OPEN,
    ClientFrameMessage,
    ConnectedMessage,
    ConnectionMessage,
    DismissMessage,
    DoorOffenceMessage,
    HelloMessage,
    HttpRequestMessage,
    OverPlacesMessage,
    RefusedConnectionMessage,
    StrangerMessage,
    WebRequestMessage,
    check_asked,
    pack,
    parse_untrusted,
)
from tlsrt.loops.doorway.served_door import ServedBackend
from tlsrt.loops.runtime.process_figures import Line

BLOCKS_MAX = 1024  # addresses
CONTROL = "gate"  # what pays for messages that are no frames of others


class RemoteDoorOwner(Protocol):
    """Primary."""

    @property
    def ids(self) -> tuple[bytes, bytes]:
        """The ids of this install and boot."""

    def catch_up(self) -> bool:
        """Take what the authority has sent by now; False if that is being done already."""

    def on_bad_door(self, reason: str) -> None:
        """The door has sent what it may not send."""

    def on_stranger(self, address: str) -> None:
        """A client has sent something to the decoy endpoint."""

    def on_leaving(self, timeout_s: float) -> None:
        """The door is about to end: have it dismiss its clients once their calls are answered."""


@dataclass(slots=True)
class _Client:
    """What the door has said of a connection, and how many bytes of frames have passed."""

    address: str
    certificate: bytes
    received: int = 0
    sent: int = 0


class RemoteDoor:
    """The front. `most` is how many clients there may be."""

    def __init__(
        self, owner: RemoteDoorOwner, backend: ServedBackend, batch: WriteBatch, listener: int, queue_max: int,
        most: int,
    ) -> None:  # fmt: skip
        self._owner = owner
        self._backend = backend
        self._batch = batch
        self._loop = asyncio.get_running_loop()
        self._most = most
        self._link = GateLink(batch, self._heard_untrusted, owner.on_bad_door, queue_max=queue_max)
        self._link.listen(listener)
        self.handlers: Mapping[str, Callable[..., None]] = MappingProxyType({})
        self._member = 0  # the incarnation that the authority knows
        self._said = 0  # the one that has said hello
        self._incarnation = 0  # the same, once both agree
        self._state = NEW
        self._lock: LockIds | None = None
        self._is_open = False
        self._operators: list[str] = []
        self._succession = b""
        self._blocks: BoundedTable[str, tuple[str, float]] = BoundedTable(BLOCKS_MAX, 1, WhenFull.EVICT)
        self._clients: dict[int, _Client] = {}
        self._refused: dict[int, list[int]] = {}  # in this turn: frames, and offences among them
        self._dismissed = asyncio.Event()
        self._handlers: dict[str, Callable[[Any], None]] = {
            "hello": self._on_hello,
            "frame": self._on_frame,
            "connected": self._on_connected,
            "closed": self._on_closed,
            "http_request": self._on_http_request,
            "web_request": self._on_web_request,
            "refused_connection": self._on_refused_connection,
            "over_places": self._on_over_places,
            "offence": self._on_offence,
            "stranger": self._on_stranger,
            "leaving": self._on_leaving,
            "dismissed": self._on_dismissed,
        }

    # -- its process ------------------------------------------------------------------------------------------

    def member(self, incarnation: int) -> None:
        """Take note which incarnation of the door lives; 0: none. The connections of another one have ended.

        A resumed authority names none until the supervisor has: so while it is connected it is taken to live.
        """
        self._member = incarnation
        if incarnation != self._incarnation if incarnation else not self._link.is_connected:
            self._forget()
        if incarnation and incarnation == self._said and self._state == NEW:
            self._begin()

    def _forget(self) -> None:
        self._incarnation, self._state = 0, NEW
        self._dismissed.set()
        self._refused.clear()
        for connection in list(self._clients):
            del self._clients[connection]
            self._backend.on_closed(connection)

    def _on_hello(self, message: HelloMessage) -> None:
        self._owner.catch_up()  # the authority has told us of this process before it gave it anything
        if self._lock is not None:  # no member is named to a Primary that carries nothing
            self._member = message.incarnation
        if self._member and message.incarnation != self._member:
            raise PeerError("unknown_door")
        self._forget()
        self._said = message.incarnation
        if self._member:
            self._begin()

    def _begin(self) -> None:
        """Have the door serve as this Primary does."""
        self._incarnation = self._member
        self._state = LOCKED if self._lock is not None else OPEN
        install, boot, lock = self._lock or (*self._owner.ids, b"")
        self._say("begin", self._incarnation, install, boot, lock)
        self._say("operators", self._operators)
        self._say_blocks()
        if self._succession and self._lock is None:
            self._say("succession", self._succession)
        if self._is_open:
            self._say("listen")

    # -- from the door ----------------------------------------------------------------------------------------

    def _heard_untrusted(self, data: bytes) -> None:
        try:
            name, message = parse_untrusted(data, DOOR, self._state)
            if name in ASKS:
                self._ask_untrusted(name, message)
            else:
                self._handlers[name](message)
        except PeerError as error:
            self._owner.on_bad_door(error.reason)

    def _ask_untrusted(self, name: str, message: Any) -> None:
        check_asked(message)
        if name not in ("enrol", "unlock") and self._state == OPEN and message.connection not in self._clients:
            return  # it has closed meanwhile
        try:
            self._backend.ask(name, *message)
        except PeerError as error:
            if name == "enrol":
                self.not_enrolled(message.connection)
            elif self._state == OPEN:
                self.close(message.connection, "busy" if error.reason == "busy" else "rejected")
            else:
                self.refused(message.connection, "busy")

    def _on_frame(self, message: ClientFrameMessage) -> None:
        connection, frame = message
        client = self._clients.get(connection)
        if client is None:
            raise PeerError("frame_without_connection")
        client.received += len(frame)
        word = self._backend.frame(connection, frame)
        if word:
            if not self._refused:
                self._batch.want(self._tell_refused)
            counts = self._refused.setdefault(connection, [0, 0])
            counts[0] += 1
            counts[1] += word == "rejected"

    def _tell_refused(self) -> None:
        refused, self._refused = self._refused, {}
        for connection, counts in refused.items():
            self._say("refused_frames", connection, *counts)

    def _on_connected(self, message: ConnectedMessage) -> None:
        if message.connection in self._clients or len(self._clients) >= self._most:
            raise PeerError("too_many_connections")
        self._clients[message.connection] = _Client(message.address, message.certificate)

    def _on_closed(self, message: ConnectionMessage) -> None:
        if self._clients.pop(message.connection, None) is not None:
            self._backend.on_closed(message.connection)

    def _on_http_request(self, message: HttpRequestMessage) -> None:
        connection, target, authorization, is_foreign = message
        self._backend.on_http_request(connection, target, authorization, is_foreign=bool(is_foreign))

    def _on_web_request(self, message: WebRequestMessage) -> None:
        address, path, authorization, is_foreign = message
        self._backend.on_web_request(address, path, authorization, is_foreign=bool(is_foreign))

    def _on_refused_connection(self, message: RefusedConnectionMessage) -> None:
        self._backend.on_refused(*message)

    def _on_over_places(self, message: OverPlacesMessage) -> None:
        self._backend.on_over_places(message.client)

    def _on_offence(self, message: DoorOffenceMessage) -> None:
        self._backend.on_offence(*message)

    def _on_stranger(self, message: StrangerMessage) -> None:
        self._owner.on_stranger(message.address)

    def _on_leaving(self, message: DismissMessage) -> None:
        self._owner.on_leaving(message.timeout_ms / 1000)

    def _on_dismissed(self, message: object) -> None:
        self._dismissed.set()

    # -- to the door ------------------------------------------------------------------------------------------

    def _say(self, name: str, *fields: object) -> None:
        """Say something; where the link has no room even for that, the door has hung, and comes anew."""
        if self._state == NEW:
            return
        try:
            self._link.send_from(CONTROL, pack(name, *fields))
        except Busy:
            self._owner.on_bad_door("link_full")
            self._forget()

    @property
    def enrolment(self) -> RemoteDoor:
        return self

    @property
    def door(self) -> RemoteDoor | None:
        return self if self._lock is None else None

    def figures(self) -> Iterator[Line]:
        """Return nothing: the door has figures of its own."""
        yield from ()

    def open(self) -> None:
        self._is_open = True
        self._say("listen")

    def lock(self, lock: LockIds) -> None:
        self._lock = lock

    def stop_listening(self) -> None:
        self._is_open = False
        self._say("stop_listening")

    async def drain(self, timeout_s: float) -> None:
        """Have all clients dismissed, and wait until they are disconnected."""
        if self._state == NEW:
            return
        self.dismiss(timeout_s)
        try:
            async with asyncio.timeout(timeout_s + 0.1):
                await self._dismissed.wait()
        except TimeoutError:
            return

    def dismiss(self, timeout_s: float) -> None:
        """Have all clients dismissed within so long."""
        self._dismissed.clear()
        self._say("dismiss", round(timeout_s * 1000))

    def block(self, step: str, address: str, for_s: float) -> None:
        """Limit or block an address for a time, or lift that; the next process of the door hears of it, too."""
        if address in self._blocks:
            self._blocks.remove(address)
        if for_s:
            now = self._loop.time()
            self._blocks.add(address, (step, now + for_s), address, now, expires=now + for_s)
        self._say("block", step, address, round(for_s * 1000))

    def _say_blocks(self) -> None:
        now = self._loop.time()
        for row in self._blocks:
            step, until = row.value
            if until > now:
                self._say("block", step, row.key, max(1, round((until - now) * 1000)))

    def set_operators(self, subjects: Sequence[str]) -> None:
        self._operators = [*subjects]
        self._say("operators", self._operators)

    def announce_succession(self, chain: bytes) -> None:
        self._succession = chain
        if self._lock is None:
            self._say("succession", chain)

    def challenged(self, connection: int, challenge: bytes, install: bytes, boot: bytes) -> None:
        self._say("challenged", connection, challenge)

    def delegated(self, connection: int, content: GrantContent) -> None:
        self._say("delegated", connection, encode_grant(content))

    def refused(self, connection: int, word: str) -> None:
        self._say("refused", connection, word)

    def enrolled(self, number: int, answer: bytes, mac: bytes) -> None:
        self._say("enrolled", number, answer, mac)

    def not_enrolled(self, number: int) -> None:
        self._say("not_enrolled", number)

    # -- to and of its clients --------------------------------------------------------------------------------

    def certificate_hash(self, connection: int) -> bytes:
        certificate = self.certificate(connection)
        return hashlib.sha256(certificate).digest() if certificate else b""

    def certificate(self, connection: int) -> bytes:
        client = self._clients.get(connection)
        return client.certificate if client is not None else b""

    def note_open_untrusted(self, connection: int, data: bytes) -> bool:
        """Take the certificate in an open for that of a client whose TLS has shown none; False if it has shown one."""
        client = self._clients.get(connection)
        if client is None or client.certificate:
            return False
        client.certificate = parse_open_untrusted(data).certificate
        return True

    def address(self, connection: int) -> str:
        client = self._clients.get(connection)
        return client.address if client is not None else ""

    def bytes_moved(self, connection: int) -> tuple[int, int] | None:
        """Return how many bytes of frames came from a client and went to it: here nothing is the door's word."""
        client = self._clients.get(connection)
        return None if client is None else (client.received, client.sent)

    def granted(
        self, connection: int, number: int, ciphertext: bytes, signature: bytes, session: bytes = b"", subject: str = ""
    ) -> None:
        self._say("granted", connection, number, ciphertext, signature, subject)

    def renewed(self, connection: int, certificate: bytes, signature: bytes) -> None:
        self._say("renewed", connection, certificate, signature)

    def send_frame(self, connection: int, frame: bytes) -> None:
        client = self._clients.get(connection)
        if client is None or self._state != OPEN:
            return
        client.sent += len(frame)
        try:
            self._link.send_from(f"connection {connection}", pack("answer", connection, frame))
        except Busy:
            self.close(connection, "slow_reader")

    def rest(self, connection: int, for_s: float) -> None:
        self._say("rest", connection, round(for_s * 1000))

    def close(self, connection: int, word: str) -> None:
        self._say("close", connection, word)
