"""What `status` says about supervision: a document of plain values. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tlsrt.channels.control.life import LoopState
from tlsrt.supervisor.supervision.loop import Loop
from tlsrt.supervisor.supervision.restart_policy import RestartPolicy

Document = dict[str, Any]


def supervision_document(restart_policy: RestartPolicy, loops: Sequence[Loop], now: float) -> Document:
    """Return every group with its deaths that count, why it is degraded, and who waits for whom."""
    groups = {restart_policy.group_of(loop).name: restart_policy.group_of(loop) for loop in restart_policy.order}
    return {
        "degraded": bool(restart_policy.failures),
        "groups": [
            {
                "name": group.name,
                "loops": list(group.loops),
                "strategy": str(group.strategy),
                "escalate": str(group.escalation),
                "deaths": restart_policy.deaths(group.name, now),
                "limit": {"deaths": group.restart.deaths, "window_s": group.restart.window_s},
                **_state(restart_policy, group.loops),
            }
            for group in groups.values()
        ],
        "waiting": {
            loop.name: restart_policy.waits_for(loop.name) for loop in loops if loop.state is LoopState.WAITING
        },
    }


def _state(restart_policy: RestartPolicy, loops: Sequence[str]) -> Document:
    failures = [failure for failure in restart_policy.failures if failure.loops & {*loops}]
    if failures:
        down = [loop for loop in loops if any(loop in failure.loops for failure in failures)]
        return {"state": "degraded", "down": down, "why": "; ".join(failure.sentence for failure in failures)}
    is_pending = any(restart_policy.is_pending(loop) for loop in loops)
    return {"state": "restarting" if is_pending else "healthy", "down": [], "why": None}
