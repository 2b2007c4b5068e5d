"""How many streams one subject may hold open at a component."""

from __future__ import annotations

import asyncio

from tlsrt.channels.frames.frame import FrameKind, Header
from tlsrt.loops.dispatch.in_flight import STREAMS_MAX, STREAMS_OF_ONE, InFlight, RunningCall


def stream(subject: str, number: int) -> RunningCall:
    name = f"{subject} {number}".encode().rjust(16, b"\0")
    header = Header(1, FrameKind.REQUEST, name[:16], number, 0, subject, "a/b", 1, 1, "watch", 1, 60_000, b"", 0)
    return RunningCall(name, header)


def test_a_subject_has_its_share_of_streams_and_gets_a_place_back_for_each_that_ends() -> None:
    flight = InFlight(lambda: 0)
    own = [stream("client/a", number) for number in range(STREAMS_OF_ONE + 1)]
    assert [flight.open_stream(each) for each in own] == [True] * STREAMS_OF_ONE + [False]
    assert flight.open_stream(stream("client/b", 0))
    flight.release(own[-1])  # what was refused gives nothing back
    assert not flight.open_stream(own[-1])
    flight.release(own[0])
    assert flight.open_stream(own[-1])


def test_all_streams_of_a_component_are_bounded() -> None:
    flight = InFlight(lambda: 0)
    opened = [flight.open_stream(stream(f"client/c{number % 100}", number)) for number in range(STREAMS_MAX + 1)]
    assert opened == [True] * STREAMS_MAX + [False]


def test_a_stream_that_ends_by_itself_gives_its_place_back() -> None:
    async def scene() -> bool:
        flight = InFlight(lambda: 0)
        for number in range(3 * STREAMS_OF_ONE):
            request = stream("client/a", number)
            if not flight.open_stream(request):
                return False
            flight.spawn(request, asyncio.sleep(0), None)
            assert request.task is not None
            await request.task
            await asyncio.sleep(0)
        return True

    assert asyncio.run(scene())
