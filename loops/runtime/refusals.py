"""What a process refused: counted, and said in its log."""

from __future__ import annotations

import logging

LOGGED_PER_BEAT = 5


class Refusals:
    """Peers can cause these: of each beat the first few are logged, so that a flood cannot fill the log."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._logged = 0
        self.count = 0

    def note(self, reason: str) -> None:
        """Count a refused frame, and say why."""
        self.count += 1
        self.say(f"refused a frame: {reason}")

    def say(self, sentence: str) -> None:
        """Log a sentence, unless there were some already since the last beat."""
        if self._logged < LOGGED_PER_BEAT:
            self._logged += 1
            self._log.warning("%s", sentence)

    def next_beat(self) -> None:
        """Begin to count anew what may be logged."""
        self._logged = 0
