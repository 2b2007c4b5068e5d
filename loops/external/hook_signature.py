"""Signatures of webhooks that come in: Standard Webhooks (standardwebhooks.com), and X-Hub-Signature-256. Pure.

A signature is compared with those of all keys in constant time, so a key can be replaced while both are in use. What
makes a delivery another one is taken of signed bytes alone: the id of Standard Webhooks; the body, where nothing else
is signed. So a repetition under another id is still a repetition.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

TOLERANCE_S = 300
KEYS_MOST = 4
_KEY_BYTES = 16
_SIGNATURES_MOST = 8  # of one delivery: a sender that replaces its key has two
# With a dot in it, "a.1" at 2 with the body "x" has the same signed bytes as "a" at 1 with the body "2.x".
_ID = re.compile(r"[!-\-/-~]{1,256}")
_TIME = re.compile(r"[1-9][0-9]{0,11}")
_EVENT = re.compile(r"[a-z][a-z_]{0,39}")

Headers = Mapping[str, Sequence[str]]  # names in lower case


class NotGenuineError(Exception):
    """A delivery is not of who has the key, or not of now. The text is for the operator, and never for the sender."""


@dataclass(frozen=True, slots=True)
class Genuine:
    """A delivery that is signed: what tells it from others of the same hook, and its event, which no one has signed."""

    unique: str
    event: str = ""


def keys_of(secret: bytes) -> list[bytes]:
    """Return the keys of a secret, one a line: `whsec_` and base64, or a text. Raises ValueError."""
    keys: list[bytes] = []
    for line in secret.split(b"\n"):
        text = line.strip()
        if text.startswith(b"whsec_"):
            try:
                text = base64.b64decode(text[6:].rstrip(b"=") + b"=" * (-len(text[6:].rstrip(b"=")) % 4), validate=True)
            except binascii.Error:
                raise ValueError("what is behind whsec_ is no base64: copy it again") from None
        elif not text:
            continue
        if len(text) < _KEY_BYTES:
            raise ValueError(f"a key has {len(text)} bytes: it takes at least {_KEY_BYTES}")
        keys.append(text)
    if not 0 < len(keys) <= KEYS_MOST:
        raise ValueError(f"it has {len(keys)} keys: write one a line, at most {KEYS_MOST}")
    return keys


def verify_standard_untrusted(keys: Sequence[bytes], headers: Headers, body: bytes, now_s: int) -> Genuine:
    """Check webhook-id, webhook-timestamp and webhook-signature over id, time and body. Raises NotGenuineError."""
    id, at = _one(headers, "webhook-id"), _one(headers, "webhook-timestamp")
    given = _one(headers, "webhook-signature").split(" ")
    if not _ID.fullmatch(id) or not _TIME.fullmatch(at):
        raise NotGenuineError("its webhook-id or webhook-timestamp is not well-formed")
    if len(given) > _SIGNATURES_MOST:
        raise NotGenuineError(f"it has more than {_SIGNATURES_MOST} signatures")
    expected = [b"v1," + base64.b64encode(_mac(key, b"%s.%s." % (id.encode(), at.encode()), body)) for key in keys]
    _compare(expected, given)
    if abs(now_s - int(at)) > TOLERANCE_S:  # after the signature: who has no key learns nothing of the clock
        raise NotGenuineError(f"it was signed {now_s - int(at)} s ago, and {TOLERANCE_S} s are allowed")
    return Genuine(f"id {id}")


def verify_github_untrusted(keys: Sequence[bytes], headers: Headers, body: bytes, now_s: int) -> Genuine:
    """Check x-hub-signature-256 over the body, which has no id and no time that is signed. Raises NotGenuineError."""
    given = [_one(headers, "x-hub-signature-256")]
    _compare([b"sha256=" + hmac.digest(key, body, "sha256").hex().encode() for key in keys], given)
    events = headers.get("x-github-event", ())
    event = events[0] if len(events) == 1 and _EVENT.fullmatch(events[0]) else ""
    return Genuine(f"body {hashlib.sha256(body).hexdigest()}", event)


STYLES = {"standard": verify_standard_untrusted, "github": verify_github_untrusted}


def _mac(key: bytes, head: bytes, body: bytes) -> bytes:
    """Return the HMAC-SHA256 over both, of which a large body is not copied."""
    running = hmac.new(key, head, "sha256")
    running.update(body)
    return running.digest()


def _one(headers: Headers, name: str) -> str:
    found = headers.get(name, ())
    if len(found) != 1:
        raise NotGenuineError(f"it has {len(found)} headers {name}, and one is needed")
    return found[0]


def _compare(expected: Sequence[bytes], given: Sequence[str]) -> None:
    """Compare each with each, without an end at the first that fits. Raises NotGenuineError."""
    is_one = False
    for one in expected:
        for text in given:
            is_one |= hmac.compare_digest(one, text.encode("utf-8"))
    if not is_one:
        raise NotGenuineError("no signature of it is of a key of this hook")
