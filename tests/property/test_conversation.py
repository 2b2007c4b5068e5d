"""JSON-RPC of a program: every stream of bytes is messages, blunders or an end, however it is cut."""

from __future__ import annotations

import contextlib
import json

from hypothesis import given
from hypothesis import strategies as st

from tlsrt.loops.program.conversation import WAITING_MOST, Blunder, Conversation, ConversationEnded
from tlsrt.loops.program.json_rpc import Answer, Fault, Lines, Notification, NotJsonRpc, decode_untrusted

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
JUNK = st.binary(max_size=200) | st.text(alphabet='{}[]":,0123456789eE.-+tfn\\u jsonrpcidmethod\n', max_size=200).map(
    str.encode
)


@given(JUNK)
def test_every_line_is_a_message_or_the_one_error(data: bytes) -> None:
    with contextlib.suppress(NotJsonRpc):
        assert isinstance(decode_untrusted(data), Answer | Fault | Notification)


@given(VALUES)
def test_what_json_can_say_comes_back(value: object) -> None:
    line = json.dumps({"jsonrpc": "2.0", "id": 3, "result": value}).encode()
    assert decode_untrusted(line) == Answer(3, value)


@given(st.lists(JUNK, max_size=5), st.data())
def test_lines_do_not_depend_on_how_they_are_cut(pieces: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    parts = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    together, apart = Lines(most=4096), Lines(most=4096)
    assert list(together.feed(whole)) == [line for part in parts for line in apart.feed(part)]


STEPS = st.lists(
    st.sampled_from(["ask", "take", "give up"]) | st.integers(-2, 12) | JUNK.filter(lambda one: b"\n" not in one),
    max_size=60,
)


@given(STEPS)
def test_a_random_walk_answers_each_caller_once_and_never_raises_anything_else(steps: list[str | int | bytes]) -> None:
    """An integer is an answer to that request."""
    conversation = Conversation()
    waiting: set[int] = set()
    with contextlib.suppress(ConversationEnded):
        for now, step in enumerate(steps):
            if step == "ask" and len(waiting) < WAITING_MOST:
                waiting.add(conversation.ask("boil", {}))
            elif step == "take":
                conversation.take()
            elif step == "give up" and waiting:
                conversation.give_up(waiting.pop())
            elif not isinstance(step, str):
                text = step if isinstance(step, bytes) else b'{"jsonrpc": "2.0", "id": %d, "result": 1}' % step
                for event in conversation.receive_untrusted(text + b"\n", float(now)):
                    if isinstance(event, Answer):
                        assert event.id in waiting
                        waiting.remove(event.id)
                    else:
                        assert isinstance(event, Blunder | Fault | Notification)
