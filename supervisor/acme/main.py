"""The ACME process: one job, such as an order, on sockets that the supervisor has connected to the CA.

What the CA says is parsed here and nowhere else: in a process with a uid of its own, without capability, file or
network, which can make no socket and holds one key, that of its account with the CA. It ends with its job.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any

from tlsrt.channels.control.acme import ACME, Problem
from tlsrt.channels.control.seqpacket import ControlChannel
from tlsrt.channels.tls.engine import State, TlsEngine
from tlsrt.config.acme import Origin
from tlsrt.config.files import read_up_to
from tlsrt.errors import EX_SOFTWARE, PeerError, one_line
from tlsrt.supervisor.acme.account import AccountKey
from tlsrt.supervisor.acme.challenge_server import ChallengeServer
from tlsrt.supervisor.acme.client import AcmeClient, JobFailed, digest_of
from tlsrt.supervisor.acme.http_answer import Answer, AnswerReader

REQUEST_S = 30.0  # for one request, from the connection to the last byte
JOB_S = 600.0
CONNECT_S = 8.0  # to the first byte, then another address of the CA is tried
READY_S = 30.0  # for the door to show a challenge
TRIES, TURNS_MAX = 3, 40  # addresses for one request, and changes of the address in one job
_KEY_MAX, _ROOTS_MAX = 1024, 4 << 20
_PIECE = 16 * 1024
_USER_AGENT = "tlsrt"


class AcmeProcess:
    """Carries out one job."""

    def __init__(self, channel: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._supervisor = ControlChannel(channel, ACME)
        self._clock = clock
        self._waiting = select.poll()
        self._waiting.register(self._supervisor.fileno(), select.POLLIN)
        self._server: ChallengeServer | None = None
        self._roots = ""
        self._until = 0.0
        self._turn = 0  # of the CA's addresses: one that has answered is kept
        self._is_heard = False  # on the present connection

    def run(self) -> int:
        """Do the job, then wait until the supervisor closes the channel. Raises PeerError for a lost supervisor."""
        self._supervisor.send("sealed")
        name, message, descriptors = self._hear(None)
        while name == "listen":
            self._server = ChallengeServer(socket.socket(fileno=descriptors[0]), self._waiting, self._clock)
            name, message, descriptors = self._hear(None)
        self._roots = _read(descriptors[0], _ROOTS_MAX).decode("latin-1")
        key = AccountKey(_read(descriptors[1], _KEY_MAX)) if name == "order" else None
        self._until = self._clock() + JOB_S
        client = AcmeClient(message.directory, key, self)
        try:
            self._do(client, name, message)
        except JobFailed as failed:
            words = [client.step.name.lower(), failed.problem.name.lower(), str(failed.status or ""), failed.words]
            _say(" ".join(filter(None, words)))
            self._supervisor.send("failed", int(client.step), int(failed.problem), failed.status, failed.again_s)
        while True:
            self._hear(None)

    def _do(self, client: AcmeClient, name: str, message: Any) -> None:
        if name == "inform":
            self._supervisor.send("window", *client.renewal_window(message.certificate))
            return
        names = [str(one) for one in message.names]
        kind = "http-01" if message.is_http else "tls-alpn-01"
        chain = client.order(names, message.contact, message.request, message.replaces, kind)
        self._supervisor.send("issued", chain)

    # -- for the client ----------------------------------------------------------------------------------------

    def request(self, method: str, origin: Origin, headers: dict[str, str], body: bytes) -> Answer:
        lines = {"Host": origin.authority, "User-Agent": _USER_AGENT, "Connection": "close", **headers}
        lines |= {"Content-Length": str(len(body))} if body else {}
        head = "".join(f"{key}: {value}\r\n" for key, value in lines.items())
        sent = f"{method} {origin.path} HTTP/1.1\r\n{head}\r\n".encode("ascii") + body
        tries = 0
        while True:
            until = min(self._until, self._clock() + REQUEST_S)
            connected = self._connect(until)
            tries, self._is_heard = tries + 1, False
            try:
                return self._exchange(connected, origin.host, sent, AnswerReader(has_body=method != "HEAD"), until)
            except JobFailed as failed:
                is_asked = self._is_heard or failed.problem is not Problem.UNREACHABLE
                if is_asked or tries == TRIES or self._turn == TURNS_MAX:
                    raise
                self._turn += 1

    def _connect(self, until: float) -> socket.socket:
        self._supervisor.send("connect", self._turn)
        name, _, descriptors = self._hear(until)
        if name != "connected":
            raise JobFailed(Problem.UNREACHABLE)
        return socket.socket(fileno=descriptors[0])

    def show(self, name: int, token: str, authorization: str) -> None:
        if self._server is not None:
            self._server.show(token, authorization)
            return
        self._supervisor.send("challenge", name, digest_of(authorization))
        answer, message, _ = self._hear(min(self._until, self._clock() + READY_S))
        if answer != "ready" or not message.is_set:
            raise JobFailed(Problem.NOT_SET)

    def pause(self, seconds: float) -> None:
        end = self._clock() + seconds
        while (now := self._clock()) < end:
            if now >= self._until:
                raise JobFailed(Problem.TOO_SLOW, "the whole job")
            self._poll(end)
            self._supervisor.receive("supervisor", "sealed", descriptors=True)  # raises if it wants no more

    # -- bytes -------------------------------------------------------------------------------------------------

    def _exchange(self, connected: socket.socket, host: str, sent: bytes, reader: AnswerReader, until: float) -> Answer:
        """Make one request on a connection, which is closed then; serve challenges meanwhile: a CA may look at once."""
        self._waiting.unregister(self._supervisor.fileno())  # it is heard when the request is over
        self._waiting.register(connected.fileno())
        try:
            return self._converse(connected, host, sent, reader, until)
        except JobFailed:
            raise
        except PeerError as error:
            raise JobFailed(Problem.BAD_ANSWER, error.reason) from None
        except OSError as error:
            raise JobFailed(Problem.UNREACHABLE, error.strerror or "") from None
        finally:
            self._waiting.unregister(connected.fileno())
            self._waiting.register(self._supervisor.fileno(), select.POLLIN)
            connected.close()

    def _converse(self, connected: socket.socket, host: str, sent: bytes, reader: AnswerReader, until: float) -> Answer:
        silent_until = min(until, self._clock() + CONNECT_S)
        connected.setblocking(False)
        engine = TlsEngine(self._tls(), server_side=False, protocols=(), server_name=host)
        outgoing, is_asked = bytearray(), False
        while True:
            if engine.state is State.OPEN and not is_asked:
                engine.write(sent)
                is_asked = True
            outgoing += engine.take_outgoing()
            if engine.state is State.FAILED and not outgoing:
                raise JobFailed(Problem.NOT_TRUSTED, engine.detail or engine.failure)
            self._waiting.modify(connected.fileno(), select.POLLIN | (select.POLLOUT if outgoing else 0))
            ready = self._poll(until if self._is_heard else silent_until)
            if self._clock() >= until:
                raise JobFailed(Problem.TOO_SLOW)
            if not self._is_heard and self._clock() >= silent_until:
                raise JobFailed(Problem.UNREACHABLE, "it says nothing")
            if connected.fileno() not in dict(ready):
                continue
            try:
                if outgoing:
                    del outgoing[: connected.send(outgoing)]
                data = connected.recv(_PIECE)
            except BlockingIOError:
                continue
            self._is_heard = self._is_heard or bool(data)
            answer = reader.feed_untrusted(plain) if data and (plain := engine.receive_untrusted(data)) else None
            if answer is not None:
                return answer
            if engine.state is State.CLOSED:  # by close_notify: a cut is no end
                return reader.end_untrusted()
            if not data:
                raise JobFailed(Problem.BAD_ANSWER, "the connection was cut")

    def _tls(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # which checks chain and name
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_verify_locations(cadata=self._roots)
        except (ssl.SSLError, ValueError):
            raise JobFailed(Problem.NOT_TRUSTED, "acme.roots holds no CA that can be read") from None
        return context

    # -- the supervisor ----------------------------------------------------------------------------------------

    def _hear(self, until: float | None) -> tuple[str, Any, list[int]]:
        """Return the next message; serve challenges meanwhile."""
        while True:
            received = self._supervisor.receive("supervisor", "sealed", descriptors=True)
            if received is not None:
                return received
            if until is not None and self._clock() >= until:
                raise JobFailed(Problem.TOO_SLOW, "a message of the supervisor")
            self._poll(until)

    def _poll(self, until: float | None) -> list[tuple[int, int]]:
        now = self._clock()
        step_s = 1.0 if self._server is not None else None  # it has timeouts of its own
        waits = [one for one in (None if until is None else max(0.0, until - now), step_s) if one is not None]
        ready = self._waiting.poll(min(waits) * 1000 + 1 if waits else None)
        if self._server is not None:
            self._server.serve(ready)
        return ready


def _read(descriptor: int, most: int) -> bytes:
    try:
        return read_up_to(descriptor, most)
    finally:
        os.close(descriptor)


def _say(line: str) -> None:
    os.write(2, f"acme: {line}\n".encode("ascii", "backslashreplace"))


def acme_main(channel: int) -> int:
    """Run the body of the forked, confined process; return its exit code. `channel` is owned from here on."""
    try:
        return AcmeProcess(channel).run()
    except PeerError as error:
        if error.reason == "closed":
            return 0  # the supervisor wants nothing any more
        _say(f"the supervisor is lost: {error.reason}")
    except Exception as error:
        _say(f"cannot go on: {one_line(error)}")
    return EX_SOFTWARE
