"""Programs of a process: whichever call is cancelled, no permit is lost and no answer is taken for another."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from tlsrt.channels.control.life import LIFE, ProgramMessage, ProgramOverMessage
from tlsrt.channels.control.program_outcome import Outcome
from tlsrt.channels.control.seqpacket import ControlChannel
from tlsrt.config.components import ComponentConfig
from tlsrt.config.programs import ProgramConfig
from tlsrt.errors import Busy
from tlsrt.loops.component.secrets import ComponentSecrets
from tlsrt.loops.runtime.programs import ASKED_BURST, LOGGED_BURST, ComponentPrograms, ProcessPrograms


class Stage:
    """One component with one program, of which one run at a time may be; the supervisor's side by hand."""

    def __init__(self, life: ControlChannel) -> None:
        program = ProgramConfig("cat", Path("/bin/cat"), "a test", at_once=1)
        component = ComponentConfig("third", "runner", "", programs=(program,))
        self.process = ProcessPrograms([component], life)
        self.log = logging.getLogger("stage")
        self.programs: ComponentPrograms = self.process.of(
            component.address, self.log, ComponentSecrets("third/runner", (), {})
        )
        self.number = 0

    def answer(self) -> list[socket.socket]:
        """Begin what is asked for, and return the supervisor's ends."""
        self.number += 1
        pairs = [socket.socketpair() for _ in range(3)]
        self.process.begun(ProgramMessage(0, self.number), [one.detach() for one, _ in pairs])
        return [other for _, other in pairs]

    def end(self) -> None:
        self.process.over(ProgramOverMessage(0, self.number, int(Outcome.ENDED), 0))

    async def is_free(self) -> bool:
        """Tell whether one more run is possible, and its sockets are those that are answered now."""
        asking = asyncio.ensure_future(self.programs.begin("cat"))
        await turns()
        theirs = self.answer()
        pipes = await asyncio.wait_for(asking, 5)
        is_right = pipes.number == self.number
        pipes.close()
        self.end()
        for one in theirs:
            one.close()
        return is_right


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
def ends() -> Iterator[tuple[ControlChannel, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.setblocking(False)
    life = ControlChannel(ours.detach(), LIFE)
    yield life, theirs
    life.close()
    theirs.close()


def on(life: ControlChannel, act: Callable[[Stage], Awaitable[None]]) -> None:
    async def run() -> None:
        await act(Stage(life))

    asyncio.run(run())


def test_cancelled_before_the_request_is_sent(ends: tuple[ControlChannel, socket.socket]) -> None:
    async def act(stage: Stage) -> None:
        now = asyncio.get_running_loop().time()
        for _ in range(ASKED_BURST):
            stage.process._asked.take(now)
        asking = asyncio.ensure_future(stage.programs.begin("cat"))
        await turns()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        with pytest.raises(BlockingIOError):
            ends[1].recv(64)
        await asyncio.wait_for(stage.programs._queues["cat"].room.acquire(), 5)

    on(ends[0], act)


def test_a_supervisor_that_takes_no_request_is_busy_and_no_permit_is_lost(
    ends: tuple[ControlChannel, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tlsrt.loops.runtime.programs.PAUSES_S", (0.0,))
    ends[1].close()

    async def act(stage: Stage) -> None:
        with pytest.raises(Busy):
            await asyncio.wait_for(stage.programs.begin("cat"), 5)
        queue = stage.programs._queues["cat"]
        assert not queue.asked and not queue.room.locked()

    on(ends[0], act)


@pytest.mark.parametrize("is_answered", [False, True])
def test_cancelled_after_the_request_its_sockets_are_closed(
    is_answered: bool, ends: tuple[ControlChannel, socket.socket]
) -> None:
    async def act(stage: Stage) -> None:
        asking = asyncio.ensure_future(stage.programs.begin("cat"))
        await turns()
        theirs = stage.answer() if is_answered else []
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        theirs = theirs or stage.answer()
        assert [one.recv(1) for one in theirs] == [b"", b"", b""]
        for one in theirs:
            one.close()
        stage.end()
        assert await stage.is_free()
        assert await stage.is_free()

    on(ends[0], act)


def test_of_many_lines_only_those_that_are_logged_are_decoded(
    ends: tuple[ControlChannel, socket.socket], caplog: pytest.LogCaptureFixture
) -> None:
    async def act(stage: Stage) -> None:
        with caplog.at_level(logging.INFO, "stage"):
            stage.programs.log("cat", 1, [b"\xff" * 2000] * 8192)
        assert len(caplog.records) == LOGGED_BURST
        assert stage.programs._dropped == 8192 - LOGGED_BURST

    on(ends[0], act)
