"""Idempotency keys: a repetition gets the answer of the first request. Pure but for the futures.

An answer stays at least until the deadline of every caller that asked for it (a call is repeated until then), and after
it as long as there is room. Where what has to stay leaves no room, a new key is refused as `busy` before anything runs,
and that is charged to the subject: the keys of one take no more than a quarter from all others. An answer that is too
large for the room that is left was given once; a repetition is told that it ran.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b

from tlsrt.bounded_table import NEVER, BoundedTable, WhenFull
from tlsrt.channels.frames.body import encode_error, encode_request
from tlsrt.channels.frames.frame import FrameKind
from tlsrt.errors import Busy, Conflict, OutcomeUnknown

BYTES_MAX = 16 * 1024 * 1024
BYTES_PER_SUBJECT = BYTES_MAX // 4
KEY_BYTES = 256  # what a key is counted as, beside its answer: 65,536 keys in all
KEPT = 1024  # so many stay when no repetition has to be answered any more
SLACK_MS = 5_000

DIGEST_BYTES = 16

Key = tuple[str, str, str]  # subject, method, idempotency key
Answer = tuple[FrameKind, bytes]


def digest_of(args: Sequence[object], kwargs: Mapping[str, object]) -> bytes:
    """Return the digest of a call's arguments; those that have a name have no order."""
    return blake2b(encode_request(args, dict(sorted(kwargs.items())), None), digest_size=DIGEST_BYTES).digest()


class _Promise:
    """One key: its answer, and until when that has to stay (BOOTTIME, ms)."""

    __slots__ = ("answer", "digest", "until")

    def __init__(self, answer: asyncio.Future[Answer], until: int, digest: bytes) -> None:
        self.answer = answer
        self.digest = digest
        self.until = until


class IdempotentAnswers:
    """The answers of one component; `clock` is BOOTTIME in ms. A promise expires once it is answered, not before."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._promises: BoundedTable[Key, _Promise] = BoundedTable(BYTES_MAX, BYTES_PER_SUBJECT, WhenFull.REFUSE)

    def __len__(self) -> int:
        return len(self._promises)

    def known(self, key: Key, deadline: int, digest: bytes = b"") -> asyncio.Future[Answer] | None:
        """Return the answer of a key that has come before, for a caller that waits until `deadline`.

        Raises Conflict if it came with arguments of another digest: that answer would be to another question.
        """
        row = self._promises.get(key)
        if row is None:
            return None
        promise = row.value
        if promise.digest != digest:
            raise Conflict("the idempotency key was used with other arguments: take a new key for another request")
        if deadline + SLACK_MS > promise.until:
            promise.until = deadline + SLACK_MS
            if row.expires != NEVER:
                self._promises.touch(key, promise.until)
        return promise.answer

    def promise(self, key: Key, deadline: int, digest: bytes = b"") -> asyncio.Future[Answer]:
        """Have repetitions wait for an answer from this very moment. Raise Busy without room for one more key."""
        now = self._clock()
        if len(self._promises) >= 2 * KEPT:
            self._promises.expire(now, keep=KEPT)
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        if not self._promises.add(
            key, _Promise(answer, deadline + SLACK_MS, digest), key[0], now, size=KEY_BYTES
        ).is_added:
            raise Busy("too many idempotency keys are to be remembered; the request was not executed")
        return answer

    def keep(self, key: Key, answer: Answer) -> None:
        """Give the answer to every caller that waits for it now or asks again."""
        row = self._promises.get(key)
        if row is None or row.value.answer.done():
            return
        promise = row.value
        promise.answer.set_result(answer)
        if not self._promises.resize(key, KEY_BYTES + len(answer[1]), self._clock()):
            lost = OutcomeUnknown("it ran, and its answer was too large to be kept for a repetition")
            promise.answer = asyncio.get_running_loop().create_future()
            promise.answer.set_result((FrameKind.ERROR, encode_error(lost)))
        self._promises.touch(key, promise.until)

    def break_promise(self, key: Key) -> None:
        """Whatever this key was to run has been cancelled: a repetition may run it again."""
        row = self._promises.get(key)
        if row is not None and not row.value.answer.done():
            self._promises.remove(key)
            row.value.answer.cancel()
