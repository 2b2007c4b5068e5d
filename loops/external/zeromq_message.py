"""Messages with peers over ZeroMQ, as frames. Pure.

Each message begins with VERSION and a word. Of a peer: `ready`; `send` ID TOPIC TYPE BODY; `taken` ID; `refused` ID
WORDS. To it: `kept` ID; `refused` ID WORDS; `later` ID WORDS; `message` ID HEAD BODY, HEAD is JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tlsrt.loops.external.message import BODY_BYTES, CONTENT_TYPE, ID, TOPIC

VERSION = b"tlsrt1"
FRAME_BYTES = BODY_BYTES + 4096  # of one frame at most, which the socket holds it to
_ID = re.compile(rb"[!-~]{1,128}")
_WORDS_MOST = 200
_SHOWN = ("from", "topic", "content_type", "created_ms", "expires_ms", "in_reply_to", "attachments")


@dataclass(frozen=True, slots=True)
class Ready:
    """The peer takes messages on this connection."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A message of the peer. `problem` says why it can never be taken, "" if it may."""

    id: str
    topic: str
    content_type: str
    body: str | bytes
    problem: str


@dataclass(frozen=True, slots=True)
class Answered:
    """The peer has a message for good, or will never have it, for the reason in `words`."""

    id: str
    words: str | None


def parse_untrusted(frames: Sequence[bytes]) -> Ready | Sent | Answered:
    """Return what a peer has sent; what is no message of it is refused as one without an id. Cannot fail."""
    match frames:
        case [b"tlsrt1", b"ready"]:
            return Ready()
        case [b"tlsrt1", b"send", id, topic, kind, body] if _ID.fullmatch(id):
            return _sent(id.decode(), topic, kind, body)
        case [b"tlsrt1", b"taken", id] if ID.fullmatch(_latin(id)):
            return Answered(_latin(id), None)
        case [b"tlsrt1", b"refused", id, words] if ID.fullmatch(_latin(id)):
            text = words[: 4 * _WORDS_MOST].decode("utf-8", "replace")[:_WORDS_MOST]
            return Answered(_latin(id), "".join(each if each.isprintable() else "?" for each in text))
    return Sent("", "", "", b"", "these frames are none of tlsrt1: see the guide to messages by ZeroMQ")


def answer(word: bytes, id: str, words: str = "") -> list[bytes]:
    """Return the frames that answer `send`: kept, refused or later."""
    return [VERSION, word, id.encode(), *([words.encode()] if word != b"kept" else [])]


def message(kept: dict[str, Any]) -> list[bytes]:
    """Return the frames of a message of a mailbox."""
    body = kept["body"]
    head = json.dumps({name: kept[name] for name in _SHOWN} | {"is_text": isinstance(body, str)})
    return [VERSION, b"message", kept["id"].encode(), head.encode(), body.encode() if isinstance(body, str) else body]


def _sent(id: str, topic: bytes, kind: bytes, body: bytes) -> Sent:
    text, topic_text, problem = _text(body), _latin(topic), ""
    kind_text = _latin(kind) or ("application/octet-stream" if isinstance(text, bytes) else "text/plain")
    if topic_text and not TOPIC.fullmatch(topic_text):
        problem = "the topic is no name such as house.door"
    elif not CONTENT_TYPE.fullmatch(kind_text):
        problem = "the type is none such as text/plain"
    elif len(body) > BODY_BYTES:
        problem = f"the body has more than {BODY_BYTES} bytes"
    return Sent(id, topic_text, kind_text, text, problem)


def _text(body: bytes) -> str | bytes:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return body


def _latin(frame: bytes) -> str:
    return frame[:256].decode("latin-1")
