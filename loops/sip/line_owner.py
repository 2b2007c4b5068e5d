"""Who has the connection of a `Line`: what it sends, and hears of telephones and calls."""

from __future__ import annotations

from typing import Protocol

from tlsrt.loops.sip.call import Call


class LineOwner(Protocol):
    """Who has the connection."""

    def write(self, data: bytes) -> None:
        """Send bytes."""

    def end(self, why: str) -> None:
        """Close the connection."""

    def random(self, count: int) -> bytes:
        """Return random bytes."""

    def proven(self, telephone: str) -> bool:
        """Hear who is at the other end; return whether it may be."""
        ...

    def guessed(self, telephone: str) -> None:
        """Hear of a wrong password."""

    def registered(self, target: str, expires_s: int) -> None:
        """Hear at which URI the telephone wants to be rung; 0 s: not any more."""

    def offered(self, call: Call) -> tuple[int, str]:
        """Hear of a call; return 100 if it is taken up, or the status and sentence of why not."""
        ...

    def rings(self, call: Call) -> None:
        """Hear that the other side rings."""

    def talks(self, call: Call) -> None:
        """Hear that sound can go both ways."""

    def changed(self, call: Call) -> None:
        """Hear that the media of a call have other terms."""

    def ended(self, call: Call) -> None:
        """Hear that a call is over; `why` of it says why."""
