"""`tlsrt send`, `inbox` and `outbox`: their words, and what they show."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from tlsrt.channels.cli import messages
from tlsrt.channels.cli.verbs import COMMAND
from tlsrt.command_line.parse import parse
from tlsrt.errors import InvalidArgument, NotFound

MESSAGE: dict[str, Any] = {
    "id": "3f0c6a2b" + "0" * 24, "from": "client/anna@attic", "to": "client/bob", "topic": "house.door",
    "content_type": "text/plain", "body": "one\ntwo\x1b[31m", "created_ms": 0, "expires_ms": 1, "priority": 4,
    "in_reply_to": None, "attachments": [{"name": "photo.jpg", "size": 2048, "sha256": "0" * 64}], "origin": None,
    "position": 1, "state": "new", "kept_ms": 0, "read_ms": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("inbox", (None, [])), ("inbox --follow", (None, [])), ("inbox read 3f0c", ("read", ["3f0c"])),
        ("inbox acknowledge 1 2 3", ("acknowledge", ["1", "2", "3"])), ("inbox list", ("list", [])),
        ("inbox read 3f0c --save .", ("read", ["3f0c"])), ("outbox", (None, [])), ("outbox drop 1", ("drop", ["1"])),
    ],
)  # fmt: skip
def test_words_of_inbox_and_outbox(words: str, found: tuple[str | None, list[str]]) -> None:
    _, arguments = parse(COMMAND, words.split())
    assert (arguments.what, arguments.ids) == found


def test_words_of_send() -> None:
    _, arguments = parse(COMMAND, ["send", "client/bob", "--attach", "a", "hello", "--attach", "b", "--expires", "2h"])
    assert (arguments.to, arguments.text, arguments.attach) == ("client/bob", "hello", ["a", "b"])
    assert arguments.expires == 7200
    with pytest.raises(SystemExit):
        parse(COMMAND, ["send", "client/bob", "x", "--expires", "never"])


def test_text_comes_from_standard_input_and_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(data: bytes) -> str | bytes:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        return messages._text("-")

    assert read("grüße\n".encode()) == "grüße" and read(b"\xff") == b"\xff" and messages._text("x\n") == "x\n"
    with pytest.raises(InvalidArgument, match="--attach FILE"):
        read(b"x" * 65_537)


def test_a_message_is_shown_without_what_steers_a_terminal() -> None:
    text = "\n".join(messages.inbox_lines(MESSAGE))
    assert "\x1b" not in text and "client/anna@attic" in text and text.endswith("one\ntwo\\x1b[31m")
    assert f"tlsrt get external/messages/{MESSAGE['id']}/photo.jpg" in text
    shown = messages.inbox_lines({"messages": [{**MESSAGE, "preview": "one\ntwo"}]})
    assert shown[0].split()[0] == "ID" and "3f0c6a2b" in shown[1] and "two" not in shown[1]
    assert messages.inbox_lines({"messages": []}) == ["no messages"]
    assert "(3 bytes of image/png; --json shows them)" in messages.read_lines(
        {**MESSAGE, "body": b"abc", "content_type": "image/png"}
    )


def test_what_was_kept_and_what_waits_is_told() -> None:
    kept = {"id": "1", "mailboxes": ["client/bob"], "hosts": ["attic"], "unopened": ["client/bob"]}
    assert messages.send_lines(kept) == [
        "kept 1", "in the mailbox of client/bob", "waits for the host attic",
        "note: no one has looked into the mailbox of client/bob yet",
    ]  # fmt: skip
    waiting = {
        "id": "3f0c6a2b", "from": "client/a", "to": "client/b@attic", "state": "waiting", "attempts": 3, "due_ms": 0,
        "error": "cannot reach\x07 it",
    }  # fmt: skip
    lines = messages.outbox_lines({"messages": [waiting], "hosts": {"attic": "away", "cellar": None}})
    assert "cannot reach\\x07 it" in lines[1] and lines[-1] == "host attic: away"
    assert messages.outbox_lines({"messages": [], "hosts": {}}) == ["nothing waits"]
    assert messages.outbox_lines({"done": ["1"], "what": "retry"}) == ["1 is tried again"]


def test_the_first_digits_of_an_id_are_enough() -> None:
    assert messages._whole("ab", ["abc", "abc", "b"]) == "abc"
    with pytest.raises(InvalidArgument, match="two messages begin with a"):
        messages._whole("a", ["abc", "abd"])
    with pytest.raises(NotFound):
        messages._whole("x", ["abc"])
