"""A conversation with a program: what it may say, what ends it, and what a captured program cannot do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tlsrt.errors import Busy, InvalidArgument
from tlsrt.loops.program.conversation import (
    ABANDONED_MOST,
    BLUNDERS_BURST,
    QUEUED_MOST,
    WAITING_MOST,
    Blunder,
    Conversation,
    ConversationEnded,
)
from tlsrt.loops.program.json_rpc import (
    LINE_MOST,
    Answer,
    Fault,
    Lines,
    Notification,
    NotJsonRpc,
    TooLong,
    decode_untrusted,
)


def line(**members: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **members}).encode()


def said(conversation: Conversation, *lines: bytes, now: float = 0.0) -> list[object]:
    return list(conversation.receive_untrusted(b"".join(one + b"\n" for one in lines), now))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"hello", "not JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[1, 2]", "not an object"),
        (b'{"id": 1, "result": 2}', "2.0"),
        (b'{"jsonrpc": 2.0, "id": 1, "result": 2}', "2.0"),
        (line(id="1", result=2), "id"),
        (line(id=True, result=2), "id"),
        (line(id=1.0, result=2), "id"),
        (line(result=2), "id"),
        (line(id=1), "one of result and error"),
        (line(id=1, result=2, error={"code": 1, "message": "x"}), "one of result and error"),
        (line(id=1, error={"code": "1", "message": "x"}), "code"),
        (line(id=1, error="no"), "code"),
        (line(id=1, method="boil"), "can only notify"),
        (line(method=""), "method"),
        (line(method="x" * 65), "method"),
        (b'{"jsonrpc": "2.0", "id": 1, "result": NaN}', "NaN"),
        (b'{"jsonrpc": "2.0", "id": 1, "result": [-1e999]}', "too large"),
        (b'{"jsonrpc": "2.0", "id": 1, "result": 18446744073709551616}', "64 bits"),
        (b'{"jsonrpc": "2.0", "id": 1, "result": ' + b"9" * 5000 + b"}", "64 bits"),
        (b'{"jsonrpc": "2.0", "id": 1, "result": "\\ud800"}', "half a character"),
        (b'{"jsonrpc": "2.0", "id": 1, "result": {"\\udc00": 1}}', "half a character"),
        (b'{"jsonrpc": "2.0", "id": 1, "result": ' + b"[" * 40 + b"]" * 40 + b"}", "deep"),
        (b'{"jsonrpc": "2.0", "id": 1, "result": ' + b"[" * 100_000, "not JSON"),
        (b'{"jsonrpc": "2.0", "id": 1, "result": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "not JSON|deep"),
        (b'{"jsonrpc": "2.0", "id": 1, "result": [' + b"[]," * 9000 + b"0]}", "more than 8192"),
    ],
)
def test_what_is_no_message_is_refused_in_words(text: bytes, why: str) -> None:
    with pytest.raises(NotJsonRpc, match=why):
        decode_untrusted(text)


def test_answers_faults_and_notifications_are_told_apart() -> None:
    assert decode_untrusted(line(id=7, result=None)) == Answer(7, None)
    result = [1.5, "\U0001f600", {"a": None}]
    assert decode_untrusted(line(id=7, result=result)) == Answer(7, result)
    assert decode_untrusted(line(id=7, result=1, error=None)) == Answer(7, 1)
    assert decode_untrusted(line(id=7, error={"code": -32602, "message": "a\nb"})) == Fault(7, -32602, "a\\nb")
    assert decode_untrusted(line(id=None, error={"code": -32700, "message": ""})) == Fault(None, -32700, "")
    assert decode_untrusted(line(method="event", params={"a": 1})) == Notification("event", {"a": 1})
    assert decode_untrusted(line(method="event", params=[1])) == Notification("event", {})


def test_a_line_is_found_however_its_bytes_come_and_is_bounded() -> None:
    lines = Lines(most=8)
    assert [list(lines.feed(bytes([byte]))) for byte in b"ab\n\ncd\n"] == [[], [], [b"ab"], [], [], [], [b"cd"]]
    assert list(lines.feed(b"12345678\n1\n12345")) == [b"12345678", b"1"]
    with pytest.raises(TooLong):
        list(lines.feed(b"6789"))
    with pytest.raises(TooLong):
        list(Lines(most=8).feed(b"123456789\n"))


def test_an_answer_reaches_its_request_in_any_order_and_once() -> None:
    conversation = Conversation()
    first, second = conversation.ask("boil", {"litres": 1}), conversation.ask("boil", {"litres": 2})
    assert json.loads(conversation.take()) == {"jsonrpc": "2.0", "id": first, "method": "boil", "params": {"litres": 1}}
    assert conversation.take().endswith(b"\n")
    assert conversation.take() == b""
    assert said(conversation, line(id=second, result=2), line(id=first, result=1)) == [
        Answer(second, 2), Answer(first, 1),
    ]  # fmt: skip
    (again,) = said(conversation, line(id=first, result=3))
    assert isinstance(again, Blunder)
    (unmade,) = said(conversation, line(id=99, result=3))
    assert isinstance(unmade, Blunder)


def test_a_caller_that_gives_up_takes_its_line_back_or_has_the_program_told() -> None:
    conversation = Conversation()
    read, unread = conversation.ask("boil", {}), conversation.ask("boil", {})
    conversation.take()
    conversation.give_up(unread)
    assert conversation.take() == b"", "what the program has not read, it never sees"
    conversation.give_up(read)
    conversation.give_up(read)
    assert json.loads(conversation.take()) == {"jsonrpc": "2.0", "method": "cancel", "params": {"id": read}}
    assert said(conversation, line(id=read, result=1)) == [], "a late answer is no surprise"
    assert isinstance(said(conversation, line(id=read, result=1))[0], Blunder), "a second one is"


def test_callers_are_bounded_and_so_is_what_waits_to_be_read() -> None:
    conversation = Conversation()
    numbers = [conversation.ask("boil", {}) for _ in range(WAITING_MOST)]
    with pytest.raises(Busy):
        conversation.ask("boil", {})
    conversation.take()
    conversation.give_up(numbers[0])
    conversation.ask("boil", {})
    greedy = Conversation()
    for _ in range(7):
        greedy.ask("boil", {"text": "x" * (QUEUED_MOST // 8)})
    with pytest.raises(Busy, match="does not read"):
        greedy.ask("boil", {"text": "x" * (QUEUED_MOST // 8)})


def test_a_program_that_never_answers_is_found_out() -> None:
    conversation = Conversation()

    def ask_in_vain() -> None:
        number = conversation.ask("boil", {})
        while conversation.take():
            pass
        conversation.give_up(number)

    for _ in range(ABANDONED_MOST):
        ask_in_vain()
    with pytest.raises(ConversationEnded, match="unanswered"):
        ask_in_vain()


def test_a_few_blunders_are_told_and_a_flood_ends_it() -> None:
    conversation = Conversation()
    assert len(said(conversation, *[b"junk"] * BLUNDERS_BURST)) == BLUNDERS_BURST
    with pytest.raises(ConversationEnded, match="again and again"):
        said(conversation, b"junk")
    with pytest.raises(ConversationEnded, match="too long"):
        list(Conversation().receive_untrusted(b"x" * (LINE_MOST + 1), 0.0))


def test_what_json_cannot_say_is_refused_before_it_is_asked() -> None:
    conversation = Conversation()
    for value in (float("nan"), b"bytes", "\ud800", "x" * LINE_MOST):
        with pytest.raises(InvalidArgument):
            conversation.ask("boil", {"value": value})
    assert conversation.take() == b""
