"""Recovery: finds where a file of an earlier life ended, to go on behind it. Pure.

A life that was killed leaves a file without FINAL, perhaps with half an entry at its end. Nothing of it is changed:
the header of the next file says up to where it is good, and is signed.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from tlsrt.config import key_schedule
from tlsrt.errors import PeerError
from tlsrt.supervisor.audit.record import CUT, FINAL, HASH, Checkpoint, LogHeader, chain_after, read_entry_untrusted
from tlsrt.supervisor.audit.signer import ChainLink
from tlsrt.supervisor.audit.verify import FileKey


@dataclass(frozen=True, slots=True)
class Ending:
    """How a file ended."""

    link: ChainLink
    left: int = 0  # bytes behind the last good entry
    problem: str = ""  # why those are no entry that was being written; empty: they may be


def ending_of(data: bytes, file_key: FileKey = lambda header: None) -> Ending | None:
    """Return how a file ended; None if it does not even begin. With its key MACs are checked as well.

    Bodies are not read, but for the first and the last: this runs at each start.
    """
    try:
        first = read_entry_untrusted(data, 0)
    except PeerError:
        return None
    if first is None or not isinstance(first.value, LogHeader):
        return None
    header = first.value
    key = file_key(header)
    mac_key = key_schedule.audit_mac_key(key) if key is not None else None
    chain, sequence, at, last, problem = header.before_chain, header.before_sequence, 0, 0, ""
    while at + 4 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        end = at + 4 + length + 2 * HASH
        if end > len(data):
            break
        following = chain_after(chain, data[at + 4 : at + 4 + length])
        if following != data[end - 2 * HASH : end - HASH]:
            problem = "an entry does not continue the chain"
            break
        if mac_key is not None:
            if not hmac.compare_digest(hmac.digest(mac_key, following, "sha256"), data[end - HASH : end]):
                problem = "an entry was not written by this host"
                break
            mac_key = key_schedule.audit_next_mac_key(mac_key)
        chain, sequence, last, at = following, sequence + 1, at, end
    return Ending(ChainLink(header.file, at, sequence, chain, _end(data, last)), len(data) - at, problem)


def _end(data: bytes, last: int) -> str:
    try:
        entry = read_entry_untrusted(data, last)
    except PeerError:
        return CUT
    return FINAL if entry is not None and isinstance(entry.value, Checkpoint) and entry.value.end else CUT
