"""Attacked sentence: an answer is forwarded only from whom was asked, to who asked, while the call is open.

What the gate drops here is no offence in its eyes, since honest answers cross the end of their call all the time: it
is not logged, and nothing of it arrives anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from attackers.arena import FOREIGN, IN_PRIMARY, THIEF, VICTIM, Arena, answer_to, header_of, request_body

from tlsrt.channels.frames.frame import FLAG_FINAL, FrameKind, Header


@contextmanager
def open_call(arena: Arena) -> Iterator[tuple[Header, Future[Any]]]:
    """An honest call of the client that stays open in the block: its header and its result."""
    arena.client.call(IN_PRIMARY, "carried")
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(arena.client.call, VICTIM, "hold")
        arena.client.call(VICTIM, "value")
        while not (found := _holds(arena)):
            continue
        arena.mark()
        yield found[0], result
        assert not result.done(), "the call was ended by an attacker"
        arena.client.call(VICTIM, "release")
        assert result.result(10) == "the true answer"


def _holds(arena: Arena) -> list[Header]:
    headers = [header_of(data) for _, _, data in arena.client.call(IN_PRIMARY, "carried")]
    return [header for header in headers if header.method == "hold" and header.kind == FrameKind.REQUEST]


def answer(arena: Arena, request: Header, **changes: Any) -> bytes:
    """Return an answer of the thief to a request, sealed with the best keys that it has."""
    name = request.session + request.seq.to_bytes(8, "big")
    fields: dict[str, Any] = {
        "kind": FrameKind.REPLY,
        "dst": request.src,
        "method": request.method,
        "correlation": name,
    } | changes
    header = arena.third.header(**fields)
    return arena.third.forge(header, request_body(), body_key=arena.third.reply_key(request))


@pytest.mark.parametrize("kind", [FrameKind.REPLY, FrameKind.ERROR, FrameKind.ITEM, FrameKind.ALLOW])
def test_an_answer_that_nobody_asked_for(arena: Arena, kind: FrameKind) -> None:
    request = arena.external.header(VICTIM, "value")  # it was never sent
    arena.third.send(answer(arena, request, kind=kind))
    arena.refused(told=[])
    assert arena.external.heard() == []


@pytest.mark.parametrize("kind", [FrameKind.REPLY, FrameKind.ERROR, FrameKind.ITEM])
def test_an_answer_to_somebody_elses_call(arena: Arena, kind: FrameKind) -> None:
    with open_call(arena) as (request, _):
        arena.third.send(answer(arena, request, kind=kind, flags=FLAG_FINAL if kind == FrameKind.ITEM else 0))
        arena.refused(told=[])


def test_an_answer_to_somebody_elses_call_in_the_name_of_its_recipient(arena: Arena) -> None:
    with open_call(arena) as (request, _):
        arena.third.send(answer(arena, request, src=VICTIM))
        arena.refused("wrong_source", told=[])


@pytest.mark.parametrize("kind", [FrameKind.CANCEL, FrameKind.CREDIT, FrameKind.PART, FrameKind.REFUSAL])
def test_a_word_about_somebody_elses_call_to_its_recipient(arena: Arena, kind: FrameKind) -> None:
    with open_call(arena) as (request, _):
        arena.third.send(answer(arena, request, kind=kind, dst=VICTIM, method="hold"))
        arena.refused(told=[])


def test_a_cancel_of_somebody_elses_call_that_primary_lets_pass(arena: Arena) -> None:
    """It is well sealed by a session that may talk to the recipient; the recipient sees that the call is another's."""
    with open_call(arena) as (request, _):
        name = request.session + request.seq.to_bytes(8, "big")
        header = arena.third.header(VICTIM, "hold", kind=FrameKind.CANCEL, correlation=name)
        arena.client.call(IN_PRIMARY, "deliver", "secondary", [arena.third.forge(header)])
        arena.refused("foreign_request", by="secondary")


def test_a_second_answer_to_a_call_that_has_ended(arena: Arena) -> None:
    request = arena.third.genuine(FOREIGN, "poke", 1)
    arena.third.send(request)
    arena.external.heard()  # it has answered before it answers this
    asked = header_of(request)
    assert [header_of(frame).kind for frame in arena.third.heard()] == [FrameKind.REPLY]
    header = arena.external.header(THIEF, "poke", kind=FrameKind.REPLY, correlation=answer_to(request))
    arena.external.send(arena.external.forge(header, b"\x07", body_key=arena.external.reply_key(asked)))
    arena.refused(told=[])
    assert arena.third.heard() == []


def test_a_stream_that_nobody_subscribed_to(arena: Arena) -> None:
    with open_call(arena) as (request, _):
        frames = [answer(arena, request, kind=FrameKind.ITEM, part=part) for part in range(20)]
        arena.third.send(*frames)
        arena.refused(told=[])
