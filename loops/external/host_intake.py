"""What other hosts hand in: verified, held to what is theirs, and answered one by one. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tlsrt import InvalidArgument
from tlsrt.loops.external.message import SIGNED_BYTES, YEAR_MS, BadEnvelopeError, Envelope, opened_untrusted
from tlsrt.loops.external.message_tables import Kept, LoopError

Answer = dict[str, Any]
LOGGED_MS = 60_000  # between two lines of one host: it could push all else out of the log


class HostIntake:
    """The hosts that are clients of this one, with their keys.

    `tell` hears each time that a host hands in what is not of it, with why; without it where that was told just now.
    """

    def __init__(
        self, clients: Mapping[str, str], keys: Mapping[str, Ed25519PublicKey], tell: Callable[[str, str], None]
    ) -> None:
        self._clients = dict(clients)
        self._keys = dict(keys)
        self._tell = tell
        self._logged: dict[str, tuple[int, int]] = {}  # host: when (wall ms), and how often since

    def host_of(self, caller: str) -> str | None:
        """Return the host that a caller is, None if it is none."""
        return self._clients.get(caller)

    def source_of(self, caller: str) -> str:
        """Return who hands something in: the caller, or "@HOST" for the client that is a host."""
        host = self._clients.get(caller)
        return caller if host is None else f"@{host}"

    def open_untrusted(
        self, host: str, envelopes: Sequence[Sequence[bytes]], now_ms: int
    ) -> tuple[dict[int, Answer], dict[int, Envelope]]:
        """Return the answers to what is refused, and the messages that are the host's, by their places."""
        refused: dict[int, Answer] = {}
        opened: dict[int, Envelope] = {}
        for number, (content, signature) in enumerate(envelopes):
            try:
                if len(content) > SIGNED_BYTES:
                    raise BadEnvelopeError("it is too long")
                envelope = opened_untrusted(content, signature, self._keys[host], host)
            except BadEnvelopeError as error:
                if not refused:
                    self._refuse(host, str(error), now_ms)
                refused[number] = _refused(str(error))
                continue
            if now_ms < envelope.expires_ms <= now_ms + YEAR_MS:
                opened[number] = envelope
            else:
                refused[number] = _refused("it has expired by the clock here, or does so in over a year")
        return refused, opened

    def _refuse(self, host: str, reason: str, now_ms: int) -> None:
        at, more = self._logged.get(host, (now_ms - LOGGED_MS, 0))
        if abs(now_ms - at) < LOGGED_MS:
            self._logged[host] = at, more + 1
            self._tell(host, "")
            return
        self._logged[host] = now_ms, 0
        self._tell(host, f"{reason}; {more} times more before" if more else reason)


def answer_of(outcome: Kept | Exception) -> Answer:
    """Return what a host is told of a message that was to be kept."""
    if isinstance(outcome, Kept):
        return {"state": "kept", "reason": None}
    if isinstance(outcome, LoopError | InvalidArgument):
        return _refused(str(outcome))
    return {"state": "later", "reason": str(outcome)}


def _refused(reason: str) -> Answer:
    return {"state": "refused", "reason": reason}
