"""What bridge and inbox say to each other."""

from __future__ import annotations

from typing import TypedDict

BATCH_MOST = 64  # messages in one call
BATCH_BYTES = 100_000  # of payload in one call, if there is more than one message
PAYLOAD_MOST = 200_000  # bytes of one message: a call has room for 270 KB


class Message(TypedDict):
    """A message as the broker gave it."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
