"""What the supervisor says to the authority, a method for each message. All return False when it could not be said."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from tlsrt.supervisor.supervision.boot_files import BootFiles


class AuthorityMessages(ABC):
    """The vocabulary; who speaks it has a channel."""

    epoch: int
    files: BootFiles

    @property
    @abstractmethod
    def is_booted(self) -> bool:
        """Tell whether anybody is there to answer."""

    @abstractmethod
    def _send(self, name: str, *fields: object, descriptors: Sequence[int] = ()) -> bool:
        """Send one message."""

    def attested(self, loop: str, incarnation: int) -> bool:
        """Say that a loop was looked at and may have keys."""
        return self._send("attested", loop, incarnation, self.epoch)

    def spawned(self, loop: str, incarnation: int, trust_end: int) -> bool:
        """Bring the trust end of a loop that was born again."""
        return self._send("spawned", loop, incarnation, descriptors=(trust_end,))

    def charge(self, loop: str, incarnation: int, detector: str, count: int, what: str) -> bool:
        """Say what a loop did wrong, and how often."""
        return self._send("charge", loop, incarnation, detector, count, what)

    def gone(self, loop: str, incarnation: int) -> bool:
        """Say that an incarnation is dead."""
        return self._send("gone", loop, incarnation)

    def check_reload(
        self, number: int, boot_token: int, measurement: int, policy: int, door: Sequence[int], *, moves: bool
    ) -> bool:
        """Have a changed host checked as a boot is; `on_checked` says how it went. With `moves`, `move` must follow.

        `door`: certificate, key, client CA, revocation lists.
        """
        return self._send("reload", number, int(moves), descriptors=(boot_token, measurement, policy, *door))

    def taken(self, number: int) -> bool:
        """Say that a reload which was checked is in force."""
        return self._send("taken", number)

    def rekey(self, number: int, master_key: int, boot_token: int) -> bool:
        """Have another master_key checked as at a boot; `on_rekeyed` says how it went."""
        return self._send("rekey", number, descriptors=(master_key, boot_token, self.files.measurement))

    def rotate(self, number: int, *, with_keys: bool) -> bool:
        """Ask for an epoch now, perhaps with the keys that were checked; `on_rotated` says when it is committed."""
        return self._send("rotate", number, int(with_keys))

    def move(self, number: int) -> bool:
        """Ask for an epoch that leaves no grace; `on_moved` says when it is committed."""
        return self._send("move", number)

    def lock(self, lock: bytes, reason: str, by: str, since: int) -> bool:
        """Say that the host is locked, to an authority that comes again and does not know it."""
        return self._send("lock", 0, lock, reason, by, since)

    def ask(self, name: str, *fields: object) -> bool:
        """Pass an operator's request on; `on_answer` gets the answer. False when nobody is there to answer."""
        return self.is_booted and self._send(name, *fields)
