"""Conversation with a program: what was asked and is not answered, and what the program tells unasked. Pure.

Theory of operation. Each request gets the next number as its id, and waits in `_outgoing` until the program reads; the
shell takes one line after the other (`take`), and writes each whole. A caller that gives up before that takes its line
back. One that gives up later leaves its number in `_asked`, marked, so that a late answer is no surprise; the program
is told (`cancel`), and may answer all the same. One that leaves too many of these unanswered is found out by it.

What a captured program can do here: answer late, wrongly, in any order, or not at all. An answer to a number that
was not asked with, and a line that is no message, are blunders; a few are told, more end the conversation.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tlsrt.errors import Busy
from tlsrt.loops.program.json_rpc import (
    Answer,
    Fault,
    Lines,
    Notification,
    NotJsonRpc,
    TooLong,
    decode_untrusted,
    encode_cancel,
    encode_request,
)
from tlsrt.rate_limit import Bucket

WAITING_MOST = 64  # callers at once
QUEUED_MOST = 1 << 20  # bytes that the program has not read; one line may be longer if it is alone
ABANDONED_MOST = 256  # requests that the program has read, whose callers gave up, and that it leaves unanswered
BLUNDERS_BURST, BLUNDERS_PER_S = 20, 0.5  # lines that make no sense, before the program is ended


class ConversationEnded(Exception):
    """The program does not keep to the protocol; the text says how."""


@dataclass(frozen=True, slots=True)
class Blunder:
    """A line that makes no sense, in words for the log."""

    sentence: str


Event = Answer | Fault | Notification | Blunder


class Conversation:
    """One run of a program. Time comes in as seconds of any monotonic clock."""

    def __init__(self) -> None:
        self._lines = Lines()
        self._next = 1
        self._asked: dict[int, bool] = {}  # number -> whether a caller waits for its answer
        self._waiting = 0
        self._outgoing: deque[tuple[int, bytes]] = deque()  # with the number of a request, 0 for other lines
        self._queued = 0
        self._blunders = Bucket(BLUNDERS_BURST, BLUNDERS_PER_S)

    def ask(self, method: str, params: Mapping[str, object]) -> int:
        """Queue a request; return its number. Raises Busy and InvalidArgument; then nothing is asked."""
        if self._waiting >= WAITING_MOST:
            raise Busy(f"{WAITING_MOST} calls wait for the program already")
        line = encode_request(self._next, method, params)
        if self._queued and self._queued + len(line) > QUEUED_MOST:
            raise Busy("the program does not read the calls that wait for it")
        number = self._next
        self._next += 1
        self._waiting += 1
        self._asked[number] = True
        self._put(number, line)
        return number

    def give_up(self, number: int) -> None:
        """Wait for the answer to a request no more. Raises ConversationEnded if the program owes too many."""
        if not self._asked.get(number):
            return
        self._waiting -= 1
        unread = next((one for one in self._outgoing if one[0] == number), None)
        if unread is not None:
            self._outgoing.remove(unread)
            self._queued -= len(unread[1])
            del self._asked[number]
            return
        self._asked[number] = False
        if len(self._asked) - self._waiting > ABANDONED_MOST:
            raise ConversationEnded(f"it has left {ABANDONED_MOST} calls unanswered")
        self._put(0, encode_cancel(number))

    def take(self) -> bytes:
        """Return the next line to write, which is asked for no more; empty if there is none."""
        if not self._outgoing:
            return b""
        _, line = self._outgoing.popleft()
        self._queued -= len(line)
        return line

    def _put(self, number: int, line: bytes) -> None:
        self._outgoing.append((number, line))
        self._queued += len(line)

    def receive_untrusted(self, data: bytes, now: float) -> Iterator[Event]:
        """Yield what the program says. Raises ConversationEnded."""
        try:
            for line in self._lines.feed(data):
                event = self._event(line)
                if isinstance(event, Blunder) and not self._blunders.take(now):
                    raise ConversationEnded(f"it writes what makes no sense again and again: {event.sentence}")
                if event is not None:
                    yield event
        except TooLong:
            raise ConversationEnded("it has written a line that is too long") from None

    def _event(self, line: bytes) -> Event | None:
        try:
            message = decode_untrusted(line)
        except NotJsonRpc as error:
            return Blunder(f"it wrote what is no message of JSON-RPC: {error}")
        if isinstance(message, Notification):
            return message
        if message.id is None:
            return Blunder(f"it could not read a request: {message.message}")
        waits = self._asked.pop(message.id, None)
        if waits is None:
            return Blunder("it has answered a call that was not made, or was answered")
        if not waits:
            return None
        self._waiting -= 1
        return message
