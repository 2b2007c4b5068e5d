"""How much of the network the rules of one egress entry may take together."""

from __future__ import annotations

from dataclasses import dataclass, field

from tlsrt.config.setting import count

_SENT, _RECEIVED = "MiB that it may send in a day (UTC), of TCP.", "MiB that it may receive in a day (UTC), of TCP."


@dataclass(frozen=True, slots=True)
class BudgetConfig:
    """Most connections and bytes of these rules together; what is not named has no limit."""

    per_minute: int = field(
        default=0,
        metadata=count(
            "Connections begun within any 60 s; of UDP, connected sockets.", 1, 6000, default_says="no limit",
            example="60",
        ),
    )  # fmt: skip
    at_once: int = field(
        default=0,
        metadata=count("Connections open at once.", 1, 4096, default_says="no limit", example="8"),
    )
    sent_mb_per_day: int = field(
        default=0, metadata=count(_SENT, 1, 1 << 24, unit="MiB", default_says="no limit", example="100")
    )
    received_mb_per_day: int = field(
        default=0, metadata=count(_RECEIVED, 1, 1 << 24, unit="MiB", default_says="no limit", example="500")
    )

    @property
    def counts_bytes(self) -> bool:
        """Tell whether bytes are limited."""
        return bool(self.sent_mb_per_day or self.received_mb_per_day)
