"""A bridge to telephones: SIP over TLS, and SRTP. Needs the extra `sip` (pylibsrtp).

A telephone rings what its options list, and is rung by those whom they list: components by the streams of
`call_leg`, persons and clients by `external/calls`. Nothing goes in the clear, and who rings has proven who it is.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial
from typing import Annotated, Any

from tlsrt import Busy, CallError, Component, ConfigError, Denied, Length, NotFound, Range, Unavailable, handler
from tlsrt.loops.external.call_leg import ANSWER, Piece, dial, pieces_of, ring_component
from tlsrt.loops.external.call_records import CallRecords
from tlsrt.loops.external.telephone_connection import TelephoneConnection
from tlsrt.loops.external.telephone_door import TelephoneDoor
from tlsrt.loops.external.telephone_options import SipOptions, TelephoneOptions, passwords_of
from tlsrt.loops.external.telephone_sound import Leg, TelephoneSound
from tlsrt.loops.external.telephone_tls import TelephoneTls
from tlsrt.loops.sip.call import Call, CallState
from tlsrt.loops.sip.digest import Authenticator
from tlsrt.loops.sip.media import has_srtp
from tlsrt.loops.sip.message import user_of

CALLS = "external/calls"
WITHOUT = "external/sip needs pylibsrtp: pip install 'tlsrt[sip]', then restart this component"
CONNECTIONS_EACH = 16  # of one telephone; a telephone system may use several
CONNECT_S, LEAVE_S, LOOK_S = 10.0, 2.0, 1.0
AT_ONE = 56  # calls that one component has at once: it takes 64 streams of one caller, and some are just ending


class Sip(Component):
    """Telephones by SIP, over TLS and with SRTP."""

    Options = SipOptions
    topics = {  # noqa: RUF012
        "call": "a call is over: id, telephone, direction, other, answered, seconds, why, lost",
        "telephone": "a telephone is there or away: telephone, there",
    }

    async def start(self) -> None:
        if not has_srtp():
            raise ConfigError(WITHOUT)
        self._passwords = passwords_of(self.secret("passwords", None), self.options.telephones)
        authorities = self.secret("authorities", None)
        if authorities is None and any(one.certificate or one.place for one in self.options.telephones.values()):
            raise ConfigError("a telephone with certificate or place takes the secret authorities: who has signed it")
        self._tls = TelephoneTls(self.secret("certificate"), authorities, self.options.lowest_tls, self.state)
        self._legs: dict[Call, Leg] = {}
        self._waiting: dict[Call, asyncio.Future[None]] = {}  # calls of ours that are not answered yet
        self._tasks: dict[Call, asyncio.Task[None]] = {}
        self._rooms: dict[
            str, asyncio.Semaphore
        ] = {}  # of those whom options let be rung; further calls ring meanwhile
        self._connections: set[TelephoneConnection] = set()
        self._records = CallRecords(self.state / "calls.jsonl")
        self._sound = TelephoneSound(self.log)
        await self._sound.open(self.listener("rtp"))
        self._door = TelephoneDoor(
            self.listener("sip"), self._tls.server, self._make_connection, self.options.connections, self.log
        )
        self.spawn(self._door.run, name="door")
        self.spawn(self._look, name="look")

    async def stop(self) -> None:
        for connection in self._connections:
            if connection.line is not None:
                connection.line.hang_up_all("this host stops")
            connection.end("this host stops")
        self._sound.close()
        await asyncio.sleep(0)

    # What may be called

    @handler(idempotent=True)
    async def telephones(self) -> dict[str, dict[str, Any]]:
        """The telephones: whether they are there, from where, and their calls."""
        shown = {}
        for name in self.options.telephones:
            mine = [one for one in self._connections if one.telephone == name]
            calls = [call for call in self._legs if call.telephone == name]
            registered = self._registered(name) is not None
            shown[name] = {"registered": registered, "peers": sorted({one.peer for one in mine}), "calls": len(calls)}
        return shown

    @handler(idempotent=True)
    async def log_of_calls(self, most: Annotated[int, Range(1, 1000)] = 50) -> list[dict[str, Any]]:
        """The last calls, the newest first: who, when, how long, and why they ended."""
        return self._records.last(most)

    @handler(idempotent=True)
    async def hang_up(self, id: Annotated[str, Length(32, 1)]) -> bool:
        """End a call by its id, as the log and topic `call` have it; return whether it was there."""
        for call in list(self._legs):
            if call.ids["id"] == id:
                self._hang_up(call, f"{self.caller} ended the call")
                return True
        return False

    @handler
    async def take_call(
        self, id: Annotated[str, Length(64)], by: Annotated[str, Length(128)], says: Annotated[str, Length(256)],
        number: Annotated[str, Length(64)], heard: AsyncIterator[bytes],
    ) -> AsyncIterator[bytes]:  # fmt: skip
        """Ring the telephone `number`; streams of pieces go both ways (docs/guide/calls.md)."""
        async for piece in self._ring_telephone(number, by, heard):
            yield piece

    @handler
    async def dial(
        self, number: Annotated[str, Length(64)], says: Annotated[str, Length(256)], heard: AsyncIterator[bytes]
    ) -> AsyncIterator[bytes]:
        """Ring the telephone `number`; streams of pieces go both ways (docs/guide/calls.md)."""
        async for piece in self._ring_telephone(number, self.caller, heard):
            yield piece

    # A telephone is rung

    async def _ring_telephone(self, name: str, by: str, heard: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        telephone = self.options.telephones.get(name)
        if telephone is None:
            raise NotFound(f"there is no telephone {name[:64]!r} in the options of {self.address}")
        if self.caller not in telephone.rung_by:
            raise Denied(f"{self.caller} may not ring {name}: rung_by of this telephone does not list it")
        self._check_room(name, telephone)
        connection, target = await self._reach(name, telephone)
        assert connection.line is not None
        self._check_room(name, telephone)
        says = by if by.isascii() and by.isprintable() and '"' not in by and "\\" not in by else self.caller
        call = connection.line.invite(target, target.partition(";")[0], says, self.options.ring_s)
        leg = self._begin(connection, call, by)
        reading: asyncio.Task[None] | None = None
        self._waiting[call] = asyncio.get_running_loop().create_future()
        try:
            await self._waiting[call]
            if call.state is not CallState.TALKING:
                if call.why.startswith(("486", "600")):
                    raise Busy(f"{name} is engaged")
                return
            yield ANSWER
            reading = asyncio.get_running_loop().create_task(self._speak(leg, pieces_of(heard)))
            async for piece in leg.heard:
                yield piece
        finally:
            if reading is not None:
                reading.cancel()
            self._waiting.pop(call, None)
            connection.line.hang_up(call, f"{by} hung up")
            if connection.is_outgoing and not connection.line.calls:
                asyncio.get_running_loop().call_later(LEAVE_S, self._leave, connection)

    async def _speak(self, leg: Leg, pieces: AsyncIterator[Piece]) -> None:
        """Say what who rings says, until that one ends."""
        try:
            async for piece in pieces:
                await leg.say(piece)
            while not leg.call.is_over and not leg.media.is_idle:
                await asyncio.sleep(0.02)
        except CallError as error:
            self.log.info("call %s: %s", leg.call.ids["id"], error.message)
        self._hang_up(leg.call, f"{leg.call.ids['other']} hung up")

    async def _reach(self, name: str, telephone: TelephoneOptions) -> tuple[TelephoneConnection, str]:
        """Return a connection to a telephone, and the URI that is rung there."""
        registered = self._registered(name)
        if registered is not None:
            return registered, registered.target
        if not telephone.place:
            raise Unavailable(f"{name} is not registered")
        host, _, port = telephone.place.rpartition(":")
        host = host.strip("[]")
        make = partial(TelephoneConnection, self, self._make_authenticator, self._sound.port, name)
        try:
            _, connection = await asyncio.wait_for(
                asyncio.get_running_loop().create_connection(
                    make, host, int(port), ssl=self._tls.client, server_hostname=host
                ),
                CONNECT_S,
            )
        except (TimeoutError, OSError) as error:
            raise Unavailable(f"{name} at {telephone.place} cannot be reached: {error or 'no answer'}") from None
        return connection, f"sip:{telephone.user or name}@{telephone.place};transport=tls"

    def _leave(self, connection: TelephoneConnection) -> None:
        if connection.line is not None and not connection.line.calls:
            connection.end("there is no call")

    def _registered(self, name: str) -> TelephoneConnection | None:
        now_s = asyncio.get_running_loop().time()
        found = [one for one in self._connections if one.telephone == name and one.registered_until_s > now_s]
        return max(found, key=lambda one: one.registered_until_s, default=None)

    # A telephone rings

    def offered(self, connection: TelephoneConnection, call: Call) -> tuple[int, str]:
        """Take up a call of a telephone, or say why not."""
        target = self.options.target_of(user_of(call.invite.uri))
        telephone = self.options.telephones[call.telephone]
        if target not in telephone.rings:
            self.count("denied")
            self.log.warning("%s may not ring %r", call.telephone, target[:128])
            return 403, "the options of this telephone do not let it ring that"
        try:
            self._check_room(call.telephone, telephone)
        except Busy as error:
            return 486, error.message
        call.until_s = asyncio.get_running_loop().time() + self.options.ring_s
        leg = self._begin(connection, call, target)
        task = asyncio.get_running_loop().create_task(self._ring_here(connection, leg, target))
        self._tasks[call] = task
        task.add_done_callback(lambda _: self._tasks.pop(call, None))
        return 100, ""

    async def _ring_here(self, connection: TelephoneConnection, leg: Leg, target: str) -> None:
        """Ring a component, or by external/calls, and say what it says."""
        call, line = leg.call, connection.line
        assert line is not None
        line.ring(call)
        is_component = "/" in target and not target.startswith("client/")
        room = self._rooms.setdefault(target if is_component else CALLS, asyncio.Semaphore(AT_ONE))
        why = f"{target} declined"
        status = 603
        try:
            async with room, aclosing(self._pieces_of(leg, target, is_component)) as pieces:  # type: ignore[type-var]
                async for piece in pieces:
                    if call.state is CallState.OFFERED and not line.accept(call):
                        break
                    why = f"{target} hung up"
                    await leg.say(piece)
            while call.state is CallState.TALKING and not leg.media.is_idle:  # the last words; none after an error
                await asyncio.sleep(0.02)
        except Busy:
            status, why = 486, f"{target} is engaged"
        except Denied as error:
            self.log.warning("%s cannot ring %s: %s", self.address, target, error.message)
            status, why = 403, f"this host does not let {target} be rung from outside"
        except CallError as error:
            self.log.warning("call %s to %s: %s", call.ids["id"], target, error.message)
            status, why = 480, f"{target} is not there"
        finally:
            if call.state is CallState.OFFERED:
                line.refuse(call, status, why)
            line.hang_up(call, why)

    def _pieces_of(self, leg: Leg, target: str, is_component: bool) -> AsyncIterator[Piece]:
        """Ring whom a telephone rings; what is yielded is what that one says."""
        says = f"{leg.call.telephone} {leg.call.invite.sender.name[:64]}".strip()
        if is_component:
            return ring_component(
                self, target, leg.heard, id=leg.call.ids["id"], by=self.address, says=says, number=target
            )
        return dial(self, CALLS, target, leg.heard, says=says)

    # What connections tell (Switchboard)

    def opened(self, connection: TelephoneConnection) -> None:
        """Keep a connection."""
        self._connections.add(connection)
        self._door.opened(connection.peer)

    def closed(self, connection: TelephoneConnection, why: str) -> None:
        """Forget a connection."""
        if connection not in self._connections:
            return
        self._connections.discard(connection)
        self._door.closed(connection.peer)
        self.log.info("%s (%s): %s", connection.telephone or "a stranger", connection.peer, why)
        if connection.telephone and connection.registered_until_s:
            self.publish("telephone", {"telephone": connection.telephone, "there": False})

    def by_certificate(self, fingerprint: str) -> str:
        """Return the telephone with a certificate."""
        known = self.options.telephones.items()
        return next((name for name, telephone in known if telephone.fingerprint == fingerprint), "")

    def proven(self, connection: TelephoneConnection, telephone: str) -> bool:
        """Let a telephone in, unless it has too many connections."""
        return sum(one.telephone == telephone for one in self._connections) < CONNECTIONS_EACH

    def guessed(self, connection: TelephoneConnection, telephone: str) -> None:
        """Count a wrong password."""
        self.count("wrong_passwords")
        self.log.warning("wrong password for %r from %s", telephone[:64], connection.peer)
        if self._door.guessed(connection.peer, asyncio.get_running_loop().time()):
            self.log.warning("%s is turned away for a minute", connection.peer)

    def registered(self, connection: TelephoneConnection, target: str, expires_s: int) -> None:
        """Note where a telephone wants to be rung: on this connection."""
        was_there = self._registered(connection.telephone) is not None
        connection.target = target
        connection.registered_until_s = asyncio.get_running_loop().time() + expires_s if expires_s else 0.0
        is_there = self._registered(connection.telephone) is not None
        if was_there != is_there:
            self.publish("telephone", {"telephone": connection.telephone, "there": is_there})

    def rings(self, call: Call) -> None:
        """Nothing follows from it."""

    def talks(self, call: Call) -> None:
        """Begin with the sound of a call."""
        leg = self._legs.get(call)
        if leg is None:
            return
        leg.answered_s = leg.packet_s = asyncio.get_running_loop().time()
        self.count("answered")
        self._sound.add(leg)
        self._answered(call)

    def changed(self, call: Call) -> None:
        """Hear it where it is now."""
        self._sound.move(call)

    def ended(self, call: Call) -> None:
        """Forget a call, and note it."""
        leg = self._legs.pop(call, None)
        if leg is None:
            return
        self._sound.remove(call)
        leg.heard.close()
        leg.said.clear()
        self._answered(call)
        task = self._tasks.get(call)
        if task is not None and task is not asyncio.current_task():
            asyncio.get_running_loop().call_later(LEAVE_S if leg.answered_s else 0.0, task.cancel)
        now_s = asyncio.get_running_loop().time()
        figures = call.media.figures if call.media is not None else None
        record = {
            "id": call.ids["id"], "telephone": call.telephone, "direction": "in" if call.is_incoming else "out",
            "other": call.ids["other"], "at_s": round(time.time() - (now_s - call.since_s)),
            "answered": leg.answered_s is not None,
            "seconds": round(now_s - leg.answered_s, 1) if leg.answered_s is not None else None, "why": call.why,
            "received": figures.received if figures else None, "lost": call.media.lost if call.media else None,
            "refused": figures.refused if figures else None,
        }  # fmt: skip
        self._records.add(record)
        self.publish("call", record)

    def _answered(self, call: Call) -> None:
        waiting = self._waiting.get(call)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    def _begin(self, connection: TelephoneConnection, call: Call, other: str) -> Leg:
        self.count("calls")
        call.ids = {"id": os.urandom(8).hex(), "other": other}
        leg = self._legs[call] = Leg(call, connection.peer, asyncio.get_running_loop().time())
        return leg

    def _check_room(self, name: str, telephone: TelephoneOptions) -> None:
        if len(self._legs) >= self.options.calls:
            raise Busy(f"{self.options.calls} calls are there: no more can be taken now")
        if sum(call.telephone == name for call in self._legs) >= telephone.calls:
            raise Busy(f"{name} has {telephone.calls} calls, and no more at once")

    def _hang_up(self, call: Call, why: str) -> None:
        for connection in self._connections:
            if connection.line is not None and call in connection.line.calls.values():
                connection.line.hang_up(call, why)
                return

    async def _look(self) -> None:
        """End calls from which nothing comes."""
        while True:
            await asyncio.sleep(LOOK_S)
            for call in self._sound.silent(asyncio.get_running_loop().time(), self.options.silent_s):
                self._hang_up(call, f"no sound came for {self.options.silent_s:g} s")

    def _make_connection(self) -> TelephoneConnection:
        return TelephoneConnection(self, self._make_authenticator, self._sound.port)

    def _make_authenticator(self) -> Authenticator:
        by_md5 = frozenset(name for name, telephone in self.options.telephones.items() if telephone.md5)
        return Authenticator(self.options.realm, self._passwords, by_md5, os.urandom)
