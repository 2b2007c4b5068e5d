"""One HTTP client at the door: `http/1.1` on a TLS connection. asyncio.

Bytes pass the framing (framing.py), which is strict, and then h11, which parses. One request at a time: the next one is
read when the last was answered, and what comes meanwhile is bounded. A request has so long to arrive and an answer so
long to be read; a stream that the client does not read is ended. What a head asks for that cannot be is known before
its body is read, and a client that waits for a word first (Expect: 100-continue) gets the answer instead.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing
from http import HTTPStatus
from typing import Any

import h11

from tlsrt.channels.calls.retry import FirstUse
from tlsrt.channels.clock import boottime_ms
from tlsrt.channels.frames.trace import CURRENT
from tlsrt.channels.tls.connection import TlsConnection
from tlsrt.errors import CallError, NotFound, PeerError, Unavailable
from tlsrt.loops.door.accepted_connection import AcceptedConnection
from tlsrt.loops.door.backend import DoorBackend
from tlsrt.loops.http.documents import document
from tlsrt.loops.http.fair_scheduler import SMALL_BYTES, FairScheduler, is_small
from tlsrt.loops.http.framing import HEAD_MAX, RequestFraming
from tlsrt.loops.http.jobs import HttpJobs
from tlsrt.loops.http.keys import IdempotencyKeys
from tlsrt.loops.http.request import EVENTS, JSON, OF_JOBS, Act, HttpCall, wish_untrusted
from tlsrt.loops.http.response import HttpResponse, Problem, answer, event, problem_answer, problem_of, stream_headers
from tlsrt.loops.http.session import DelegatedSession
from tlsrt.loops.http.site import ForeignRequest, HostNames
from tlsrt.loops.http.values import arguments_untrusted, encode_value

PROTOCOL = "http/1.1"
AHEAD_MAX = 64 * 1024  # bytes of later requests, while one is answered
REQUEST_S = 30.0  # for a request to arrive whole
READ_S = 10.0  # for the client to read what waits, before more of a stream is sent
WAITING_MAX = 256 * 1024  # bytes of a stream that wait for the client
_STREAMING = (h11.SEND_RESPONSE, h11.SEND_BODY)
SESSION_S = 10.0  # for the authority to delegate the session, as at the door
PING_S = 15.0  # a comment in a quiet stream, so that a dead client is noticed
CONFIRMATIONS = 2  # calls that are answered after a stream has begun: it has been read, and its first turn is over


class HttpServer:
    """Makes the handlers of HTTP clients, and holds what they share."""

    def __init__(self, backend: DoorBackend) -> None:
        self._backend = backend
        self.scheduler = FairScheduler()
        self.keys = IdempotencyKeys()
        self.names = HostNames()

    def set_names(self, names: Iterable[str]) -> None:
        """Be the host of these names from now on: those of its certificate."""
        self.names = HostNames(names)

    def serve(self, client: AcceptedConnection) -> HttpConnection:
        """Return the handler of one connection."""
        return HttpConnection(client.connection, client.number, client.address, self._backend, self)


class HttpConnection:
    """The handler of one connection."""

    def __init__(
        self, connection: TlsConnection, number: int, address: str, backend: DoorBackend, server: HttpServer
    ) -> None:
        self.connection = connection
        self._server = server
        self._scheduler = server.scheduler
        self._number = number
        self._address = address
        self._backend = backend
        self._loop = asyncio.get_running_loop()
        self._framing = RequestFraming()
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_MAX)
        self._request: h11.Request | None = None
        self._wish: HttpCall | Problem | None = None  # what the request asks for
        self._body = bytearray()
        self._task: asyncio.Task[None] | None = None
        self.session = DelegatedSession(self)
        self._jobs = HttpJobs(self.session)
        self._timer = self._loop.call_later(REQUEST_S, self._too_slow)
        self._log = logging.getLogger("primary.http")
        backend.ask("delegate", number, connection.engine.certificate)

    def send_frame(self, frame: bytes) -> None:
        """Send a frame of the session to the gate."""
        if not self.connection.ended:  # else it is the cancelling of a call, which ends with the session anyway
            self._backend.frame(self._number, frame)  # what it refuses comes back as a REFUSAL

    def on_refused_frame(self, reason: str) -> None:
        """Count a frame from the gate that is not an authentic answer."""
        self._backend.on_refused(self._address, reason)

    # -- what the door does ------------------------------------------------------------------------------------

    def send(self, frame: bytes) -> None:
        """Take a frame from the gate. In a later turn, as it may be the answer to one that is being sent now."""
        self._loop.call_soon(self.session.take_untrusted, frame)

    def dismiss(self, word: str, reason: str) -> None:
        """End, because the host says so."""
        self.connection.close(reason)

    def refuse(self, word: str) -> None:
        """There is no session; the client hears it as the answer to its request."""
        self.session.refuse(word)

    def received_untrusted(self, data: bytes) -> None:
        self._parse(self._framing.take_untrusted, data)
        if self._framing.ahead > AHEAD_MAX:
            raise PeerError("http_too_far_ahead")

    def _parse(self, framed: Callable[..., bytes], *data: bytes) -> None:
        """Have h11 parse what the framing lets through; what it refuses is the last request."""
        try:
            passed = framed(*data)
            if passed:
                self._http.receive_data(passed)
        except Problem as problem:
            if self._task is not None:  # it answers a head whose body is malformed
                self._task.cancel()
            self._finish(problem, "http_garbage")
            return
        except RuntimeError:  # bytes after its own end
            raise PeerError("http_after_end") from None
        if self._task is None:
            self._read()

    def lost(self, reason: str) -> None:
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
        self.session.end()
        self._backend.on_closed(self._number)

    # -- requests ----------------------------------------------------------------------------------------------

    def _read(self) -> None:
        """Take what has arrived, until a request is whole."""
        while self._task is None and not self.connection.ended:
            try:
                got = self._http.next_event()
            except h11.RemoteProtocolError as error:
                problem = Problem(error.error_status_hint, "invalid_argument", "this is not HTTP/1.1")
                self._finish(problem, "http_garbage")
                return
            if got is h11.NEED_DATA:
                if self._http.they_are_waiting_for_100_continue:
                    if isinstance(self._wish, Problem):
                        self._begin()
                    else:
                        self._write(self._http.send(h11.InformationalResponse(status_code=100, headers=[])))
                return
            if got is h11.PAUSED or isinstance(got, h11.ConnectionClosed):
                self.connection.close("closed_by_peer")
                return
            if isinstance(got, h11.Request):
                self._request, self._body = got, bytearray()
                self._wish = self._understood(got)
            elif isinstance(got, h11.Data):
                self._body += got.data
            elif isinstance(got, h11.EndOfMessage):
                self._begin()

    def _understood(self, request: h11.Request) -> HttpCall | Problem:
        """Return what a head asks for, or what is wrong with it."""
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers]
        target = request.target.decode("latin-1")
        try:
            return wish_untrusted(request.method.decode("ascii"), target, headers, self._server.names)
        except Problem as problem:
            return problem

    def _finish(self, problem: Problem, reason: str) -> None:
        """Answer for the last time, and end."""
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._answer(problem_answer(problem), last=True)
        self.connection.close(reason)

    def _begin(self) -> None:
        self._timer.cancel()
        self._task = self._loop.create_task(self._serve())
        self._task.add_done_callback(self._served)

    def _served(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if task.cancelled():
            return
        if task.exception() is not None:
            self._log.error("an HTTP request failed", exc_info=task.exception())
        if self.connection.ended:
            return
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            self.connection.close("closed")  # in the middle of an answer: so a client sees that it is not whole
            return
        self._http.start_next_cycle()
        self._request, self._wish, self._body = None, None, bytearray()
        self._timer = self._loop.call_later(REQUEST_S, self._too_slow)
        self._parse(self._framing.next_untrusted)

    def _too_slow(self) -> None:
        """A request did not arrive in time, or no further one did."""
        if self._framing.is_idle:
            self.connection.close("idle")
        else:
            self._finish(Problem(408, "deadline", f"a request must arrive in {REQUEST_S:g} s"), "http_slow")

    async def _serve(self) -> None:
        wish = self._wish
        assert wish is not None
        try:
            await self._session_ready(wish)
            if isinstance(wish, Problem):
                raise wish
            CURRENT.set(wish.trace)  # of this request's task
            if wish.act is Act.CALL:
                await self._call(wish)
            elif wish.act is Act.SUBSCRIBE:
                await self._subscribe(wish)
            else:
                found = self._jobs.document(wish) if wish.act in OF_JOBS else document(self.session, wish)
                self._answer(await found)
        except Problem as problem:
            self._answer(problem_answer(problem), last=self._http.their_state is h11.SEND_BODY)
        except CallError as error:
            if self.session.is_granted:
                self._answer(problem_answer(problem_of(error)))
            else:  # it would only keep a place that another client may use
                self._finish(problem_of(error), "http_no_session")
        except TimeoutError:  # of the session: an authority that ended meanwhile has forgotten that it was asked
            self._finish(problem_of(Unavailable("no session can be had now")), "http_no_session")

    async def _session_ready(self, wish: HttpCall | Problem) -> None:
        """Wait for the session, and have the request looked at: it is charged to the session, if it may have one."""
        request = self._request
        assert request is not None
        try:
            async with asyncio.timeout(SESSION_S):
                await self.session.ready()
        finally:
            authorization = dict(request.headers).get(b"authorization", b"").decode("latin-1")
            target, is_foreign = request.target.decode("latin-1"), isinstance(wish, ForeignRequest)
            self._backend.on_http_request(self._number, target, authorization, is_foreign=is_foreign)

    async def _method(self, wish: HttpCall) -> Any:
        description = await self.session.describe(wish.target)
        method = description["methods"].get(wish.method)
        if method is None:
            self.session.caller.probes.show(wish.target, wish.method)
            raise NotFound(f"{wish.target} has no method {wish.method} that this client may call")
        if method.get("upload"):
            raise Problem(501, "invalid_argument", "uploads are not to be had over HTTP; use tlsrt")
        return method

    async def _call(self, wish: HttpCall) -> None:
        method = await self._method(wish)
        is_stream = bool(method.get("stream")) and wish.later is None
        if not (wish.takes_stream if is_stream else wish.takes_result):
            what, media_type = ("a stream", EVENTS) if is_stream else ("one result", JSON)
            raise Problem(406, "invalid_argument", f"this method gives {what}: send Accept: {media_type}")
        args, kwargs = await self._arguments(method)
        if wish.later is not None:
            self._answer(await self._jobs.put(wish, args, kwargs))
            return
        if is_stream:
            await self._stream(wish, args, kwargs)
            return
        result = await self.session.caller.call(
            wish.target, wish.method, args, kwargs, timeout_s=wish.timeout_s, idempotency_key=wish.idempotency_key,
            first_use=self._first_use(wish),
        )  # fmt: skip
        self._answer(answer(200, JSON, await self._encoded(result)))

    def _first_use(self, wish: HttpCall) -> FirstUse | None:
        if wish.idempotency_key is None:
            return None
        key = self.session.subject, wish.target, wish.method, wish.idempotency_key
        now = boottime_ms()
        return self._server.keys.first_use(key, now + round(wish.timeout_s * 1000), now)

    async def _arguments(self, method: Any) -> tuple[list[Any], dict[str, Any]]:
        body = bytes(self._body)
        return await self._scheduler.do(
            lambda: arguments_untrusted(body, method), self.session.subject, is_small=len(body) <= SMALL_BYTES
        )

    async def _encoded(self, value: object) -> bytes:
        return await self._scheduler.do(lambda: encode_value(value), self.session.subject, is_small=is_small(value))

    async def _subscribe(self, wish: HttpCall) -> None:
        description = await self.session.describe(wish.target)
        topics, rights = description.get("topics"), self.session.rights[wish.target]
        if (topics and wish.topic not in topics) or not {"*", "subscribe"} & set(rights):
            raise NotFound(f"{wish.target} publishes no topic {wish.topic} that this client may subscribe to")
        if self._is_head:
            head = h11.Response(status_code=200, reason="OK", headers=stream_headers(EVENTS))
            self._write(self._http.send(head), self._http.send(h11.EndOfMessage()))
        else:
            await self._stream(wish, [wish.topic], {})

    async def _stream(self, wish: HttpCall, args: list[Any], kwargs: dict[str, Any]) -> None:
        items = self.session.caller.stream(wish.target, wish.method, args, kwargs, timeout_s=wish.timeout_s)
        self._pinger = self._loop.call_later(PING_S, self._ping)
        confirming = self._loop.create_task(self._confirm(wish.target))
        try:
            async with aclosing(items) as closing:  # type: ignore[type-var]  # it is an async generator
                await self._pass_on(closing)
        finally:
            confirming.cancel()
            self._pinger.cancel()

    async def _confirm(self, target: str) -> None:
        """Send the head of a stream once its component has taken the request, also if there is no item for hours.

        Frames to a component keep their order, and a stream begins in a turn of its own: what is asked after it, and
        then once more, is answered when the stream has begun, or has failed, which is an answer of its own.
        """
        try:
            for _ in range(CONFIRMATIONS):
                await self.session.caller.call(target, "describe")
        except CallError:
            return  # the stream ends for the same reason
        self._comment()

    def _ping(self) -> None:
        """Send a comment in a quiet stream, so that a dead connection is noticed."""
        if self._comment():
            self._pinger = self._loop.call_later(PING_S, self._ping)

    def _comment(self) -> bool:
        """Send a comment, after the head if that has not been sent; False if the stream has ended."""
        if self._task is None or self.connection.ended or self._http.our_state not in _STREAMING:
            return False
        self._head_of_stream()
        self._write(self._http.send(h11.Data(data=b": \n\n")))
        return True

    async def _pass_on(self, items: AsyncIterator[Any]) -> None:
        """Send items as events. What goes wrong before the first one is an answer, later it is an event."""
        number = 0
        try:
            async for item in items:
                await self._write_stream(event("item", await self._encoded(item), number))
                number += 1
            await self._write_stream(event("end", b"{}"))
        except CallError as error:
            if self._http.our_state is h11.SEND_RESPONSE:
                raise
            await self._write_stream(event("error", problem_of(error).encode()))
        self._write(self._http.send(h11.EndOfMessage()))

    # -- writing -----------------------------------------------------------------------------------------------

    def _head_of_stream(self) -> None:
        if self._http.our_state is h11.SEND_RESPONSE:
            self._write(self._http.send(h11.Response(status_code=200, reason="OK", headers=stream_headers(EVENTS))))

    async def _write_stream(self, data: bytes) -> None:
        """Send a piece; wait while the client does not read, and end if it does not for too long."""
        self._head_of_stream()
        self._write(self._http.send(h11.Data(data=data)))
        patience = READ_S
        while self.connection.waiting > WAITING_MAX and not self.connection.ended:
            await asyncio.sleep(0.05)
            patience -= 0.05
            if patience <= 0:
                self.connection.abort("slow_reader")

    def _answer(self, whole: HttpResponse, *, last: bool = False) -> None:
        headers = [*whole.headers, ("Connection", "close")] if last else whole.headers
        head = h11.Response(status_code=whole.status, reason=HTTPStatus(whole.status).phrase, headers=headers)
        pieces = [head, *([] if self._is_head else [h11.Data(data=whole.body)]), h11.EndOfMessage()]
        self._write(*[self._http.send(piece) for piece in pieces])

    @property
    def _is_head(self) -> bool:
        """Tell whether the answer has no body (RFC 9110, 9.3.2)."""
        return self._request is not None and self._request.method == b"HEAD"

    def _write(self, *pieces: bytes | None) -> None:
        self.connection.write(b"".join(piece for piece in pieces if piece))
