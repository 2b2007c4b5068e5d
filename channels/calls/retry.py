"""Retry policy: whether a failed call may be sealed again, and its final error. Pure.

A call is repeated by itself in two cases. One that certainly did not run (its frame was never written, or its recipient
says that it has not read it) is, for a moment. One with an idempotency key is, until its deadline: its recipient
runs it once, and remembers. But a recipient that was started anew remembers nothing; so from the first attempt that
may have run on, every repetition names the incarnation that it was sent to, and another one runs it only if the method
may run twice, or if it wrote down what it ran. Else it answers `outcome_unknown`.

A refusal of the gate is not sealed and proves nothing, so an attempt that it ended may have run. Only Primary, which is
the gate, knows better: it calls for HTTP clients, whose repetitions are calls of their own, and remembers the first use
of a key for them.
"""

from __future__ import annotations

from tlsrt.channels.frames.frame import parse_frame_untrusted, parse_header_untrusted
from tlsrt.errors import Away, Busy, CallError, DeadlineExceeded, OutcomeUnknown, Rejected, Stale, Unavailable

AWAY_S = 5.0  # so long a call that was never sent waits for a recipient that is being restarted
PAUSE_S, PAUSE_MAX_S = 0.005, 0.1  # a restarted peer serves again after about the first


class FirstUse:
    """Where an idempotency key may have run first, over all calls with it. For Primary, which trusts its own gate."""

    __slots__ = ("_attempts", "incarnation")

    def __init__(self) -> None:
        self.incarnation: int | None = None
        self._attempts = 0  # that may have run

    def begin(self, incarnation: int) -> None:
        """Note an attempt that was sent to an incarnation of the recipient."""
        self._attempts += 1
        if self.incarnation is None:
            self.incarnation = incarnation

    def undo(self) -> None:
        """Note that an attempt did not run."""
        self._attempts -= 1
        if not self._attempts:
            self.incarnation = None


class Retry:
    """The attempts of one call. `life` counts the hosts that the caller has known: incarnations belong to one.

    With `first`, which belongs to one host, the calls before this one count as its attempts. With `wait_s` the caller
    has said how long to wait for a recipient that has surely not run it, and for room among calls of its own. A Busy
    that is told may come from a handler that has begun, and is not repeated.
    """

    __slots__ = ("_first", "_is_sent", "_key", "_own", "_wait_s", "_waited_s", "pause_s")

    def __init__(self, key: str | None, first: FirstUse | None = None, wait_s: float | None = None) -> None:
        self._wait_s = wait_s
        self._key = key
        self._first = first
        self._is_sent = False  # the attempt under way, with `first`
        self._own: tuple[int, int] | None = None  # life and incarnation of the first attempt that may have run
        self._waited_s = 0.0
        self.pause_s = PAUSE_S

    @property
    def _tried(self) -> tuple[int, int] | None:
        if self._first is None or self._first.incarnation is None:
            return self._own
        return 0, self._first.incarnation

    def sent(self, frame: bytes) -> None:
        """Take note of an attempt that was sent."""
        if self._first is not None:
            self._first.begin(parse_header_untrusted(parse_frame_untrusted(frame).header).mailbox)
            self._is_sent = True

    def key(self, life: int) -> str | tuple[str, int] | None:
        """Return the key of the next request, with the incarnation that may have run it (0: another host's)."""
        if self._key is None or self._tried is None:
            return self._key
        return self._key, self._tried[1] if self._tried[0] == life else 0

    def may_follow(self, error: CallError, frame: bytes, life: int) -> bool:
        """Take note of an attempt that failed; `frame` is what was sealed for it, if anything."""
        is_unread = isinstance(error, Away) or (isinstance(error, Unavailable) and not error.is_told)
        if self._first is not None and self._is_sent:
            self._is_sent = False
            if is_unread or error.from_gate or (error.is_told and isinstance(error, Busy)):
                self._first.undo()
        if self._wait_s is not None and (is_unread or (isinstance(error, Busy) and not error.is_told)):
            return self._waited_s < self._wait_s
        if is_unread:
            return self._key is not None or self._waited_s < AWAY_S
        is_lost = not error.is_told and isinstance(error, (OutcomeUnknown, Stale))
        is_refused = error.from_gate and isinstance(error, (Unavailable, Rejected, Stale))
        if self._key is None or not (is_lost or is_refused):
            return False
        if frame and self._first is None and self._own is None:
            self._own = life, parse_header_untrusted(parse_frame_untrusted(frame).header).mailbox
        return True

    def wait(self) -> None:
        """Count a pause; the next one is longer."""
        self._waited_s += self.pause_s
        self.pause_s = min(self.pause_s * 1.5, PAUSE_MAX_S)

    def verdict(self, error: CallError) -> CallError:
        """Return the error for the caller. None says that nothing ran, if an earlier attempt may have run."""
        from_recipient = error.is_told and not error.from_gate
        if self._tried is None or from_recipient or isinstance(error, (OutcomeUnknown, DeadlineExceeded)):
            return error
        return OutcomeUnknown(f"the request may have run before it was repeated: {error.message}")
