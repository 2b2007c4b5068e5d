"""What the authority has said of the host, for status: anomaly scores, key versions, warnings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tlsrt.channels.control.authority_channel import CertificateTimeMessage, KeysMessage, ScoreMessage
from tlsrt.supervisor.messages.score import faded


class AuthorityReports:
    """The last word of each. `tell` is called with a warning that is new; `now` is the event loop's clock."""

    def __init__(self, now: Callable[[], float], tell: Callable[[str], None]) -> None:
        self._now = now
        self._tell = tell
        self._scores: dict[str, tuple[int, float]] = {}
        self._keys = (0, 0.0)  # version of master_key, and until when the one before verifies
        self.warnings: list[str] = []
        self.certificate_ends = 0  # in seconds since 1970; 0: not heard of
        self._certificate_warnings: list[str] = []  # those of them that change with time
        self.handlers: Mapping[str, Callable[[Any], None]] = {
            "keys": self._keys_changed,
            "score": self._scored,
            "certificate_time": self._certificate_time,
        }

    def score(self, loop: str) -> int:
        """Return the anomaly score of a loop, as last reported, less what has faded since."""
        score, at = self._scores.get(loop, (0, 0.0))
        return round(faded(score, (self._now() - at) * 1000))

    def keys(self, now: float) -> dict[str, object]:
        """Return the version of master_key in force, and for how many seconds the one before still verifies."""
        version, until = self._keys
        return {"key_version": version, "previous_verifies_s": round(max(0.0, until - now), 1)}

    def booted(self, warnings: Sequence[object]) -> None:
        """Take the warnings of an authority that has booted, in place of those of the one before."""
        self.warnings = [str(warning) for warning in warnings]

    def _keys_changed(self, message: KeysMessage) -> None:
        self._keys = (message.key_version, self._now() + message.overlap_ms / 1000)

    def _scored(self, message: ScoreMessage) -> None:
        self._scores[message.loop] = (message.score, self._now())

    def _certificate_time(self, message: CertificateTimeMessage) -> None:
        """Keep the warnings about the door's certificate as they are now, and tell those that are new."""
        self.certificate_ends = message.ends
        now = [str(sentence) for sentence in message.sentences]
        others = [warning for warning in self.warnings if warning not in self._certificate_warnings]
        for sentence in now:
            if sentence not in self.warnings:
                self._tell(sentence)
        self._certificate_warnings = now
        self.warnings = [*(warning for warning in others if warning not in now), *now]
