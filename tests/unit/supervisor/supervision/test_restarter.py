"""Who hears that a restart is over though its loop was not started."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from tlsrt.supervisor.supervision.restarter import Restarter


class Policy:
    """A restart policy that forgets a restart in its second step: what the loop depends on has failed meanwhile."""

    wake_at = float("inf")

    def __init__(self) -> None:
        self.pending = {"third"}
        self.looks = 0

    def is_pending(self, name: str) -> bool:
        return name in self.pending

    def steps(self, now: float, seen: object) -> list[object]:
        self.looks += 1
        if self.looks == 2:
            self.pending.clear()
        return []


def test_a_restart_that_is_over_without_a_start_is_told() -> None:
    changed: list[str] = []
    loops = [SimpleNamespace(name=name, state=None, is_ending=False, incarnation=1, is_living=name == "primary")
             for name in ("primary", "third")]  # fmt: skip
    every: Any = SimpleNamespace(all=loops, restart_policy=Policy(), is_stopping=False)
    features: Any = SimpleNamespace(loop_changed=lambda loop: changed.append(loop.name))
    restarter = Restarter(cast("Any", SimpleNamespace(event_loop=SimpleNamespace(now=0.0))), every, features)
    restarter.look()
    assert changed == []
    restarter.look()
    assert changed == ["third"]
    restarter.look()
    assert changed == ["third"]
