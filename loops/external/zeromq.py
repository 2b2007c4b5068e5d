"""Messages with peers outside over ZeroMQ: programs that have a CURVE key which the options list. A carrier.

Peers connect (DEALER); this host listens and connects to no one. What a peer sends is kept once, under the id that the
peer gives it, and answered `kept` when it is on the disk. What is sent to `external/zeromq` with the topic PEER, or
PEER.MORE, waits in the mailbox until that peer is connected and has answered `taken`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import socket
import struct
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_network
from typing import Annotated, Any

import zmq
from zmq.utils import z85

from tlsrt import (
    Busy,
    CallError,
    Component,
    ConfigError,
    DeadlineExceeded,
    Failed,
    Length,
    OutcomeUnknown,
    Pattern,
    Range,
    Stale,
    StreamBroken,
    Unavailable,
    database,
    handler,
)
from tlsrt.loops.external.address_rates import AddressRates
from tlsrt.loops.external.carrier import Carrier, NotTaken, Pump, Refused
from tlsrt.loops.external.message import TO, TO_RULE
from tlsrt.loops.external.taken_deliveries import STEP, TakenDeliveries
from tlsrt.loops.external.zeromq_message import (
    Answered,
    Ready,
    Sent,
    answer,
    message,
    parse_untrusted,
)
from tlsrt.loops.external.zeromq_socket import NotConnectedError, ZeromqSocket

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_KEY_RULE = "a public key of 40 characters (Z85), or 64 hexadecimal digits"
_WINDOW = 8  # messages for a peer that it has not answered
_UNANSWERED = 32  # messages of a peer that are not answered
_ANSWER_S = 30.0
_PASSING = (Busy, DeadlineExceeded, Failed, OutcomeUnknown, Stale, StreamBroken, Unavailable)


@dataclass(frozen=True, kw_only=True)
class PeerOptions:
    """A program outside, by its key."""

    key: Annotated[str, Length(64, 40), f"Its public key: {_KEY_RULE}."]
    to: Annotated[str, Pattern(TO, TO_RULE), "Whose mailbox what it sends is for."]
    per_minute: Annotated[int, Range(1, 60_000), "Messages that it may send in the long run, and as many at once."] = (
        600
    )

    def __post_init__(self) -> None:
        public_key(self.key)


class Zeromq(Component):
    """Messages with peers by ZeroMQ."""

    @dataclass(frozen=True)
    class Options:
        """Options: the peers."""

        peers: Annotated[dict[str, PeerOptions], Length(64), "By name, which is the topic of messages for it."] = field(
            default_factory=dict[str, PeerOptions]
        )
        networks: Annotated[tuple[str, ...], Length(16), "Who may connect at all, as 192.168.1.0/24; empty: all."] = ()
        retry_s: Annotated[float, Range(1, 86_400), "Longest pause until a peer is tried again, seconds."] = 60.0

        def __post_init__(self) -> None:
            seen: dict[bytes, str] = {}
            for name, one in self.peers.items():
                if not _NAME.fullmatch(name):
                    raise ValueError(f"peers: {name!r} is no name: write a-z, 0-9, _ and -")
                if (other := seen.setdefault(public_key(one.key), name)) != name:
                    raise ValueError(f"peers: {name} has the key of {other}: each program draws its own")
            for network in self.networks:
                try:
                    ip_network(network)
                except ValueError:
                    raise ValueError(f"networks: {network!r} is no network such as 192.168.1.0/24") from None

    db = database(steps=[STEP])

    async def start(self) -> None:
        options = self.options
        if not zmq.has("curve"):
            raise ConfigError("the libzmq of this Python has no CURVE: install pyzmq from PyPI or from Debian")
        secret = self.secret("curve")
        if len(secret) != 32:
            raise ConfigError(
                f"the secret curve has {len(secret)} bytes, and a key has 32: "
                f"`tlsrt-supervisor secret make {self.address} curve --replace`"
            )
        self._key = z85.encode(secret)
        self._remembered = TakenDeliveries(self.db)
        self._routes: dict[str, bytes] = {}
        self._answers: dict[tuple[str, str], asyncio.Future[str | None]] = {}
        self._unanswered: Counter[str] = Counter()
        self._figures = {name: Counter[str]() for name in options.peers}
        self._rates = {name: AddressRates(one.per_minute / 60, one.per_minute) for name, one in options.peers.items()}
        self._under_way: set[asyncio.Task[None]] = set()
        self._carrier = Carrier(self, options.retry_s, "peer")
        self._pumps: dict[str, Pump] = {}
        for name in options.peers:
            self._pumps[name] = self._carrier.carry(name, partial(self._bring, name), name, _WINDOW)
        self._carrier.refuse_others(options.peers)
        peers = {public_key(one.key): name for name, one in options.peers.items()}
        self._socket = ZeromqSocket(self._key, peers, options.networks, self.log, self.count)
        listener = self._listener()
        host, port = listener.getsockname()[:2]
        self._socket.listen(listener.detach(), f"[{host}]" if ":" in host else host, port)
        self.spawn(self._socket.admit, name="keys")
        self.spawn(partial(self._socket.receive, self._take), name="messages of peers")

    def _listener(self) -> socket.socket:
        return self.listener("curve")

    async def stop(self) -> None:
        for task in self._under_way:
            task.cancel()
        self._socket.close()

    async def healthy(self) -> str | None:
        return await self.db.check() or self._carrier.trouble()

    @handler(idempotent=True)
    async def key(self) -> str:
        """The public key of this host (Z85), by which peers know it."""
        return zmq.curve_public(self._key).decode()

    @handler(idempotent=True)
    async def peers(self) -> dict[str, dict[str, Any]]:
        """The peers: whether one has said that it is ready, why it is away, and what was kept, repeated and refused."""
        return {
            name: {
                "is_ready": name in self._routes, "away": self._carrier.away.get(name), "to": one.to,
                **{what: self._figures[name][what] for what in ("kept", "repeated", "refused", "later", "taken")},
            }
            for name, one in self.options.peers.items()
        }  # fmt: skip

    # -- of peers ---------------------------------------------------------------------------------------------

    def _take(self, name: str, route: bytes, frames: list[bytes]) -> None:
        """Take what a peer has sent. Never waits."""
        got = parse_untrusted(frames)
        if isinstance(got, Ready):
            self._routes[name] = route
            self._pumps[name].hurry()
        elif isinstance(got, Answered):
            future = self._answers.get((name, got.id))
            if future is not None and not future.done():
                future.set_result(got.words)
        elif self._unanswered[name] >= 2 * _UNANSWERED:
            self.count("dropped")  # it does not wait for answers, and is told nothing
        else:
            self._unanswered[name] += 1
            task = asyncio.get_running_loop().create_task(self._answer(name, route, got))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _answer(self, name: str, route: bytes, sent: Sent) -> None:
        try:
            word, words = await self._keep(name, sent)
            self._counted(name, word)
            with contextlib.suppress(NotConnectedError):  # it asks again
                await self._socket.send(route, answer(b"kept" if word == "repeated" else word.encode(), sent.id, words))
        finally:
            self._unanswered[name] -= 1

    async def _keep(self, name: str, sent: Sent) -> tuple[str, str]:
        if sent.problem:
            return "refused", sent.problem
        delivery = hashlib.sha256(f"{name}\0{sent.id}".encode()).digest()[:16]
        try:
            if await self._remembered.has(name, delivery):
                return "repeated", ""
            if self._unanswered[name] > _UNANSWERED or not self._rates[name].take("", time.monotonic()):
                return "later", "too many: wait for answers"
            topic = f"{name}.{sent.topic}" if sent.topic else name
            await self._carrier.hand_in(
                self.options.peers[name].to, sent.body, source=name, peer_id=sent.id, topic=topic[:128],
                content_type=sent.content_type, within_s=0,
            )  # fmt: skip
            await self._remembered.add(name, delivery)
        except _PASSING as error:
            self.log.warning("peer %s: a message is put off: %s", name, error.message)
            return "later", "messages are full or away"
        except CallError as error:
            self.log.warning("peer %s: a message is refused: %s", name, error.message)
            return "refused", "it is not taken here"
        return "kept", ""

    def _counted(self, name: str, what: str) -> None:
        self._figures[name][what] += 1
        self.count(what)

    # -- for peers --------------------------------------------------------------------------------------------

    async def _bring(self, name: str, kept: dict[str, Any]) -> None:
        """Bring a message to a peer. Raises NotTaken, Refused."""
        route = self._routes.get(name)
        if route is None:
            raise NotTaken("it is not connected")
        future = self._answers[name, kept["id"]] = asyncio.get_running_loop().create_future()
        try:
            await self._socket.send(route, message(kept))
            async with asyncio.timeout(_ANSWER_S):
                words = await future
        except NotConnectedError as error:
            if self._routes.get(name) == route:
                del self._routes[name]
            raise NotTaken(str(error)) from None
        except TimeoutError:
            raise NotTaken(f"it has not answered for {_ANSWER_S:g} s") from None
        finally:
            self._answers.pop((name, kept["id"]), None)
        if words is not None:
            raise Refused(f"the peer {name} refuses this message: {words}")
        self._counted(name, "taken")


def public_key(text: str) -> bytes:
    """Return a CURVE key of its text. Raises ValueError."""
    try:
        found = bytes.fromhex(text) if len(text) == 64 else z85.decode(text)
    except (ValueError, KeyError, struct.error):
        found = b""
    if len(found) != 32:
        raise ValueError(f"{text[:80]!r} is no key: write {_KEY_RULE}")
    return bytes(found)
