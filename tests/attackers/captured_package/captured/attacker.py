"""The attacker: a component that does with its process what code injected into it could do.

It listens to the tests (through the host's own door, policy and gate: it needs no other way), hands out everything
that its process holds, and puts any bytes on the wires that its process can reach.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import gc
import os
import resource
import socket
from contextlib import suppress
from typing import Any

import zmq
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from captured import recorder, zmtp  # type: ignore[import-not-found]  # as the host's loops import it
from tlsrt import Component, handler
from tlsrt.channels.clock import boottime_ms
from tlsrt.channels.frames.frame import FrameKind, nonce, parse_frame_untrusted, parse_header_untrusted
from tlsrt.channels.links.zmq_link import ZmqLink
from tlsrt.channels.session.grant import Open, encode_open, parse_open_untrusted, sign_open
from tlsrt.loops.runtime.process import LoopProcess
from tlsrt.sandbox.seccomp.syscall_numbers import NUMBERS

_libc = ctypes.CDLL(None, use_errno=True)
_machine = os.uname().machine

recorder.install()


class Captured(Component):
    """One captured process."""

    async def start(self) -> None:
        self.process: Any = next(thing for thing in gc.get_objects() if isinstance(thing, LoopProcess))

    # -- what it holds -----------------------------------------------------------------------------------------

    @handler
    async def loot(self) -> dict[str, Any]:
        """Every key and token of the process."""
        return {
            "sessions": recorder.sessions,
            "rights": recorder.rights,
            "token_keys": {str(epoch): key for epoch, key in recorder.token_keys.items()},
            "gate_roots": {str(epoch): key for epoch, key in recorder.gate_roots.items()},
            "host": recorder.host,
            "aes_keys": list(recorder.aes_keys),
            "now": boottime_ms(),
            "epoch": self.process.authority.committed,
        }

    @handler
    async def frames(self) -> dict[str, list[bytes]]:
        """The frames that came and went since the last time, the large ones left out."""
        small = ([frame for frame in record if len(frame) < 4096][-32:] for record in (recorder.heard, recorder.said))
        result = dict(zip(("heard", "said"), small, strict=True))
        recorder.heard.clear()
        recorder.said.clear()
        return result

    @handler
    async def carried(self) -> list[list[Any]]:
        """In Primary: the frames that passed since the last time: loop, connection, bytes."""
        result = [list(entry) for entry in recorder.carried if len(entry[2]) < 4096][-64:]
        recorder.carried.clear()
        return result

    @handler
    async def take_seq(self, subject: str) -> int:
        """The next sequence number of a session of this process, which nobody else will use."""
        endpoint = self.process.hosts[subject].endpoint
        endpoint._seq += 1
        return int(endpoint._seq)

    @handler
    async def seal(self, subject: str, target: str, method: str, body: bytes) -> bytes:
        """A genuine request of a component of this process, not sent."""
        endpoint = self.process.hosts[subject].endpoint
        frame: bytes = endpoint.seal_request(FrameKind.REQUEST, target, method, body, boottime_ms() + 30_000)[1]
        return frame

    @handler
    async def call_kernel(self, name: str, arguments: list[int]) -> str:
        """Make a system call with these registers; returns what came of it."""
        _libc.syscall.restype = ctypes.c_long
        registers = [ctypes.c_ulong(value) for value in arguments]
        result = _libc.syscall(ctypes.c_long(NUMBERS[_machine][name]), *registers)
        return errno.errorcode[ctypes.get_errno()] if result < 0 else "allowed"

    @handler
    async def take_descriptors(self, left: int) -> int:
        """Open files until so many descriptors are left, and never more; returns how many were opened in all.

        The kernel gives the lowest free number, so what it gave last says how many are open.
        """
        self.taken: list[int] = getattr(self, "taken", [])
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        with suppress(OSError):
            while not self.taken or self.taken[-1] < most - left - 1:
                self.taken.append(os.open("/dev/null", os.O_RDONLY))
        return len(self.taken)

    @handler
    async def give_descriptors_back(self) -> None:
        """Close them all."""
        while self.taken:
            os.close(self.taken.pop())

    # -- what it sends -----------------------------------------------------------------------------------------

    @handler
    async def transmit(self, messages: list[bytes]) -> None:
        """Put raw ZeroMQ messages on this loop's wire to Primary."""
        for message in messages:
            await self._put(message)

    @handler
    async def transmit_parts(self, parts: list[bytes]) -> None:
        """Put one ZeroMQ message of several parts there."""
        for part in parts[:-1]:
            await self._put(part, zmtp.MORE)
        await self._put(parts[-1])

    @handler
    async def flood(self, message: bytes, count: int) -> None:
        """Put the same message there many times, as fast as Primary takes them."""
        for _ in range(count):
            await self._put(message)

    async def _put(self, message: bytes, flags: int = 0) -> None:
        """Write one part of a message where the link writes."""
        link = self.process.role.channel._link
        if isinstance(link, ZmqLink):
            link.flush()
            while not self._took(link, message, flags):
                await asyncio.sleep(0)
            link._look_again()  # sending has swallowed the descriptor's edge
            return
        await self._put_natively(link, message, flags)

    def _took(self, link: Any, message: bytes, flags: int) -> bool:
        try:
            link._socket.send(message, zmq.NOBLOCK | (zmq.SNDMORE if flags & zmtp.MORE else 0))
        except zmq.Again:
            return False
        return True

    async def _put_natively(self, link: Any, message: bytes, flags: int) -> None:
        """The same past our own engine, which must not write meanwhile."""
        while link._ready is None or link._ready.waits:
            await asyncio.sleep(0)
        link.flush()
        wire = link._ready
        data = bytes((flags | zmtp.LONG,)) + len(message).to_bytes(8, "big") + message
        held, wire.waits = wire.waits, True
        while data:
            try:
                data = data[wire.socket.send(data) :]
            except BlockingIOError:
                await asyncio.sleep(0)
        wire.waits = held
        link.flush()

    @handler
    async def transmit_filler(self, size: int) -> None:
        """Put a message of so many bytes there; it starts as frames do."""
        await self._put(b"\x94" + bytes(size - 1))

    @handler
    async def speak_zmtp(self, message: bytes, length: int) -> bool:
        """Open one more connection to Primary and say a message there, whose length is given as `length`.

        Returns whether Primary ended the connection. While it is open Primary sends this loop's frames there as well,
        and until it has noticed the end: so all of it happens in one call, and a moment is left before its answer.
        """
        before = len(recorder.heard)
        with socket.socket(socket.AF_UNIX) as connection:
            await zmtp.shake_hands(connection, self.process.confinement.path("/channel"))
            await asyncio.get_running_loop().sock_sendall(connection, b"\x02" + length.to_bytes(8, "big") + message)
            ended: bool = await zmtp.ended(connection, before)
        await asyncio.sleep(0.05)
        return ended

    @handler
    async def speak_without_end(self, parts: bytes, times: int) -> int:
        """Open one more connection, send parts of a message that never ends, and close it; returns the bytes taken."""
        taken = 0
        with socket.socket(socket.AF_UNIX) as connection:
            await zmtp.shake_hands(connection, self.process.confinement.path("/channel"))
            try:
                for _ in range(times):
                    async with asyncio.timeout(5):
                        await asyncio.get_running_loop().sock_sendall(connection, parts)
                    taken += len(parts)
            except (OSError, TimeoutError):
                pass
        await asyncio.sleep(0.05)
        return taken

    @handler
    async def hold_connections(self, count: int, hold_s: float) -> int:
        """Open so many plain connections to Primary, say nothing for a while, and close them; returns how many."""
        held: list[socket.socket] = []
        path = f"{self.process.confinement.path('/channel')}/primary.sock"
        try:
            for _ in range(count):
                held.append(socket.socket(socket.AF_UNIX))
                held[-1].setblocking(False)
                await asyncio.sleep(0)  # to beat: each connect is carried out by the supervisor, and waits for it
                end = asyncio.get_running_loop().time() + 1
                while held[-1].connect_ex(path):  # the queue of the listener is full
                    await asyncio.sleep(0.001)
                    if asyncio.get_running_loop().time() > end:
                        return len(held)
            self.log.warning("holding %d connections", len(held))
            await asyncio.sleep(hold_s)
            return len(held)
        except OSError:
            return len(held)
        finally:
            for connection in held:
                connection.close()

    @handler
    async def disobey(self, subject: str, target: str, method: str, body: bytes) -> None:
        """Acknowledge no epoch any more, and go on sending a request with the newest keys that there are, for ever."""
        authority, endpoint = self.process.authority, self.process.hosts[subject].endpoint
        real = authority.on_message

        def deaf(name: str, *rest: Any) -> None:
            if name not in ("prepare", "commit"):
                real(name, *rest)

        async def send() -> None:
            while True:
                endpoint.epoch = max(endpoint._epochs)
                frame = endpoint.seal_request(FrameKind.REQUEST, target, method, body, boottime_ms() + 30_000)[1]
                await self._put(frame, 0)
                await asyncio.sleep(0.05)

        authority.on_message = deaf
        self.sending = asyncio.create_task(send())

    # -- what only Primary's attacker can do -------------------------------------------------------------------

    @handler
    async def deliver(self, loop: str, frames: list[bytes]) -> None:
        """Put frames on another loop's wire, past the gate."""
        for frame in frames:
            self.process.role.router._links[loop].send(frame)

    @handler
    async def deliver_to_clients(self, frames: list[bytes]) -> None:
        """Send frames to every client, past the gate."""
        for connection in list(self.process.role.router.connections):
            for frame in frames:
                self.process.role.doorway.door.send_frame(connection, frame)

    @handler
    async def grant(self, number: int, ciphertext: bytes, signature: bytes) -> None:
        """Send a grant of our own making to every client."""
        for connection in list(self.process.role.router.connections):
            self.process.role.doorway.door.granted(connection, number, ciphertext, signature)

    @handler
    async def say_to_authority(self, name: str, fields: list[Any]) -> None:
        """Send a message of our own making over the trust channel."""
        self.process.trust.send(name, *fields)

    @handler
    async def borrow(self, connection: int, certificate: bytes) -> None:
        """Ask for the session of a client for HTTP that is not there, and keep it."""
        self.process.role.handlers["delegated"] = lambda message: None
        self.process.trust.send("delegate", connection, certificate)

    @handler
    async def challenge_for(self, connection: int) -> list[bytes]:
        """Ask for a challenge in the name of a connection that there is not; return install, boot, challenge."""
        answer: asyncio.Future[list[bytes]] = asyncio.get_running_loop().create_future()
        door = self.process.role.doorway.door
        honest = door.challenged

        def challenged(number: int, challenge: bytes, install: bytes, boot: bytes, now: int) -> None:
            if number == connection and not answer.done():
                answer.set_result([install, boot, challenge])
            else:
                honest(number, challenge, install, boot, now)

        door.challenged = challenged
        try:
            self.process.trust.send("challenge", connection)
            return await asyncio.wait_for(answer, 10)
        finally:
            door.challenged = honest

    @handler
    async def swap_in_opens(self, changes: list[bytes]) -> None:
        """From now on replace this by that in every open that passes; nothing: pass them on as they are."""
        doorway = self.process.role.doorway
        honest = type(doorway).ask

        def meddle(name: str, connection: int, *fields: Any) -> None:
            if name != "open":
                honest(doorway, name, connection, *fields)
                return
            data, signature = fields
            wish = parse_open_untrusted(data)
            certificate, public, own = changes[0] or wish.certificate, changes[1] or wish.ephemeral_public, changes[2]
            data = encode_open(Open(wish.install, wish.boot, wish.challenge, certificate, public))
            if own:
                signature = sign_open(load_pem_private_key(own, None), data)
            honest(doorway, name, connection, data, signature)

        doorway.ask = meddle if changes else honest.__get__(doorway)

    @handler
    async def swap_in_enrolments(self, request: bytes, answer: bytes) -> None:
        """From now on put these in the place of signing requests and answers that pass; nothing: pass them on."""
        role, trust = self.process.role, self.process.trust
        enrolment = role.doorway.served.enrolment
        self.enrolments = getattr(self, "enrolments", [])

        def ask(number: int, code_id: bytes, asked: bytes, mac: bytes) -> None:
            self.enrolments.append([code_id, asked, mac])
            trust.send("enrol", number, enrolment._clients[number].address, code_id, request or asked, mac)

        def enrolled(message: Any) -> None:
            self.enrolments.append([message.answer, message.mac])
            enrolment.enrolled(message.connection, answer or message.answer, message.mac)

        enrolment.ask = ask
        role.handlers["enrolled"] = enrolled

    @handler
    async def seen_enrolments(self) -> list[list[bytes]]:
        """Return what passed: id, request and MAC of clients, answer and MAC of the authority."""
        return list(self.enrolments)

    @handler
    async def announce(self, chain: bytes) -> None:
        """Tell every client that is here of a succession of issuer keys of our own making."""
        told = self.process.role.doorway.door._succession
        self.process.role.doorway.door.announce_succession(chain)
        self.process.role.doorway.door._succession = told

    @handler
    async def announce_always(self, chain: bytes) -> None:
        """Tell every client that comes, before anything else."""
        self.process.role.doorway.door._succession = chain

    @handler
    async def withhold(self) -> None:
        """Tell no client any more which issuer keys follow which."""
        self.process.role.doorway.door._succession = b""
        self.process.role.doorway.door.announce_succession = lambda chain: None

    @handler
    async def try_keys(self, frame: bytes) -> int:
        """How many of the AES keys of this process open the body of a frame."""
        parts = parse_frame_untrusted(frame)
        header = parse_header_untrusted(parts.header)
        opened = 0
        for key in recorder.aes_keys:
            try:
                AESGCM(key).decrypt(nonce(header.seq), parts.body, parts.header)
            except InvalidTag:
                continue
            opened += 1
        return opened

    # -- what others call --------------------------------------------------------------------------------------

    @handler
    async def poke(self, value: int) -> int:
        """Answer with the same number."""
        return value

    @handler
    async def wait_until(self, now: int) -> None:
        """Answer when CLOCK_BOOTTIME has come to this, in ms."""
        await asyncio.sleep(max(0, now - boottime_ms()) / 1000)
