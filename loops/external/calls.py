"""Calls: a person or component rings a person or component, here or at another host. Extra `calling` (aiortc).

A call exists as long as the streams of its two sides: `ring` or `dial` of who rings, and `answer` or `take_call` of who
has answered. Who has no session has no stream, and when a session ends (revoked, locked, quarantined, closed) its
streams are cancelled by the runtime, which hangs up. The media of a person is a leg of WebRTC to this process; what
goes from one side to the other passes through it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from functools import partial
from socket import socket as Socket
from typing import Annotated, Any

from tlsrt import (
    Busy,
    CallError,
    Component,
    InvalidArgument,
    Length,
    MisuseError,
    NotFound,
    Range,
    Unavailable,
    database,
    handler,
)
from tlsrt.loops.external import call_tables
from tlsrt.loops.external.call import Call
from tlsrt.loops.external.call_figures import CallFigures, call_figures
from tlsrt.loops.external.call_hosts import CallHosts
from tlsrt.loops.external.call_leg import digit, piece_untrusted
from tlsrt.loops.external.call_options import By, CallsOptions, Id, Number, Offer, Says, check_address
from tlsrt.loops.external.call_party import ComponentParty, HostParty, Party, PersonParty
from tlsrt.loops.external.call_rates import RingRates
from tlsrt.loops.external.call_relays import Relays
from tlsrt.loops.external.call_ringing import CallRinging, pass_piece
from tlsrt.loops.external.call_tasks import CallTasks
from tlsrt.loops.external.call_watches import CallWatches
from tlsrt.loops.external.current_calls import CurrentCalls

try:
    from tlsrt.loops.external.call_camera import show_camera
    from tlsrt.loops.external.call_media import PersonLeg
    from tlsrt.loops.external.call_port import CallPort
except ImportError:  # aiortc is not installed, which each call says
    _HAS_EXTRA = False
else:
    _HAS_EXTRA = True

MEDIA_S = 15.0  # from an answer to sound
_WITHOUT = "calls of people need the extra `calling`: pip install 'tlsrt[calling]', and reload"
_NO_PORT = "people cannot be called: put `listen` with a port `media` under needs, as docs/guide/calls.md shows"


class Calls(Component):
    """Calls between people and components of this host."""

    Options = CallsOptions
    topics = {"ended": "{call, number, by, outcome}: a call is over"}  # noqa: RUF012
    db = database(steps=call_tables.STEPS)

    def wall_ms(self) -> int:
        """The wall clock, in a method of its own so that a test can set it."""
        return time.time_ns() // 1_000_000

    async def start(self) -> None:
        self._calls = CurrentCalls(self.options.calls)
        self._watches = CallWatches()
        self._rates = RingRates()
        self._figures = CallFigures(self.gauge)
        self._answered_ms: dict[str, int] = {}
        self._tasks = CallTasks(self.log)
        self._port: CallPort | None = None
        self._wrong = ""  # with what was granted
        await call_tables.interrupt(self.db)
        self._hosts = CallHosts(self.options.hosts, lambda name: self.secret(name, None), self.state, self.address)
        self._ringing = CallRinging(self, self._calls, self._watches, self._hosts, self._tasks, self._has_answered)
        self._relays = Relays(self.options.servers, lambda: self.secret("turn", None))
        try:
            socket = self.listener("media")
        except MisuseError:
            return  # only components are connected
        self._wrong = await self._open_port(socket) if _HAS_EXTRA else _WITHOUT
        if self._wrong:
            self.log.error(self._wrong)

    async def _open_port(self, socket: Socket) -> str:
        host, number = socket.getsockname()[:2]
        addresses = self.options.addresses or [host]
        if ipaddress.ip_address(addresses[0]).is_unspecified:
            return f"option addresses: say by which addresses browsers reach port {number}"
        port = CallPort(addresses, number, self.count)
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: port, sock=socket)
        self._port = port
        return ""

    async def stop(self) -> None:
        self._calls.end_all("the host stops")
        await self._tasks.finish()

    async def healthy(self) -> str | None:
        return self._wrong or self._relays.wrong or self._hosts.wrong or await self.db.check()

    # -- who rings ---------------------------------------------------------------------------------------------

    @handler
    async def ring(self, number: Number, offer: Offer, says: Says = "") -> AsyncIterator[dict[str, Any]]:
        """Ring a number as a person, with a browser's offer; close the stream to hang up.

        Items are {state, ...}: `rings` (with `call` and the `sdp` of the answer), `answered`, `connected`, `held`,
        `resumed`, and at the end `ended` with `why`.
        """
        leg = self._leg()
        person = PersonParty(self.caller, leg)
        call = await self._begin(number, person, says)
        try:
            sdp = await self._open(leg, offer, call, person)
            yield {"state": "rings", "call": call.id, "sdp": sdp}
            self._ringing.begin(call, self.options.numbers[number].for_s)
            async for told in person.told:
                yield told
        finally:
            call.end("hung up")
            self._tasks.run(leg.close())

    @handler
    async def dial(self, number: Number, says: Says, said: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Ring a number as a component, with pieces of sound both ways: the first item is the answer.

        Raises Busy for who is engaged, and Unavailable for who is away or does not answer.
        """
        async with aclosing(self._dial(ComponentParty(self.caller), number, says, said)) as heard:
            async for piece in heard:
                yield piece

    @handler
    async def dial_from(self, number: Number, by: By, says: Says, said: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Ring a number as another host, which is a client of this one, for `by` of that host; as `dial` otherwise.

        It ends without an answer where the call is declined.
        """
        host = self._hosts.name_of(self.caller)
        try:
            check_address(by)
        except ValueError as error:
            raise InvalidArgument(f"by: {error}") from None
        async with aclosing(self._dial(HostParty(f"{by}@{host}"), number, says, said)) as heard:
            async for piece in heard:
                yield piece

    async def _dial(
        self, party: ComponentParty, number: str, says: str, said: AsyncIterator[bytes]
    ) -> AsyncGenerator[bytes]:
        call = await self._begin(number, party, says)
        tasks = [self._tasks.run(self._pass_on(call, party, said)), self._tasks.run(party.pump())]
        try:
            self._ringing.begin(call, self.options.numbers[number].for_s)
            async with aclosing(aiter(party.heard)) as heard:  # type: ignore[type-var]
                async for piece in heard:
                    yield piece
            if call.callee is None and not (call.why == "declined" and isinstance(party, HostParty)):
                raise Busy(f"{number} is engaged") if call.why == "busy" else Unavailable(f"{number}: {call.why}")
        finally:
            call.end("hung up")
            for task in tasks:
                task.cancel()

    async def _pass_on(self, call: Call, party: Party, said: AsyncIterator[bytes]) -> None:
        """Let the other side hear what a component says in an upload, which ends when it hangs up."""
        try:
            async for data in said:
                if (piece := piece_untrusted(data)) is not None:
                    await pass_piece(call, party, piece)
            call.end("hung up")
        except CallError as error:
            call.end(error.message)

    async def _begin(self, number: str, caller: Party, says: str) -> Call:
        options = self.options.numbers.get(number)
        if options is None or not options.is_for(caller.address):
            raise NotFound(f"there is no number {number[:63]!r} for {caller.address}; `numbers` lists them")
        try:
            self._rates.charge(caller.address, time.monotonic())
        except Busy:
            self.count("rings_refused")
            raise
        self._calls.check_room(caller.address)
        host = caller.address.partition("@")[2]
        # A call of another host goes on to none: two that ring each other would ring for ever.
        rung = [one for one in options.rings if one != caller.address and not (host and "@" in one)]
        call = Call(
            secrets.token_hex(8), number, caller, says, rung, self._has_ended, options.then, self._ringing.ring_then
        )
        self._calls.add(call)
        self._tasks.begin(call.id)
        try:
            await call_tables.begin(self.db, call.id, number, call.by, says, rung, self.wall_ms())
        except BaseException:
            call.end("failed")
            raise
        self.count("rings")
        return call

    # -- who is rung -------------------------------------------------------------------------------------------

    @handler
    async def watch(self) -> AsyncIterator[dict[str, Any]]:
        """Be reachable as a person, as long as the stream is open.

        Items are {state, ...}: `waits` at first, `rings` with `call`, `by`, `says` and `number`, and `over` with `call`
        and `why` when that one need not be answered any more.
        """
        caller = self.caller
        try:
            with self._watches.begin(caller) as told:
                yield {"state": "waits"}
                async for one in told:
                    yield one
        finally:
            if not self._watches.has(caller):
                self._calls.refuse_all(caller, "away")

    @handler
    async def answer(self, call: Id, offer: Offer) -> AsyncIterator[dict[str, Any]]:
        """Answer a call as a person, with a browser's offer; close the stream to hang up. Items as those of `ring`."""
        found = self._calls.ringing_at(self.caller, call)
        leg = self._leg()
        person = PersonParty(self.caller, leg)
        try:
            sdp = await self._open(leg, offer, found, person)
            if not found.is_answered_by(person):
                raise NotFound(f"call {call} has ended, or another one was first")
            self._has_answered(found)
            self._calls.refuse_all(person.address, "busy")
            yield {"state": "answered", "call": found.id, "by": found.by, "sdp": sdp}
            async for told in person.told:
                yield told
        finally:
            if found.callee is person:
                found.end("hung up")
            self._tasks.run(leg.close())

    @handler
    async def decline(self, call: Id) -> None:
        """Decline a call that rings for the caller."""
        self._calls.ringing_at(self.caller, call).is_refused(self.caller, "declined")

    # -- both --------------------------------------------------------------------------------------------------

    @handler
    async def hold(self, call: Id, is_on: bool = True) -> None:
        """Have nothing heard either way, or heard again: nothing is while one of the two holds the call."""
        found, party = self._calls.talk_of(self.caller, call)
        found.hold(party, is_on)

    @handler
    async def press(self, call: Id, key: Annotated[str, Length(1, 1), "0-9, *, #, A-D"]) -> None:
        """Press a key of the telephone; a component hears it as a digit."""
        found, party = self._calls.talk_of(self.caller, call)
        piece = piece_untrusted(digit(key))
        assert piece is not None
        found.said_live(party, piece)

    @handler
    async def hang_up(self, call: Id) -> None:
        """End a call in which the caller takes part."""
        self._calls.of(self.caller, call)[0].end("hung up")

    @handler(idempotent=True)
    async def status(self, call: Id) -> dict[str, Any]:
        """How a call of the caller goes: state, who holds it, and by side what got lost and how long the way takes.

        Of a person `to`, `from` and `pictures` are as RTCP has them: packets, lost, lost_lately (of 1), round_trip_ms.
        """
        return await call_figures(self._calls.of(self.caller, call)[0])

    @handler(idempotent=True)
    async def servers(self) -> dict[str, Any]:
        """The `ice_servers` for the RTCPeerConnection of the caller, and until when a call may begin with them."""
        return self._relays.of(self.caller, self.wall_ms() // 1000)

    @handler(idempotent=True)
    async def numbers(self) -> dict[str, list[str]]:
        """What the caller may ring, and who is rung there."""
        return {name: one.rings for name, one in self.options.numbers.items() if one.is_for(self.caller)}

    @handler(idempotent=True)
    async def calls(self, before: Annotated[int, Range(0, 1 << 53)] = 0, missed: bool = False) -> list[dict[str, Any]]:
        """The caller's own calls, 100 of them, the newest first; those below a position, and only missed ones."""
        return await call_tables.page(self.db, self.caller, before, only_missed=missed)

    def _leg(self) -> PersonLeg:
        if self._port is None:
            raise Unavailable(self._wrong or (_NO_PORT if _HAS_EXTRA else _WITHOUT))
        return PersonLeg(self._port)

    async def _open(self, leg: PersonLeg, offer: str, call: Call, person: PersonParty) -> str:
        changed = partial(self._has_changed, call, person)
        has_camera = bool(self.options.numbers[call.number].camera)
        return await leg.open(offer, partial(call.said_live, person), changed, has_camera=has_camera)

    def _has_changed(self, call: Call, person: PersonParty, state: str) -> None:
        if state in ("left", "lost"):  # a browser that hangs up may be faster than its session
            call.end("hung up" if state == "left" else "connection lost")
        else:
            person.tell(state)

    def _has_answered(self, call: Call) -> None:
        self._answered_ms[call.id] = self.wall_ms()
        if not call.missed:
            self._watches.stop_ringing(call, "answered")
        works = [self._check_media(call), self._figures.follow(call)]
        if camera := self.options.numbers[call.number].camera:
            works.append(show_camera(self, camera, call))
        self._tasks.run_in(call.id, *works)

    async def _check_media(self, call: Call) -> None:
        """End a call of a person whose browser does not come."""
        await asyncio.sleep(MEDIA_S)
        if any(isinstance(one, PersonParty) and not one.leg.is_connected for one in call.parties()):
            call.end(self._relays.no_sound())

    def _has_ended(self, call: Call) -> None:
        self._calls.remove(call)
        self._tasks.end(call.id)
        if call.callee is None and not call.missed:
            self._watches.stop_ringing(call, call.why)
        answered_ms = self._answered_ms.pop(call.id, None)
        taken_by = call.callee.address if call.callee is not None else None
        outcome = call.missed or ("answered" if taken_by is not None else call.why)
        self._tasks.run(call_tables.end(self.db, call.id, taken_by, answered_ms, self.wall_ms(), outcome))
        self.publish("ended", {"call": call.id, "number": call.number, "by": call.by, "outcome": outcome})
