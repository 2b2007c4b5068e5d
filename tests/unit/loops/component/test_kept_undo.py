"""An undo that is kept outside of the host, as its component sees it: kept, refused, released, or of no program."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from tlsrt import Failed, MisuseError, Program
from tlsrt.loops.component.program import Pipes

REQUESTS = b"requests of rtnetlink"


@dataclass
class OneRun:
    """Hands over one end of each socket; the test is the process of the undo."""

    pairs: list[tuple[socket.socket, socket.socket]] = field(
        default_factory=lambda: [socket.socketpair() for _ in range(4)]
    )
    has_undo: bool = True

    async def begin(self, name: str) -> Pipes:
        for one, _ in self.pairs:
            one.setblocking(False)
        data, errors, leash, undo = (one for one, _ in self.pairs)
        over: asyncio.Future[tuple[int, int]] = asyncio.get_running_loop().create_future()
        return Pipes(1, data, errors, leash, over, undo=undo if self.has_undo else None)

    def secrets(self, name: str) -> bytes:
        return b""

    def log(self, name: str, number: int, lines: Sequence[bytes]) -> None:
        """It says nothing."""

    @property
    def theirs(self) -> socket.socket:
        return self.pairs[3][1]

    def close(self) -> None:
        for one, other in self.pairs:
            one.close()
            other.close()


async def kept(run: OneRun, answer: bytes) -> None:
    async with Program(run, "ip", []) as running:
        run.theirs.sendall(answer)
        if not answer:
            run.theirs.shutdown(socket.SHUT_WR)
        undo = await running.keep_undo(REQUESTS, 60)
    with pytest.raises(MisuseError, match="does not run"):
        await running.keep_undo(REQUESTS, 60)
    assert run.theirs.recv(8 + len(REQUESTS)) == struct.pack("!II", len(REQUESTS), 60) + REQUESTS
    run.theirs.setblocking(False)
    with pytest.raises(BlockingIOError):  # it outlives the run, and nothing is said
        run.theirs.recv(1)
    undo.release()
    undo.release()
    assert run.theirs.recv(2) == b"D" and run.theirs.recv(1) == b""


def test_it_outlives_the_run_until_it_is_released() -> None:
    run = OneRun()
    asyncio.run(kept(run, b"K"))
    run.close()


@pytest.mark.parametrize(("answer", "why"), [(b"Rnot_an_undo", "not_an_undo"), (b"", "this host keeps none")])
def test_what_is_not_kept_is_a_sentence(answer: bytes, why: str) -> None:
    run = OneRun()
    with pytest.raises(Failed, match=f"no process outside of the host would undo it: {why}"):
        asyncio.run(kept(run, answer))
    run.close()


def test_a_program_without_one_says_what_to_declare() -> None:
    run = OneRun(has_undo=False)
    with pytest.raises(MisuseError, match="declare it with `undo_s`"):
        asyncio.run(kept(run, b"K"))
    run.close()
