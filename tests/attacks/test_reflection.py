"""Attacked sentence: a frame belongs to one direction between two sessions; sent back, it is nobody's."""

from __future__ import annotations

from attackers.arena import FOREIGN, THIEF, VICTIM, Arena, header_of

from tlsrt.channels.frames.frame import FrameKind


def test_a_request_sent_back_by_its_recipient_is_refused(arena: Arena) -> None:
    arena.third.send(arena.third.genuine(FOREIGN, "poke", 1))
    arena.unharmed()
    request = next(frame for frame in arena.external.do("frames")["heard"] if header_of(frame).src == THIEF)
    arena.mark()
    arena.external.send(request)
    arena.refused("session_elsewhere")
    assert arena.third.heard() == []


def test_a_reply_sent_back_to_its_sender_is_refused(arena: Arena) -> None:
    arena.third.send(arena.third.genuine(VICTIM, "value"))
    arena.unharmed()
    reply = arena.third.heard()[-1]
    assert header_of(reply).kind == FrameKind.REPLY
    arena.mark()
    arena.third.send(reply)
    arena.refused("session_elsewhere", told=[])


def test_a_request_that_primary_reflects_is_not_its_senders(arena: Arena) -> None:
    frame = arena.third.genuine()
    arena.client.call("primary/captured", "deliver", "third", [frame])
    arena.client.call("third/io", "describe")  # behind it on the same wire
    arena.refused("not_mine", by="third")


def test_a_reply_that_primary_reflects_to_the_replier_is_no_answer(arena: Arena) -> None:
    arena.third.send(arena.third.genuine(VICTIM, "value"))
    arena.unharmed()
    reply = arena.third.heard()[-1]
    arena.mark()
    arena.client.call("primary/captured", "deliver", "secondary", [reply])
    arena.refused("not_mine", by="secondary")
