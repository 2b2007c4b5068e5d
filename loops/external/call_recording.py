"""One recording of a call: what is said after a tone, and when that is over. Pure."""

from __future__ import annotations

from tlsrt.loops.external.call_leg import PIECE_S
from tlsrt.loops.external.call_sound import HEARD_RATE, heard_samples
from tlsrt.loops.sampling.sound_level import level_of

BYTES_PER_S = 2 * HEARD_RATE


class Recording:
    """Samples at 16 kHz, which are taken away a part at a time. Times are seconds."""

    def __init__(self, most_s: float, quiet_s: float, quiet_db: float, begin_s: float | None = None) -> None:
        """`quiet_s` of silence end it, and `begin_s` where nothing was said yet (the same without it)."""
        self.heard_s = 0.0
        self.loud_s = 0.0
        self._most_s, self._quiet_s, self._quiet_db = most_s, quiet_s, quiet_db
        self._begin_s = quiet_s if begin_s is None else begin_s
        self._quiet_since_s = 0.0
        self._new = bytearray()

    @property
    def is_over(self) -> bool:
        """Tell whether it is as long as it may be, or nothing was said for a while."""
        quiet_s = self._quiet_s if self.loud_s else self._begin_s
        return self.heard_s >= self._most_s or self.heard_s - self._quiet_since_s >= quiet_s

    @property
    def new_s(self) -> float:
        """Return how much of it was not taken away yet."""
        return len(self._new) / BYTES_PER_S

    def hear(self, pcm: bytes) -> None:
        """Add 20 ms at 48 kHz."""
        samples = heard_samples(pcm)
        self._new += samples
        self.heard_s += PIECE_S
        level = level_of(samples)
        if level is not None and level.rms_db >= self._quiet_db:
            self.loud_s += PIECE_S
            self._quiet_since_s = self.heard_s

    def hear_nothing(self, seconds: float) -> None:
        """Note that no sound came for a while, which ends it as silence does."""
        self.heard_s += seconds

    def take(self) -> bytes:
        """Return what is new, and forget it."""
        taken = bytes(self._new)
        self._new.clear()
        return taken
