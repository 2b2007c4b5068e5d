"""Pending calls of an endpoint, and how each of them ends. asyncio.

A call ends exactly once: with a result, a typed error from the other side, or an error of our own (deadline,
cancelled, unavailable, outcome unknown). A reply is taken only if its source and correlation match an open call. A
refusal of the gate ends the call but proves nothing about execution.

Who awaits an answer goes on at the end of the turn that brought it, when all of that turn has been read: then nothing
that it does comes between two answers, and what it asks next leaves with that turn. Where a task runs just then, which
wrote its own frame, it goes on in the next turn.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from struct import Struct
from typing import Any

from tlsrt.channels.calls.batching import Batcher
from tlsrt.channels.calls.ending import Ending, Fate
from tlsrt.channels.calls.flow_control import Inbox
from tlsrt.channels.calls.pending_call import AwaitedCall, PendingCall
from tlsrt.channels.frames.body import (
    decode_bundle_untrusted,
    decode_count_untrusted,
    decode_error_untrusted,
    decode_value_untrusted,
)
from tlsrt.channels.frames.frame import (
    BUNDLE_MAX,
    FLAG_FINAL,
    SESSION_BYTES,
    FrameKind,
    Header,
    parse_frame_untrusted,
    parse_header_untrusted,
)
from tlsrt.channels.session.endpoint import Endpoint, OpenedFrame
from tlsrt.errors import CallError, DeadlineExceeded, Failed, OutcomeUnknown, PeerError, Stale, Unavailable, call_error

_REFUSALS = frozenset({"rejected", "stale", "busy", "unavailable", "locked", "deadline"})
_REPLY = int(FrameKind.REPLY)
_NUMBERS = [Struct(f">{count}Q") for count in range(BUNDLE_MAX + 1)]
_NEVER = 1 << 64

ALARM_S = 0.2  # at most, between two readings of the clock while any call is open


class PendingCalls:
    """The open calls of an endpoint, by number; `clock` is the host's BOOTTIME, ms."""

    def __init__(self, endpoint: Endpoint, clock: Callable[[], int], batcher: Batcher | None) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._batcher = batcher
        self.by_number: dict[int, PendingCall] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = _NEVER
        self._answered: deque[AwaitedCall] = deque()  # in this turn, whose askers go on at its end

    @property
    def has_company(self) -> bool:
        """Tell whether another asker of this turn is to go on."""
        return bool(self._answered)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Return the event loop of those who wait. Keep it: asking for it is a system call."""
        loop = self._loop = asyncio.get_running_loop()
        return loop

    def add_awaited(self, call: AwaitedCall) -> None:
        """Take a call with its number: from now on it is open."""
        self.by_number[call.seq] = call
        if call.deadline < self._alarm_at:
            self._set_alarm(call.deadline)

    def add(self, seq: int, target: str, frame: bytes, deadline: int) -> asyncio.Future[Any]:
        """Open a call with one answer, and return the future of that."""
        call = self.by_number[seq] = PendingCall(target, frame, deadline)
        future = call.future = asyncio.get_running_loop().create_future()
        if deadline < self._alarm_at:
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

    def close(self, call: AwaitedCall | None) -> bool:
        """Forget a call that was awaited and has no answer; False if it was forgotten before."""
        return call is not None and self.remove(call.seq, call)

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

    # -- deadlines ---------------------------------------------------------------------------------------------

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
        self._alarm, self._alarm_at = None, _NEVER
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
            if header.kind == _REPLY and type(call) is AwaitedCall:
                value = decode_value_untrusted(body)
                del self.by_number[seq]
                self._take(((call, value),))
            else:
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
        source, by_number = header.src, self.by_number
        taken: list[tuple[AwaitedCall, Any]] = []
        try:
            for seq, value in zip(_NUMBERS[header.part].unpack_from(numbers, SESSION_BYTES), values, strict=True):
                call = by_number.get(seq)
                if call is None:
                    continue
                if source != call.target:
                    raise PeerError("wrong_replier")
                if type(call) is AwaitedCall:
                    del by_number[seq]
                    taken.append((call, value))
                elif call.future is not None and not call.future.done():
                    call.future.set_result(value)
        finally:
            self._take(taken)

    # -- those who wait ---------------------------------------------------------------------------------------

    def _take(self, answers: Iterable[tuple[AwaitedCall, Any]]) -> None:
        """Take the answers of calls, and have their askers go on at the end of this turn."""
        answered = self._answered
        were = len(answered)
        for call, value in answers:
            if not call.is_done:
                call.value, call.is_done = value, True
                if call.wake is not None:
                    answered.append(call)
        if answered and not were:
            if self._batcher is not None:
                self._batcher.at_end(self._wake)
            elif self._loop is not None:
                self._loop.call_soon(self._wake)

    def _wake(self) -> None:
        """Have the askers of what was answered go on, in the order of the answers."""
        answered = self._answered
        is_free = asyncio.current_task(self._loop) is None
        try:
            while is_free and answered:
                answered.popleft().wake_now()
        finally:  # within a task, and behind one that ended the process
            while answered:
                answered.popleft().wake_soon()

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
