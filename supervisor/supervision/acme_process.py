"""The supervisor's side of the ACME process: one job at a time, with sockets that lead to the CA and nowhere else.

It is started for a job and ended with it. It makes no socket, so whatever a CA says, redirects to or has made of it,
it reaches the host and port of the directory alone. What it says is numbers, digests and bytes that are passed on.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlsrt.channels.control.acme import ACME, CHAIN_BYTES_MAX, CHAIN_MAX, DIGEST_BYTES, FailedMessage, Problem, Step
from tlsrt.config.acme import Origin
from tlsrt.config.schema import Config
from tlsrt.errors import PeerError
from tlsrt.supervisor.process.children import Child, Children, HelperStart
from tlsrt.supervisor.process.event_loop import Timer
from tlsrt.supervisor.process.exit_reason import Cause, Death
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.service_process import ServiceProcess

NAME = "acme"
JOB_S = 660.0  # a little more than it gives itself
CONNECTIONS_MAX = 450  # of one job, which makes fewer requests
_NAME_WAIT_S, _NAME_STEP_S = 20.0, 0.2  # for the resolver, at a start
_DIED = FailedMessage(int(Step.DIRECTORY), int(Problem.DIED), 0, 0)


@dataclass(slots=True)
class AcmeJob:
    """An order, or a question when to renew; `ended` is called once. Descriptors are owned."""

    message: str  # by which it is asked for
    fields: Sequence[object]
    origin: Origin
    roots: Path
    prove: Callable[[int, bytes, Callable[[bool], None]], None]  # a name's place, its digest, whether it is shown
    ended: Callable[[str, Any], None]  # the last message: "issued", "window" or "failed"
    key: int = -1  # of the account: a memfd, whose bytes are not for us
    listener: int = -1

    def close(self) -> None:
        """Close the descriptors."""
        for descriptor in (self.key, self.listener):
            if descriptor >= 0:
                os.close(descriptor)
        self.key = self.listener = -1


class AcmeProcess(ServiceProcess):
    """The process of the present job, over all its incarnations."""

    def __init__(self, context: Context) -> None:
        super().__init__(context, NAME, ACME)
        self._job: AcmeJob | None = None
        self._connections = 0
        self._proofs = 0
        self._late: Timer | None = None
        self._is_gone = True  # with all that is to be said of its end
        self._is_begun = False  # for the present job

    @property
    def is_busy(self) -> bool:
        """Tell whether a job runs."""
        return self._job is not None

    def is_needed(self, config: Config) -> bool:
        return self._job is not None and (self._is_gone or self._is_begun)

    def fork(self, children: Children, start: HelperStart) -> Child:
        return children.spawn_helper(HelperStart(start.channel, start.log, start.keep, start.reports, NAME))

    def begin(self, job: AcmeJob) -> None:
        """Start a process for a job, when the one before has ended. Never while it is busy."""
        self._job, self._connections, self._proofs, self._is_begun = job, 0, 0, False
        late = FailedMessage(int(Step.DIRECTORY), int(Problem.TOO_SLOW), 0, 0)
        self._late = self._context.event_loop.call_later(JOB_S, lambda: self._end("failed", late))
        self._start()

    def _start(self) -> None:
        if self._job is None or self._is_begun or not self._is_gone:
            return
        if NAME not in self._context.current.children.profiles:  # a reload has taken the CA away
            self._end("failed", _DIED)
        else:
            self.look()

    def _spawn(self) -> None:
        if self._job is None:  # its process has died, and the job with it
            self._next, self.is_wanted = None, False
        else:
            self._is_gone, self._is_begun = False, True
            super()._spawn()

    def _clean_up(self, death: Death) -> None:
        super()._clean_up(death)
        self._is_gone = True
        self._start()  # a job may have waited for that

    def stopping(self) -> None:
        self._end("failed", _DIED)
        super().stopping()

    def _ready(self) -> None:
        super()._ready()
        job = self._job
        if job is None:
            self.look()
            return
        try:
            roots = os.open(job.roots, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError as error:
            self._context.console.warning(NAME, f"cannot open acme.roots {job.roots}: {error.strerror}")
            self._end("failed", FailedMessage(int(Step.DIRECTORY), int(Problem.NOT_TRUSTED), 0, 0))
            return
        if job.listener >= 0:
            self._send("listen", descriptors=(job.listener,))
        self._send(job.message, *job.fields, descriptors=(roots,) if job.key < 0 else (roots, job.key))
        os.close(roots)

    def take(self, name: str, message: Any, descriptors: list[int]) -> None:
        job = self._job
        if job is None:
            return  # it was given up, and is about to end
        if name == "connect":
            self._connections += 1
            if self._connections > CONNECTIONS_MAX:
                raise PeerError("too_many_connections")
            self._connect(job, message.number, self._context.event_loop.now + _NAME_WAIT_S)
        elif name == "challenge":
            self._proofs += 1
            names = job.fields[1] if job.message == "order" else ()
            assert isinstance(names, Sequence)
            if message.name >= len(names) or self._proofs > len(names) or len(message.digest) != DIGEST_BYTES:
                raise PeerError("bad_challenge")
            job.prove(message.name, message.digest, lambda is_set: self._proved(job, is_set=is_set))
        else:
            check_untrusted(job.message, name, message)
            self._end(name, message)

    def _proved(self, job: AcmeJob, *, is_set: bool) -> None:
        if self._job is job:
            self._send("ready", int(is_set))

    def _connect(self, job: AcmeJob, number: int, until: float) -> None:
        """Answer with a socket, once the resolver knows the name."""
        if self._job is not job:
            return
        pins = self._context.current.children.pins
        addresses = [job.origin.host] if job.origin.is_address else _texts(pins.all().get(job.origin.host, ()))
        if not addresses and self._context.event_loop.now < until and not job.origin.is_address:
            self._context.event_loop.call_later(_NAME_STEP_S, lambda: self._connect(job, number, until))
            return
        for turn in range(len(addresses)):
            address = addresses[(number + turn) % len(addresses)]
            try:
                descriptor = connected_socket(address, job.origin.port)
            except OSError:  # no way to it
                continue
            self._send("connected", number, descriptors=(descriptor,))
            os.close(descriptor)
            return
        self._send("unreachable", number)

    def _send(self, name: str, *fields: object, descriptors: Sequence[int] = ()) -> None:
        if self._channel is None or not self.is_attested:
            return
        try:
            self._channel.send(name, *fields, descriptors=descriptors)
        except PeerError as error:
            self.kill(f"does not read its channel: {error.reason}", Cause.PROTOCOL)

    def lost(self) -> None:
        if self._is_begun:
            self._end("failed", _DIED)

    def _end(self, name: str, message: Any) -> None:
        job, self._job = self._job, None
        if job is None:
            return
        if self._late is not None:
            self._late.cancel()
        job.close()
        if self.is_attested and self._channel is not None:
            self.look()  # which ends the process
        job.ended(name, message)


def check_untrusted(job: str, name: str, message: Any) -> None:
    """Check the last word about a job. Raises PeerError for what it cannot say. Pure."""
    if name == "failed":
        if message.step not in [*map(int, Step)] or message.problem not in [*map(int, Problem)]:
            raise PeerError("bad_failure")
    elif (job, name) == ("order", "issued"):
        chain = message.chain
        if not 0 < len(chain) <= CHAIN_MAX or not all(isinstance(one, bytes) for one in chain):
            raise PeerError("bad_chain")
        if sum(map(len, chain)) > CHAIN_BYTES_MAX:
            raise PeerError("bad_chain")
    elif (job, name) != ("inform", "window"):
        raise PeerError("unasked")


def connected_socket(address: str, port: int) -> int:
    """Return a socket that is connected to an address, or being so. Raises OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as made:
        try:
            made.connect((address, port))
        except BlockingIOError:
            pass
        return made.detach()


def _texts(addresses: Any) -> list[str]:
    return sorted(str(ipaddress.ip_address(one)) for one in addresses)
