"""Alerts: what a component may report as an anomaly, so that it counts as what detectors find does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from tlsrt.config.setting import NAME, NAME_SAYS, WHY, text

if TYPE_CHECKING:
    from tlsrt.config.components import ComponentConfig

Severity = Literal["warning", "critical"]
SEVERITIES = ("warning", "critical")
ALERTS_MAX = 16  # of one component


@dataclass(frozen=True, slots=True)
class AlertConfig:
    """One kind of anomaly that a component may report."""

    name: str = field(
        metadata=text(
            'Its name in the component: `self.alert("intruder")`.', pattern=NAME, says=NAME_SAYS, example="intruder"
        )
    )
    why: str = field(metadata=WHY)
    severity: Severity = field(
        default="warning",
        metadata=text(
            "How grave it is: it is counted by the detector alert_warning or alert_critical.", choices=SEVERITIES
        ),
    )
    where: str = field(default="", compare=False)  # FILE:LINE:COL

    @property
    def detector(self) -> str:
        """Return the name of the detector that counts it."""
        return f"alert_{self.severity}"

    def __str__(self) -> str:
        return f"{self.name} ({self.severity})"


def alerts_of(components: Sequence[ComponentConfig]) -> tuple[tuple[ComponentConfig, AlertConfig], ...]:
    """Return the alerts of a process's components and whose they are, in the order in which its life channel counts."""
    return tuple((one, alert) for one in components for alert in one.needs.alerts)
