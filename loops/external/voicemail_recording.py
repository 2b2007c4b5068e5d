"""One recording of the answering machine: what was said after the tone, and when it is over. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from tlsrt.loops.external.call_leg import PIECE_S
from tlsrt.loops.external.call_sound import HEARD_RATE, heard_samples
from tlsrt.loops.sampling.sound_level import level_of

BYTES_PER_S = 2 * HEARD_RATE


@dataclass(frozen=True)
class About:
    """Of which call a recording is; `says` is what who rings says of itself, and is not checked."""

    call: str
    by: str
    says: str
    number: str
    began_ms: int


class Recording:
    """Samples at 16 kHz, which are taken away a part at a time. Times are seconds."""

    def __init__(self, about: About, message_s: float, quiet_s: float, quiet_db: float) -> None:
        self.about = about
        self.heard_s = 0.0
        self.loud_s = 0.0
        self._message_s, self._quiet_s, self._quiet_db = message_s, quiet_s, quiet_db
        self._quiet_since_s = 0.0
        self._new = bytearray()

    @property
    def is_over(self) -> bool:
        """Tell whether it is as long as it may be, or nothing was said for a while."""
        return self.heard_s >= self._message_s or self.heard_s - self._quiet_since_s >= self._quiet_s

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
