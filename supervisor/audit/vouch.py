"""Vouch: what the audit log knows of the authority's state, so that an older one cannot take its place unseen. Pure.

Each write of the state has a number. The records `boot`, `resumed` and `stop`, and `state_kept` after a change that
matters, say which number was on the disk, and what was in it. A state file with a lower number than the log's last word
is older than the log: a backup, or a roll-back. The number is that of a write that was synced before its record was
made, so a kill or a power cut never makes an honest state look old.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from tlsrt.errors import PeerError
from tlsrt.supervisor.audit.record import HASH, LogRecord, read_entry_untrusted

SUBJECT = "authority"
KEPT = "state_kept"
_KINDS = frozenset({"boot", "resumed", "stop", KEPT})
_MARK = b"\xa5state"  # as the name of the number stands in a body


class StateSummary(NamedTuple):
    """What was on the disk of the state."""

    state: int = 0  # number of the write
    epoch: int = 0
    life: int = 0  # boots of the authority
    revocation: int = 0
    locked: int = 0
    clients: int = 0  # checksum of the registry

    def detail(self) -> dict[str, str | int]:
        """Return it as a record says it."""
        return dict(self._asdict())

    def is_other_than(self, before: StateSummary) -> bool:
        """Tell whether more has changed than the number."""
        return self._replace(state=before.state) != before

    def __str__(self) -> str:
        locked = ", locked" if self.locked else ""
        return f"number {self.state} (epoch {self.epoch}, revocation {self.revocation}{locked})"


def last_vouch(newest_first: Iterable[bytes]) -> StateSummary | None:
    """Return the log's last word on the state; the files come newest first. None if it has never said any."""
    for data in newest_first:
        for start in reversed(_marked(data)):
            try:
                entry = read_entry_untrusted(data, start)
            except PeerError:
                continue
            if entry is not None and isinstance(entry.value, LogRecord):
                found = _vouched(entry.value)
                if found is not None:
                    return found
    return None


def _marked(data: bytes) -> list[int]:
    """Return where the entries begin that may say a number, up to one that is not whole."""
    found, at = list[int](), 0
    while at + 4 <= len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "big")
        if end + 2 * HASH > len(data):
            break
        if data.find(_MARK, at + 4, end) >= 0:
            found.append(at)
        at = end + 2 * HASH
    return found


def _vouched(record: LogRecord) -> StateSummary | None:
    said = dict(record.detail)
    if record.kind not in _KINDS or record.subject != SUBJECT or "state" not in said:
        return None
    numbers = [said.get(name, 0) for name in StateSummary._fields]
    if any(type(number) is not int or number < 0 for number in numbers):
        return None
    return StateSummary(*map(int, numbers))
