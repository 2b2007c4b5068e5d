"""Event grants: what a component may hear of the host's kernel."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tlsrt.config.setting import WHY, text

Kind = Literal["uevents"]


@dataclass(frozen=True, slots=True)
class HostEventsConfig:
    """One kind of events of the host's kernel."""

    kind: Kind = field(metadata=text("uevents: devices that come, go and change.", choices=("uevents",)))
    why: str = field(metadata=WHY)
