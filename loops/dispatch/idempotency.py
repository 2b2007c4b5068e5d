"""Idempotency keys: a repetition gets the answer of the first request. Pure but for the futures.

An answer stays at least until the deadline of its caller (a call is repeated until then), and after it as
long as there is room. Where what has to stay leaves no room, a new key is refused as `busy` before anything runs, and
that is charged to the subject: the keys of one take no more than a quarter from all others. An answer that is too
large for the room that is left was given once; a repetition is told that it ran.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable

from tlsrt.channels.frames.body import encode_error
from tlsrt.channels.frames.frame import FrameKind
from tlsrt.errors import Busy, OutcomeUnknown

KEYS_MAX = 65_536
KEYS_PER_SUBJECT = KEYS_MAX // 4
BYTES_MAX = 16 * 1024 * 1024
BYTES_PER_SUBJECT = BYTES_MAX // 4
KEPT = 1024  # so many stay when no repetition has to be answered any more
SLACK_MS = 5_000
SWEEP_MS = 100  # not sooner again: a sweep visits all

Key = tuple[str, str, str]  # subject, method, idempotency key
Answer = tuple[FrameKind, bytes]


class _Promise:
    """One key: its answer, and until when it has to stay (BOOTTIME, ms)."""

    __slots__ = ("answer", "size", "until")

    def __init__(self, answer: asyncio.Future[Answer], until: int) -> None:
        self.answer = answer
        self.until = until
        self.size = 0


class IdempotentAnswers:
    """The answers of one component, oldest first; `clock` is BOOTTIME in ms."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._promises: OrderedDict[Key, _Promise] = OrderedDict()
        self._keys: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._total = 0
        self._sweep_at = 2 * KEPT
        self._swept = -SWEEP_MS

    def __len__(self) -> int:
        return len(self._promises)

    def known(self, key: Key, deadline: int) -> asyncio.Future[Answer] | None:
        """Return the answer of a key that has come before, for a caller that waits until `deadline`."""
        promise = self._promises.get(key)
        if promise is None:
            return None
        promise.until = max(promise.until, deadline + SLACK_MS)
        return promise.answer

    def promise(self, key: Key, deadline: int) -> asyncio.Future[Answer]:
        """Have repetitions wait for an answer from this very moment. Raise Busy without room for one more key."""
        subject = key[0]
        if len(self._promises) >= self._sweep_at:
            self._sweep(KEPT)
        if self._is_full(subject):
            self._sweep(0)
            if self._is_full(subject):
                raise Busy("too many idempotency keys are to be remembered; the request was not executed")
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._promises[key] = _Promise(answer, deadline + SLACK_MS)
        self._keys[subject] += 1
        return answer

    def keep(self, key: Key, answer: Answer) -> None:
        """Give the answer to all that wait for it now or repeat the request."""
        promise = self._promises.get(key)
        if promise is None or promise.answer.done():
            return
        promise.answer.set_result(answer)
        subject, size = key[0], len(answer[1])
        if self._total + size > BYTES_MAX or self._bytes[subject] + size > BYTES_PER_SUBJECT:
            lost = OutcomeUnknown("it ran, and its answer was too large to be kept for a repetition")
            promise.answer = asyncio.get_running_loop().create_future()
            promise.answer.set_result((FrameKind.ERROR, encode_error(lost)))
            return
        promise.size = size
        self._bytes[subject] += size
        self._total += size

    def break_promise(self, key: Key) -> None:
        """Forget a key whose request was cancelled: a repetition may run it again."""
        promise = self._promises.get(key)
        if promise is not None and not promise.answer.done():
            self._forget(key)
            promise.answer.cancel()

    def _is_full(self, subject: str) -> bool:
        return (
            len(self._promises) >= KEYS_MAX or self._keys[subject] >= KEYS_PER_SUBJECT
            or self._total >= BYTES_MAX or self._bytes[subject] >= BYTES_PER_SUBJECT
        )  # fmt: skip

    def _sweep(self, kept: int) -> None:
        """Forget the oldest that may not be repeated any more, down to so many."""
        now = self._clock()
        if now < self._swept + SWEEP_MS:
            return
        self._swept = now
        for key, promise in list(self._promises.items()):
            if len(self._promises) <= kept:
                break
            if promise.answer.done() and promise.until <= now:
                self._forget(key)
        self._sweep_at = 2 * max(KEPT, len(self._promises))

    def _forget(self, key: Key) -> None:
        promise = self._promises.pop(key)
        subject = key[0]
        self._keys[subject] -= 1
        self._bytes[subject] -= promise.size
        self._total -= promise.size
        if not self._keys[subject]:
            del self._keys[subject], self._bytes[subject]
