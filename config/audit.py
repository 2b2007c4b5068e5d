"""The part `audit`: how much of the audit log is kept. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from tlsrt.config.setting import count


@dataclass(frozen=True, slots=True)
class AuditConfig:
    """The audit log."""

    keep_mb: int = field(
        default=2048,
        metadata=count(
            "Size of all files of the audit log; the oldest are removed, after a signed record of that.",
            16,
            1048576,
            unit="MiB",
        ),
    )
