"""The supervisor's end of the channel to the authority, with a method for each message.

Every method returns False when the message could not be sent: there is no authority, or it has closed its end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tlsrt.channels.control.authority_channel import AUTHORITY_CHANNEL
from tlsrt.channels.control.seqpacket import ControlChannel
from tlsrt.errors import PeerError


class AuthorityChannel:
    """One channel at a time, over all incarnations of the authority.

    `state` is that of the message table, "new", "attested" or "booted"; `on_stalled` is called when the authority does
    not read what it is sent.
    """

    def __init__(self, sender: str, on_stalled: Callable[[], None]) -> None:
        self._sender = sender
        self._on_stalled = on_stalled
        self._channel: ControlChannel | None = None
        self.state = "new"

    def open(self, descriptor: int) -> None:
        """Talk to an authority that was just forked, over our end of its channel."""
        self._channel = ControlChannel(descriptor, AUTHORITY_CHANNEL)
        self.state = "new"

    def close(self, forget: Callable[[int], None]) -> None:
        """Close the channel, if it is open."""
        if self._channel is not None:
            forget(self._channel.fileno())
            self._channel.close()
            self._channel = None
        self.state = "new"

    @property
    def is_booted(self) -> bool:
        """Whether there is an authority that serves."""
        return self.state == "booted"

    def receive(self) -> tuple[str, Any, list[int]] | None:
        """Return the next message, its NamedTuple and descriptors; None if there is none. Raises PeerError."""
        if self._channel is None:
            return None
        return self._channel.receive(self._sender, self.state, descriptors=True)

    def boot(self, boot_id: bytes, files: Sequence[int]) -> bool:
        """Hand over the boot files and the boot nonce; `booted` or `refused` is the answer."""
        return self._send("boot", boot_id, descriptors=files)

    def stop(self) -> bool:
        """Ask the authority to end."""
        return self._send("stop")

    def events(self, lines: Sequence[bytes]) -> bool:
        """Hand on events for components. An authority that does not read is not blamed for these."""
        if self._channel is None or not self.is_booted:
            return False
        try:
            self._channel.send("events", list(lines))
        except PeerError:
            return False
        return True

    def attested(self, loop: str, incarnation: int, epoch: int) -> bool:
        """Say that a loop was attested and may have the keys of this epoch."""
        return self._send("attested", loop, incarnation, epoch)

    def spawned(self, loop: str, incarnation: int, trust_end: int) -> bool:
        """Bring the trust end of a loop that was restarted."""
        return self._send("spawned", loop, incarnation, descriptors=(trust_end,))

    def charge(self, loop: str, incarnation: int, detector: str, count: int, what: str) -> bool:
        """Say what a loop did wrong, and how often."""
        return self._send("charge", loop, incarnation, detector, count, what)

    def alert(self, component: str, detector: str, times: int, what: str) -> bool:
        """Say which anomaly of the host a component reports, and how often."""
        return self._send("alert", component, detector, times, what)

    def gone(self, loop: str, incarnation: int) -> bool:
        """Say that an incarnation has ended."""
        return self._send("gone", loop, incarnation)

    def check_reload(
        self, number: int, boot_token: int, measurement: int, policy: int, door: Sequence[int], *, moves: int
    ) -> bool:
        """Have a changed host checked as a boot is; `checked` is the answer. With `moves`, `move` must follow.

        ONLY_ADDS as `moves` says that no process which runs is ended or changed by it.

        `door`: certificate, key, client CA, revocation lists.
        """
        return self._send("reload", number, moves, descriptors=(boot_token, measurement, policy, *door))

    def taken(self, number: int) -> bool:
        """Say that a reload which was checked is in force."""
        return self._send("taken", number)

    def rekey(self, number: int, master_key: int, boot_token: int, measurement: int) -> bool:
        """Have another master_key checked as at a boot; `rekeyed` is the answer."""
        return self._send("rekey", number, descriptors=(master_key, boot_token, measurement))

    def rotate(self, number: int, *, with_keys: bool) -> bool:
        """Ask for an epoch now, perhaps with the keys that were checked; `rotated` answers."""
        return self._send("rotate", number, int(with_keys))

    def move(self, number: int) -> bool:
        """Ask for the epoch of a reload; `moved` says when it is committed."""
        return self._send("move", number)

    def lock(self, lock: bytes, reason: str, by: str, since: int) -> bool:
        """Say that the host is locked, to an authority that comes again and does not know it."""
        return self._send("lock", 0, lock, reason, by, since)

    def ask(self, name: str, *fields: object) -> bool:
        """Send a request that only an authority that serves can answer."""
        return self.is_booted and self._send(name, *fields)

    def _send(self, name: str, *fields: object, descriptors: Sequence[int] = ()) -> bool:
        if self._channel is None:
            return False
        try:
            self._channel.send(name, *fields, descriptors=descriptors)
        except PeerError as error:
            if error.reason == "hung":
                self._on_stalled()
            return False
        return True
