"""Pending calls of an endpoint, and how each of them ends. asyncio.

A call ends exactly once: with a result, a typed error from the other side, or an error of our own (deadline,
cancelled, unavailable, outcome unknown). A reply is taken only if its source and correlation match an open call. A
refusal of the gate ends the call but proves nothing about execution.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from tlsrt.channels.calls.batching import Batcher
from tlsrt.channels.calls.ending import Ending, Fate
from tlsrt.channels.calls.flow_control import Credit, Inbox
from tlsrt.channels.frames.body import (
    decode_bundle_untrusted,
    decode_count_untrusted,
    decode_error_untrusted,
    decode_value_untrusted,
)
from tlsrt.channels.frames.frame import (
    BUNDLE_MAX,
    FLAG_FINAL,
    FrameKind,
    Header,
    parse_frame_untrusted,
    parse_header_untrusted,
)
from tlsrt.channels.session.endpoint import Endpoint, OpenedFrame
from tlsrt.errors import CallError, DeadlineExceeded, Failed, OutcomeUnknown, PeerError, Stale, Unavailable, call_error

_REFUSALS = frozenset({"rejected", "stale", "busy", "unavailable", "locked", "deadline"})

ALARM_S = 0.2  # at most, between two readings of the clock while any call is open


class PendingCall:
    """One open call."""

    __slots__ = ("credit", "deadline", "frame", "future", "inbox", "target")

    def __init__(self, target: str, frame: bytes, deadline: int = 0) -> None:
        self.target = target
        self.frame = frame
        self.deadline = deadline  # BOOTTIME, ms; 0: a stream, which lives as long as it is renewed
        self.future: asyncio.Future[Any] | None = None
        self.inbox: Inbox[Any] | None = None
        self.credit: Credit | None = None

    def fail(self, error: CallError) -> None:
        if self.future is not None and not self.future.done():
            self.future.set_exception(error)
        if self.inbox is not None:
            self.inbox.fail(error)

    def cut(self, error: CallError) -> None:
        """End it, with what has arrived and was not read."""
        self.fail(error)
        if self.inbox is not None:
            self.inbox.cut(error)


class PendingCalls:
    """The open calls of an endpoint, by number; `clock` is the host's BOOTTIME, ms."""

    def __init__(self, endpoint: Endpoint, clock: Callable[[], int], batcher: Batcher | None) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._batcher = batcher
        self.by_number: dict[int, PendingCall] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = 0

    def add(self, seq: int, target: str, frame: bytes, deadline: int) -> asyncio.Future[Any]:
        """Open a call with one answer, and return the future of that."""
        call = self.by_number[seq] = PendingCall(target, frame, deadline)
        loop = self._loop or asyncio.get_running_loop()
        self._loop = loop  # asking for it is a system call
        future = call.future = loop.create_future()
        if not self._alarm_at or deadline < self._alarm_at:
            self._set_alarm(deadline)
        return future

    def add_stream(self, seq: int, target: str, frame: bytes) -> PendingCall:
        """Open a call that is answered by items."""
        call = self.by_number[seq] = PendingCall(target, frame)
        call.inbox = Inbox()
        return call

    def remove(self, seq: int, call: PendingCall | None) -> bool:
        """Forget a call; False if its session has ended, for then its number may be another call's."""
        if call is None or self.by_number.get(seq) is not call:
            return False
        del self.by_number[seq]
        return True

    # -- endings of many --------------------------------------------------------------------------------------

    def fail_all(self, error: CallError | None = None, unsent: Sequence[bytes] = ()) -> None:
        """End every call in flight: as unavailable if its frame is among `unsent`, else with the error.

        Unavailable invites to repeat, so what is not sealed leaves the batcher before: the channel may be up again in
        this very turn.
        """
        if self._batcher is not None:
            self._batcher.forget()
        never_written = {id(frame) for frame in unsent}
        for call in list(self.by_number.values()):
            if not call.frame or id(call.frame) in never_written:
                call.fail(Unavailable("the channel went down before the request was sent"))
            else:
                call.fail(error or OutcomeUnknown("the channel went down while the request was in flight"))

    def end_before(self, epoch: int) -> None:
        """End every call that was sealed before this epoch. It left no grace, so no answer can come."""
        for call in list(self.by_number.values()):
            if call.frame and parse_header_untrusted(parse_frame_untrusted(call.frame).header).epoch < epoch:
                call.fail(Stale(f"the epoch ended while a request to {call.target} was in flight"))

    def on_recipient_restarted(self, target: str) -> None:
        """End every call to a recipient: the incarnation that was asked serves no more."""
        for call in list(self.by_number.values()):
            if call.target == target:
                call.fail(OutcomeUnknown(f"{target} was restarted while the request was in flight"))

    def on_session_ended(self) -> None:
        """End every call of the session before. Its answers could not be opened, and its numbers come again."""
        for call in list(self.by_number.values()):
            if call.frame:
                call.fail(OutcomeUnknown(f"the session ended while a request to {call.target} was in flight"))
            else:
                call.fail(Unavailable("the session ended before the request was sent"))
        self.by_number.clear()

    def end(self, ending: Ending) -> None:
        """End the calls of an endpoint whose session is over, else those to recipients that are blocked.

        Of neither is anything taken from now on, and of streams not even what has arrived: a voice stops at once.
        """
        mine = self._endpoint
        if ending.fate(mine.session, mine.subject) is not Fate.GOES_ON:
            if self._batcher is not None:
                self._batcher.forget()
            for call in list(self.by_number.values()):
                if call.frame:
                    call.cut(OutcomeUnknown(f"the session ended while a request to {call.target} was in flight"))
                else:
                    call.cut(Unavailable("the session ended before the request was sent"))
            return
        for call in list(self.by_number.values()) if ending.subjects else ():
            if call.target in ending.subjects:
                call.cut(OutcomeUnknown(f"{call.target} was revoked while the request was in flight"))

    # -- numbers and deadlines ---------------------------------------------------------------------------------

    def on_sealed(self, numbers: range, frame: bytes) -> None:
        """Note the frame of requests that were batched."""
        for seq in numbers:
            call = self.by_number.get(seq)
            if call is not None:
                call.frame = frame

    def on_unsent(self, numbers: range, error: CallError) -> None:
        """End calls whose requests were batched and could not be sent."""
        for seq in numbers:
            call = self.by_number.get(seq)
            if call is not None:
                call.fail(type(error)(error.message))

    def _set_alarm(self, deadline: int) -> None:
        """Have one timer, at the earliest deadline of all open calls. A timer per call costs more than its call.

        Deadlines are BOOTTIME, and timers stand still while the machine is suspended, so the timer looks at the clock
        now and then: a call that is made after a suspension does not wait for the timer of one from before.
        """
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = deadline
        left_s = min(ALARM_S, max(0, deadline - self._clock()) / 1000)
        self._alarm = asyncio.get_running_loop().call_later(left_s, self._on_alarm)

    def _on_alarm(self) -> None:
        now = self._clock()
        self._alarm, self._alarm_at = None, 0
        for call in list(self.by_number.values()):
            if 0 < call.deadline <= now:
                call.fail(DeadlineExceeded(f"{call.target}: no answer in time"))
        left = [call.deadline for call in self.by_number.values() if call.deadline > now]
        if left:
            self._set_alarm(min(left))

    # -- answers ----------------------------------------------------------------------------------------------

    def on_frame_untrusted(self, data: bytes) -> None:
        """Take one frame from the channel; raise PeerError if it is not an authentic answer to us."""
        frame = parse_frame_untrusted(data)
        header = parse_header_untrusted(frame.header)
        self.on_opened_untrusted(self._endpoint.open_untrusted(frame, header, self._clock()))

    def on_opened_untrusted(self, opened: OpenedFrame) -> None:
        """Take an authentic answer. One to a call that has ended is dropped, a wrong source raises PeerError."""
        header, body, _ = opened
        if header.kind == FrameKind.REPLIES:
            self._replies_untrusted(header, body)
            return
        if len(header.correlation) != 24:
            raise PeerError("no_correlation")
        seq = int.from_bytes(header.correlation[16:], "big")
        if header.kind == FrameKind.REFUSAL:
            self._refused(seq, max(1, header.part), body)
            return
        call = self.by_number.get(seq)
        if call is None:
            return
        if header.src != call.target:
            raise PeerError("wrong_replier")
        try:
            _answer_untrusted(call, header, body)
        except PeerError as error:
            if error.reason != "bad_body":
                raise
            call.fail(_unreadable(call.target))  # no other answer will come
            raise PeerError("bad_answer") from error

    def _replies_untrusted(self, header: Header, body: bytes) -> None:
        """Take the replies of a bundle; those to calls that have ended are dropped."""
        numbers = header.correlation
        try:
            values = decode_bundle_untrusted(body, header.part)
        except PeerError as error:
            for at in range(2, 2 + header.part):
                call = self.by_number.get(int.from_bytes(numbers[8 * at : 8 * at + 8], "big"))
                if call is not None and call.target == header.src:
                    call.fail(_unreadable(call.target))
            raise PeerError("bad_answer") from error
        for at, value in enumerate(values, 2):
            call = self.by_number.get(int.from_bytes(numbers[8 * at : 8 * at + 8], "big"))
            if call is None:
                continue
            if header.src != call.target:
                raise PeerError("wrong_replier")
            if call.future is not None and not call.future.done():
                call.future.set_result(value)

    def _refused(self, last: int, count: int, body: bytes) -> None:
        """The gate has refused a request, or a bundle of `count` requests that ends with the number `last`."""
        word = body.decode("ascii", "replace")
        for seq in range(last - min(count, BUNDLE_MAX) + 1, last + 1):
            call = self.by_number.get(seq)
            if call is not None:
                if 0 < call.deadline <= self._clock():  # why it was refused, or it does not matter any more
                    word = "deadline"
                error = call_error(word if word in _REFUSALS else "rejected", _explain(word, call.target))
                error.is_told = error.from_gate = True
                call.fail(error)


