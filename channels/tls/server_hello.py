"""What our own TLS chose, read from the ServerHello that it is about to send. Pure.

Before Python 3.15 its `ssl` neither lets groups and suites be chosen nor tells the group. The ServerHello is in clear
(RFC 8446, section 4.1.3), so the engine looks at it before it leaves and refuses a choice that is not on its list.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

_HANDSHAKE, _SERVER_HELLO, _KEY_SHARE = 22, 2, 51
_RETRY = hashlib.sha256(b"HelloRetryRequest").digest()


class Choice(NamedTuple):
    """Group and suite of a connection, or, with a HelloRetryRequest, of the next hello."""

    group: int
    suite: int
    is_retry: bool


def read_choice(data: bytes) -> Choice | None:
    """Return what the ServerHello at the begin of `data` says; None if there is none, as before an alert."""
    if len(data) < 79 or data[0] != _HANDSHAKE or data[5] != _SERVER_HELLO:
        return None
    at = 9 + 2 + 32
    is_retry = data[at - 32 : at] == _RETRY
    at += 1 + data[at]  # the session id comes back
    suite = int.from_bytes(data[at : at + 2], "big")
    at += 3
    end = at + 2 + int.from_bytes(data[at : at + 2], "big")
    at += 2
    group = 0
    while at < end:
        if int.from_bytes(data[at : at + 2], "big") == _KEY_SHARE:
            group = int.from_bytes(data[at + 4 : at + 6], "big")
        at += 4 + int.from_bytes(data[at + 2 : at + 4], "big")
    return Choice(group, suite, is_retry)
