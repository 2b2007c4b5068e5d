"""Rest of a process that has nothing to do: no beat, no feed, and frames that wait until the authority was asked.

A process may rest when the supervisor has said that it sees it sleep. After some beats in which nothing happened it
tells the authority that it wants no feed, and does not beat before it has something to look at; asked for a beat, it
beats. After 3 s its verifier refuses everything, as any verifier without a feed does. So the first frame that comes
then is held back, the authority is asked, and its answer comes behind all that it has said meanwhile: sessions that
ended, what was revoked. Only then are that frame and those behind it checked, in their order, like any other.

What is held back is bounded in number, bytes and time. A frame beyond that is checked at once, which refuses it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from tlsrt.channels.session.verifier import FEED_SILENCE_MS, Verifier

QUIET_BEATS = 4  # in which nothing happened
LEAST_S = 2.0  # of rest that is worth it
HELD_FRAMES, HELD_BYTES = 256, 4 << 20
AGAIN_MS = 400  # after which an answer is late


class RestOwner(Protocol):
    """The process."""

    def is_quiet(self) -> bool:
        """Tell whether nothing is in flight that needs beats."""

    def next_look(self, now: float) -> float:
        """Return at which time of the event loop a beat has something to do; infinite for never."""

    def take(self, data: bytes) -> None:
        """Take a frame."""


class Authority(Protocol):
    """The conversation with the authority."""

    def rest(self) -> bool: ...
    def wake(self) -> bool: ...


class Beats(Protocol):
    """The heartbeat."""

    def rest_until(self, look: Callable[[float], float]) -> None: ...
    def go_on(self) -> None: ...


class Rest:
    """Of one process; `clock` is BOOTTIME in ms."""

    def __init__(
        self, owner: RestOwner, authority: Authority, beats: Beats, verifier: Verifier, clock: Callable[[], int]
    ) -> None:
        self._owner = owner
        self._authority = authority
        self._beats = beats
        self._verifier = verifier
        self._clock = clock
        self._may_rest = False
        self._work: object = None  # what tells whether anything happened, at the last beat
        self._quiet = 0  # beats in a row
        self._is_resting = False  # the authority sends no feed
        self._since = 0  # when it said so
        self._asked_at: int | None = None  # when what was missed was asked for, until it has come
        self._held: list[bytes] = []
        self._held_bytes = 0
        self.is_awake = True  # frames are taken as they come; what each one asks

    def allow(self) -> None:
        """Rest from now on whenever there is nothing to do."""
        self._may_rest = True

    @property
    def misses_feed(self) -> bool:
        """Tell whether a verifier without a feed is a reason to have everything sent anew."""
        return not self._is_resting and (self._asked_at is None or self._clock() - self._asked_at >= AGAIN_MS)

    def each_beat(self, now: float, work: object) -> None:
        """Rest, or go on to, if nothing has happened for some beats; `work` is another one whenever something has."""
        self._give_up()
        has_worked, self._work = work != self._work, work
        is_quiet = not has_worked and self._may_rest and self._asked_at is None and self._owner.is_quiet()
        self._quiet = self._quiet + 1 if is_quiet else 0
        if self._is_resting and not is_quiet:
            self._wake()
            return
        if not self._is_resting and (self._quiet < QUIET_BEATS or not self._verifier.is_synchronised(self._clock())):
            return
        if self._owner.next_look(now) - now < LEAST_S:
            return
        if not self._is_resting or self._is_fed():
            if not self._authority.rest():
                return
            self._is_resting, self.is_awake, self._since = True, False, self._clock()
        self._beats.rest_until(self._owner.next_look)

    def _is_fed(self) -> bool:
        """Tell whether it is fed although it rests: by another authority, which does not know it."""
        now = self._clock()
        return now - self._since > FEED_SILENCE_MS and self._verifier.is_synchronised(now)

    def holds_untrusted(self, data: bytes) -> bool:
        """Keep a frame until its verifier may judge it; False: it is to be taken now."""
        if self._is_resting:
            self._wake()
        if not self._held and self._verifier.is_synchronised(self._clock()):
            return False
        if self._held and (len(self._held) >= HELD_FRAMES or self._held_bytes + len(data) > HELD_BYTES):
            return False
        self._held.append(data)
        self._held_bytes += len(data)
        return True

    def on_trust(self) -> None:
        """Take note that the authority has said something: perhaps what was missed, or that it feeds one who rests."""
        if self._asked_at is not None and self._verifier.is_synchronised(self._clock()):
            self._asked_at = None
            asyncio.get_running_loop().call_soon(self._release)

    def end(self) -> None:
        """Rest no more: the process is about to end."""
        self._may_rest = False
        if self._is_resting:
            self._wake()

    def _wake(self) -> None:
        self._is_resting = False
        self._quiet = 0
        self._asked_at = self._clock()
        self._authority.wake()  # if it does not read now, a later beat has everything sent anew
        self._beats.go_on()

    def _give_up(self) -> None:
        """Have what waits for too long refused: the authority does not answer."""
        if self._asked_at is not None and self._clock() - self._asked_at >= FEED_SILENCE_MS:
            self._asked_at = None
            self._release()

    def _release(self) -> None:
        held, self._held, self._held_bytes = self._held, [], 0
        self.is_awake = not self._is_resting
        for data in held:
            self._owner.take(data)
