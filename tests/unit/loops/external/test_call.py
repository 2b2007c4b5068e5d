"""One call without media: its states, who answers first, hold, and the reasons for which it ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tlsrt.loops.external.call import NEXT, Call, Happening, State
from tlsrt.loops.external.call_leg import DIGIT, SILENCE, SOUND, TEXT, Piece

TONE = Piece(SOUND, b"\1\0" * 960)


class Side:
    """A party that keeps what it hears and is told."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.heard: list[Piece] = []
        self.told: list[str] = []

    def hear_live(self, piece: Piece) -> None:
        self.heard.append(piece)

    async def hear(self, piece: Piece) -> None:
        self.heard.append(piece)

    def tell(self, state: str, **more: Any) -> None:
        self.told.append(state)

    def end(self, why: str) -> None:
        self.told.append(f"ended: {why}")

    async def figures(self) -> dict[str, Any]:
        return {}


def call_of(*rung: str) -> tuple[Call, Side, list[str]]:
    ended: list[str] = []
    caller = Side("client/anna")
    return Call("1", "door", caller, "", [*rung], lambda call: ended.append(call.why)), caller, ended


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("happening", Happening)
def test_what_is_not_in_the_table_changes_nothing(state: State, happening: Happening) -> None:
    call, caller, ended = call_of("client/ben")
    call.state = state
    other = Side("client/ben")
    if happening is Happening.ANSWERED:
        assert call.is_answered_by(other) == ((state, happening) in NEXT)
    else:
        call.end("x")
        assert len(ended) == ((state, happening) in NEXT)
    assert call.state is NEXT.get((state, happening), state)
    if (state, happening) not in NEXT:
        assert caller.told == [] and call.callee is None


def test_the_first_to_answer_has_it_and_what_is_said_before_is_not_heard() -> None:
    call, caller, ended = call_of("client/ben", "third/door")
    ben, door = Side("client/ben"), Side("third/door")
    call.said_live(caller, TONE)
    assert call.is_answered_by(ben) and not call.is_answered_by(door)
    call.said_live(caller, TONE)
    call.said_live(ben, Piece(TEXT, b"hello"))
    call.said_live(door, TONE)
    assert ben.heard == [TONE] and caller.heard == [Piece(TEXT, b"hello")]
    call.end("hung up")
    call.end("again")
    call.said_live(caller, TONE)
    assert ended == ["hung up"] and caller.told == ["answered", "ended: hung up"] and ben.told == ["ended: hung up"]


@pytest.mark.parametrize(
    ("refusals", "why"),
    [(["away", "busy"], "busy"), (["busy", "declined"], "declined"), (["away", "away"], "away"), (["away"], "")],
)
def test_it_ends_when_no_one_is_left_who_could_answer(refusals: list[str], why: str) -> None:
    call, _, ended = call_of("client/ben", "third/door")
    for address, one in zip(call.rung, refusals, strict=False):
        call.is_refused("client/stranger", "declined")
        call.is_refused(address, one)
        call.is_refused(address, "declined")  # once is enough
    assert ended == ([why] if why else [])


def test_who_speaks_before_the_answer_is_not_late_after_it() -> None:
    """What a live component says is taken by a clock: a look that came late is made up for."""

    async def run() -> None:
        call, caller, _ = call_of("third/door")
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        await call.said(caller, TONE)
        while loop.time() < begun_s + 0.3:  # the process was busy for so long
            pass
        for _ in range(15):
            await call.said(caller, TONE)
        assert loop.time() - begun_s < 0.55  # by a pause after each piece it would be 0.6

    asyncio.run(run())


def test_nothing_is_heard_while_one_holds_it() -> None:
    async def run() -> None:
        call, caller, _ = call_of("third/door")
        door = Side("third/door")
        call.is_answered_by(door)
        call.hold(caller, True)
        call.hold(door, True)
        call.hold(caller, False)
        begun_s = asyncio.get_running_loop().time()
        for _ in range(3):
            await call.said(door, TONE)
        assert asyncio.get_running_loop().time() - begun_s > 0.03  # who says more than is heard is not asked faster
        call.said_live(caller, TONE)
        call.said_live(caller, Piece(DIGIT, b"1"))
        assert [piece.kind for piece in door.heard] == [DIGIT] and caller.heard == []
        call.hold(door, False)
        await call.said(door, Piece(SOUND, SILENCE))
        assert len(caller.heard) == 1 and door.told == ["held", "resumed"]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("refusals", "missed"), [(["away", "busy"], "busy"), (["declined"], "not answered"), ([], "not answered")]
)
def test_what_no_one_takes_rings_another_one_once(refusals: list[str], missed: str) -> None:
    """Who was rung before cannot take it any more; if the other one does not take it either, it is over."""
    for takes in (True, False):
        _ring_another(refusals, missed, takes=takes)


def _ring_another(refusals: list[str], missed: str, *, takes: bool) -> None:
    rung: list[str] = []
    ended: list[str] = []
    call = Call(
        "1", "door", Side("client/anna"), "", ["client/ben", "third/door"], lambda call: ended.append(call.why),
        "external/voicemail", lambda call, address: rung.append(address),
    )  # fmt: skip
    for address, why in zip(call.rung, refusals, strict=False):
        call.is_refused(address, why)
    if len(refusals) < 2:
        call.give_up("not answered")
    assert rung == ["external/voicemail"] and not ended and call.missed == missed
    assert not call.rings_at("client/ben") and call.rings_at("external/voicemail")
    call.is_refused("client/ben", "declined")
    if takes:
        assert call.is_answered_by(Side("external/voicemail"))
        call.give_up("not answered")  # a clock that is late
        assert not ended
        call.end("hung up")
    else:
        call.is_refused("external/voicemail", "away")
    assert ended == ["hung up" if takes else missed] and rung == ["external/voicemail"]
