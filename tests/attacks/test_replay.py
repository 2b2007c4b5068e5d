"""Attacked sentence: every frame has its own seq, and what is not higher than the last one is refused."""

from __future__ import annotations

import msgpack
from attackers.arena import THIEF, Arena, header_of

from tlsrt.channels.frames.frame import FrameKind


def execute(arena: Arena) -> bytes:
    """Let the thief add 1 as its policy allows; return the frame that did it."""
    frame = arena.third.genuine()
    arena.third.send(frame)
    arena.total += 1
    arena.unharmed()
    arena.mark()
    return frame


def test_an_exact_replay_of_a_request_is_not_executed_again(arena: Arena) -> None:
    frame = execute(arena)
    arena.third.send(frame)
    arena.refused("replay", told=["rejected"])


def test_a_replay_among_honest_frames_of_one_message_is_refused_alone(arena: Arena) -> None:
    old, new = execute(arena), arena.third.genuine()
    arena.room(2)
    arena.third.send(msgpack.packb([1, old, new, old]))
    arena.total += 1
    arena.refused("replay", "replay", told=["rejected", "rejected"])


def test_an_older_frame_that_was_held_back_is_refused(arena: Arena) -> None:
    held_back = arena.third.genuine()
    execute(arena)
    arena.third.send(held_back)
    arena.refused("replay", told=["rejected"])


def test_a_replay_over_a_second_connection_of_the_same_loop_is_refused(arena: Arena) -> None:
    frame = execute(arena)
    assert not arena.third.do("speak_zmtp", frame, len(frame))
    arena.refused("replay")


def test_an_exact_replay_of_a_reply_reaches_nobody(arena: Arena) -> None:
    request = arena.third.genuine("external/thief", "poke", 7)
    arena.external.do("frames")
    arena.third.send(request)
    reply = next(
        frame
        for frame in arena.external.do("frames")["said"]
        if header_of(frame).kind == FrameKind.REPLY and header_of(frame).dst == THIEF
    )
    assert [header_of(frame).kind for frame in arena.third.heard()] == [FrameKind.REPLY]
    arena.external.send(reply)
    arena.refused("replay")
    assert arena.third.heard() == []