def _answer_untrusted(call: PendingCall, header: Header, body: bytes) -> None:
    if header.kind == FrameKind.REPLY and call.future is not None:
        value = decode_value_untrusted(body)
        if not call.future.done():
            call.future.set_result(value)
    elif header.kind == FrameKind.ERROR:
        error = decode_error_untrusted(body)
        error.is_told = True
        call.fail(error)
    elif header.kind == FrameKind.ITEM and call.inbox is not None:
        if header.flags & FLAG_FINAL:
            call.inbox.finish(header.part)
        else:
            call.inbox.put(header.part, decode_value_untrusted(body))
    elif header.kind == FrameKind.ALLOW and call.credit is not None:
        call.credit.add(decode_count_untrusted(body))
    else:
        raise PeerError("wrong_kind")


def _unreadable(target: str) -> Failed:
    return Failed(f"cannot read the answer of {target}: it is no value within the bounds; report it to its author")


def _explain(word: str, target: str) -> str:
    return {
        "busy": "too many open calls in this session, or more frames a second than this client may send",
        "stale": f"{target} has been restarted or the epoch has ended",
        "unavailable": f"{target} is not running, or the host cannot check a message now: try again",
        "locked": "the server is locked",
        "deadline": f"{target}: no answer in time",
    }.get(word, f"the gate refused the message to {target}; the reason is in the host's log")
