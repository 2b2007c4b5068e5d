"""The revocations that a verifier knows, and whether it knows all of them. Pure.

The authority numbers its revocations without gaps. One message carries one of them; a snapshot, in pages, carries all
that still matter, and takes the place of whatever was known. A number that is missing, a page that is missing, a kind
that is unknown: from then on the list is not whole, until a whole snapshot has come. What is on the list stays on it
all the same, for a list that is not whole can only refuse.

Sessions and tokens are never forgiven, so a snapshot takes none of them away; they are forgotten when the last token
that they can hit has expired. Subjects are, so there the snapshot is the truth: an authority that came again may have
forgiven one of which its predecessor could not tell us.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tlsrt.channels.session.token import LIFETIME_MAX_MS
from tlsrt.errors import PeerError

SUBJECT = "subject"
KINDS = ("session", "token", SUBJECT)
KEPT_MS = 2 * LIFETIME_MAX_MS  # no token is minted for what is revoked, so the last token has expired long before
SWEEP_AT = 1024  # entries of a kind, before those are looked for that can be forgotten

Entry = tuple[str, bytes]


class RevokedList:
    """What is revoked, by kind; `number` is that of the last revocation heard of. Times are BOOTTIME in ms."""

    def __init__(self) -> None:
        self._known: dict[str, dict[bytes, int]] = {kind: {} for kind in KINDS}  # value: when it was learned
        self._sweep_at = dict.fromkeys(KINDS, SWEEP_AT)
        self._pages: list[Entry] = []
        self._serial = 0  # of the snapshot that is being put together; 0: none
        self._next = 0
        self.number = 0
        self.is_whole = False

    def add(self, number: int, kind: str, value: bytes, now: int) -> None:
        """Learn one revocation."""
        self._follow(number)
        self._learn(kind, value, now)

    def restore(self, number: int, subject: bytes) -> None:
        """Learn that a subject is forgiven."""
        self._follow(number)
        if self.is_whole:
            self._known[SUBJECT].pop(subject, None)

    def page(self, serial: int, page: int, pages: int, number: int, entries: Sequence[Any], now: int) -> bool:
        """Take a page of a snapshot; return whether that was the last one missing. Raises PeerError for no entries.

        `serial` is of the snapshot and above 0; a page out of turn ends what has been put together so far.
        """
        found = [_entry(entry) for entry in entries]
        if page == 0:
            self._serial, self._pages = serial, []
        elif serial != self._serial or page != self._next:
            self._serial = 0
            return False
        self._next = page + 1
        self._pages += found
        if self._next < pages:
            return False
        self._serial, self.number, self.is_whole = 0, number, True
        self._known[SUBJECT].clear()
        for kind, value in self._pages:
            self._learn(kind, value, now)
        self._pages = []
        return True

    def has(self, session: bytes, token: bytes, subject: str) -> bool:
        """Tell whether any of these is revoked."""
        known = self._known
        return session in known["session"] or token in known["token"] or subject.encode() in known[SUBJECT]

    def has_subject(self, subject: str) -> bool:
        """Tell whether a subject is revoked."""
        return subject.encode() in self._known[SUBJECT]

    @property
    def sessions(self) -> frozenset[bytes]:
        """The sessions that are revoked."""
        return frozenset(self._known["session"])

    @property
    def subjects(self) -> frozenset[str]:
        """The subjects that are revoked."""
        return frozenset(subject.decode(errors="replace") for subject in self._known[SUBJECT])

    def __len__(self) -> int:
        return sum(map(len, self._known.values()))

    def _follow(self, number: int) -> None:
        if number > self.number + 1:
            self.is_whole = False  # one is missing
        self.number = max(self.number, number)

    def _learn(self, kind: str, value: bytes, now: int) -> None:
        known = self._known.get(kind)
        if known is None:
            self.is_whole = False  # a newer authority's; who it hits is not known, so no frame may pass
            return
        if kind != SUBJECT and len(known) >= self._sweep_at[kind]:
            for old in [old for old, learned in known.items() if learned < now - KEPT_MS]:
                del known[old]
            self._sweep_at[kind] = max(SWEEP_AT, 2 * len(known))
        known[value] = now


def _entry(entry: Any) -> Entry:
    if not (isinstance(entry, list) and tuple(map(type, entry)) == (str, bytes)):
        raise PeerError("bad_snapshot")
    return entry[0], entry[1]
