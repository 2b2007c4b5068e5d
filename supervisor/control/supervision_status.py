"""What `status` says about supervision: a document of plain values. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tlsrt.channels.control.life import LoopState
from tlsrt.supervisor.supervision.loop import Loop
from tlsrt.supervisor.supervision.restart_policy import RestartPolicy

Document = dict[str, Any]


def supervision_document(regime: RestartPolicy, members: Sequence[Loop], now: float) -> Document:
    """Return every group with its deaths that count, why it is degraded, and who waits for whom."""
    groups = {regime.group_of(loop).name: regime.group_of(loop) for loop in regime.order}
    return {
        "degraded": bool(regime.failures),
        "groups": [
            {
                "name": group.name,
                "loops": list(group.loops),
                "strategy": str(group.strategy),
                "escalate": str(group.escalation),
                "deaths": regime.deaths(group.name, now),
                "limit": {"deaths": group.restart.deaths, "window_s": group.restart.window_s},
                **_state(regime, group.loops),
            }
            for group in groups.values()
        ],
        "waiting": {
            member.name: regime.waits_for(member.name) for member in members if member.state is LoopState.WAITING
        },
    }


def _state(regime: RestartPolicy, loops: Sequence[str]) -> Document:
    failures = [failure for failure in regime.failures if failure.loops & {*loops}]
    if failures:
        down = [loop for loop in loops if any(loop in failure.loops for failure in failures)]
        return {"state": "degraded", "down": down, "why": "; ".join(failure.sentence for failure in failures)}
    is_pending = any(regime.is_pending(loop) for loop in loops)
    return {"state": "restarting" if is_pending else "healthy", "down": [], "why": None}
