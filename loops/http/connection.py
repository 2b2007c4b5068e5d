"""One HTTP client at the door: `http/1.1` on a TLS connection. h11 parses, everything else is below. asyncio.

One request at a time: the next one is read when the last was answered, and what comes meanwhile is bounded. A
request has so long to arrive and an answer so long to be read; a stream that the client does not read is ended.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

import h11

from tlsrt.channels.tls.connection import TlsConnection
from tlsrt.errors import CallError, NotFound, PeerError, Unavailable
from tlsrt.loops.door.backend import DoorBackend
from tlsrt.loops.door.tls_server import AcceptedConnection
from tlsrt.loops.http.fair_scheduler import SMALL_BYTES, FairScheduler, is_small
from tlsrt.loops.http.openapi import openapi
from tlsrt.loops.http.request import EVENTS, JSON, Act, HttpCall, wish_untrusted
from tlsrt.loops.http.response import HttpResponse, Problem, answer, event, problem_answer, problem_of, stream_headers
from tlsrt.loops.http.session import DelegatedSession
from tlsrt.loops.http.values import arguments_untrusted, encode_value

PROTOCOL = "http/1.1"
HEAD_MAX = 16 * 1024
BODY_MAX = 256 * 1024
AHEAD_MAX = 64 * 1024  # bytes of later requests, while one is answered
REQUEST_S = 30.0  # for a request to arrive whole
READ_S = 10.0  # for the client to read what waits, before more of a stream is sent
WAITING_MAX = 256 * 1024  # bytes of a stream that wait for the client
VERSION = version("tlsrt")  # read before the seal
SESSION_S = 10.0  # for the authority to lend the session, as at the door
PING_S = 15.0  # a comment in a quiet stream, so that a dead client is noticed


class HttpServer:
    """Makes the handlers of HTTP clients, which share one scheduler."""

    def __init__(self, backend: DoorBackend) -> None:
        self._backend = backend
        self._scheduler = FairScheduler()

    def serve(self, client: AcceptedConnection) -> HttpConnection:
        """Return the handler of one connection."""
        return HttpConnection(client.connection, client.number, client.address, self._backend, self._scheduler)


class HttpConnection:
    """The handler of one connection."""

    def __init__(
        self, connection: TlsConnection, number: int, address: str, backend: DoorBackend, scheduler: FairScheduler
    ) -> None:
        self.connection = connection
        self._scheduler = scheduler
        self._number = number
        self._address = address
        self._backend = backend
        self._loop = asyncio.get_running_loop()
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_MAX)
        self._request: h11.Request | None = None
        self._body = bytearray()
        self._ahead = 0
        self._task: asyncio.Task[None] | None = None
        self.session = DelegatedSession(self)
        self._timer = self._loop.call_later(REQUEST_S, self._too_slow)
        self._log = logging.getLogger("primary.http")
        backend.ask("lend", number, connection.engine.certificate)

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
        if self._task is not None:
            self._ahead += len(data)
            if self._ahead > AHEAD_MAX:
                raise PeerError("http_too_far_ahead")
        try:
            self._http.receive_data(data)
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
                if got is h11.NEED_DATA:
                    if self._http.they_are_waiting_for_100_continue:
                        self._write(self._http.send(h11.InformationalResponse(status_code=100, headers=[])))
                    return
                if got is h11.PAUSED or isinstance(got, h11.ConnectionClosed):
                    self.connection.close("closed_by_peer")
                    return
                if isinstance(got, h11.Request):
                    self._request, self._body = got, bytearray()
                elif isinstance(got, h11.Data):
                    self._body += got.data
                    if len(self._body) > BODY_MAX:
                        raise Problem(413, "invalid_argument", f"a body has at most {BODY_MAX} bytes")
                elif isinstance(got, h11.EndOfMessage):
                    self._begin()
            except h11.RemoteProtocolError as error:
                self._finish(
                    Problem(error.error_status_hint, "invalid_argument", "this is not HTTP/1.1"), "http_garbage"
                )
                return
            except Problem as problem:
                self._finish(problem, "http_body")
                return

    def _finish(self, problem: Problem, reason: str) -> None:
        """Answer for the last time, and end."""
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._answer(problem_answer(problem), last=True)
        self.connection.close(reason)

    def _begin(self) -> None:
        self._timer.cancel()
        self._ahead = len(self._http.trailing_data[0])  # what came with it counts: else every request lets more in
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
        self._request, self._body = None, bytearray()
        self._timer = self._loop.call_later(REQUEST_S, self._too_slow)
        self._read()

    def _too_slow(self) -> None:
        """A request did not arrive in time, or no further one did."""
        if self._http.their_state is h11.IDLE and not self._http.trailing_data[0]:
            self.connection.close("idle")
        else:
            self._finish(Problem(408, "deadline", f"a request must arrive in {REQUEST_S:g} s"), "http_slow")

    async def _serve(self) -> None:
        request = self._request
        assert request is not None
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers]
        target = request.target.decode("latin-1")
        self._backend.on_http_request(self._number, target, dict(headers).get("authorization", ""))
        try:
            wish = wish_untrusted(request.method.decode("ascii"), target, headers)
            async with asyncio.timeout(SESSION_S):
                await self.session.ready()
            if wish.act is Act.CALL:
                self._answer(await self._call(wish))
            elif wish.act is Act.STREAM:
                await self._stream(wish)
            else:
                self._answer(await self._document(wish, dict(headers).get("host", "")))
        except Problem as problem:
            self._answer(problem_answer(problem))
        except CallError as error:
            if self.session.is_granted:
                self._answer(problem_answer(problem_of(error)))
            else:  # it would only keep a place that another client may use
                self._finish(problem_of(error), "http_no_session")
        except TimeoutError:  # of the session: an authority that ended meanwhile has forgotten that it was asked
            self._finish(problem_of(Unavailable("no session can be had now")), "http_no_session")

    async def _method(self, wish: HttpCall) -> Any:
        description = await self.session.describe(wish.target)
        method = description["methods"].get(wish.method)
        if method is None:
            self.session.caller.probes.show(wish.target, wish.method)
            raise NotFound(f"{wish.target} has no method {wish.method} that this client may call")
        if method.get("upload"):
            raise Problem(501, "invalid_argument", "uploads are not to be had over HTTP; use tlsrt")
        return method

    async def _call(self, wish: HttpCall) -> HttpResponse:
        method = await self._method(wish)
        if method.get("stream"):
            raise Problem(406, "invalid_argument", f"this method gives a stream: send Accept: {EVENTS}")
        args, kwargs = await self._arguments(method)
        result = await self.session.caller.call(
            wish.target, wish.method, args, kwargs, timeout_s=wish.timeout_s, idempotency_key=wish.idempotency_key
        )
        return answer(200, JSON, await self._encoded(result))

    async def _arguments(self, method: Any) -> tuple[list[Any], dict[str, Any]]:
        body = bytes(self._body)
        return await self._scheduler.do(lambda: arguments_untrusted(body, method), is_small=len(body) <= SMALL_BYTES)

    async def _encoded(self, value: object) -> bytes:
        return await self._scheduler.do(lambda: encode_value(value), is_small=is_small(value))

    async def _document(self, wish: HttpCall, host: str) -> HttpResponse:
        if wish.act is Act.TARGETS:
            return answer(
                200, JSON, encode_value({target: list(names) for target, names in self.session.rights.items()})
            )
        found = {}
        for target in sorted(self.session.rights):
            try:
                found[target] = await self.session.describe(target)
            except CallError:  # it does not run now
                continue
        return answer(200, JSON, json.dumps(openapi(found, VERSION, host)).encode())

    async def _stream(self, wish: HttpCall) -> None:
        if wish.topic is not None:
            args: list[Any] = [wish.topic]
            kwargs: dict[str, Any] = {}
        else:
            method = await self._method(wish)
            if not method.get("stream"):
                raise Problem(406, "invalid_argument", f"this method gives one result: send Accept: {JSON}")
            args, kwargs = await self._arguments(method)
        items = self.session.caller.stream(wish.target, wish.method, args, kwargs, timeout_s=wish.timeout_s)
        self._pinger = self._loop.call_later(PING_S, self._ping)
        try:
            async with aclosing(items) as closing:  # type: ignore[type-var]  # it is an async generator
                await self._pass_on(closing)
        finally:
            self._pinger.cancel()

    def _ping(self) -> None:
        """Send a comment in a quiet stream: so a dead connection is noticed, and others see the head at least."""
        if self._task is not None and not self.connection.ended:
            self._head_of_stream()
            self._write(self._http.send(h11.Data(data=b": \n\n")))
            self._pinger = self._loop.call_later(PING_S, self._ping)

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
        is_head = self._request is not None and self._request.method == b"HEAD"  # answered without a body (RFC 9110)
        pieces = [head, *([] if is_head else [h11.Data(data=whole.body)]), h11.EndOfMessage()]
        self._write(*[self._http.send(piece) for piece in pieces])

    def _write(self, *pieces: bytes | None) -> None:
        self.connection.write(b"".join(piece for piece in pieces if piece))
