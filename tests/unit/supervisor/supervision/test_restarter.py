"""Who hears that a restart is over though its loop was not started."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tlsrt.supervisor.process.exit_reason import Cause, Death
from tlsrt.supervisor.supervision.restart_policy import RestartVerdict
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


@pytest.mark.parametrize("cause", [Cause.DISK, Cause.HEARTBEAT, Cause.COMPONENT])
def test_only_a_death_for_want_of_a_disk_counts_towards_no_limit(cause: Cause) -> None:
    counted: list[bool] = []

    def died(loop: str, now: float, active_s: float, sentence: str, *, counts: bool) -> RestartVerdict:
        counted.append(counts)
        return RestartVerdict()

    policy = Policy()
    policy.pending.clear()
    policy.died, policy.failure_of = died, lambda name: None  # type: ignore[attr-defined]
    third = SimpleNamespace(name="third", is_proven=True, last_death=Death(cause, "it ended"))
    every: Any = SimpleNamespace(all=[], restart_policy=policy, is_stopping=False)
    context: Any = SimpleNamespace(
        event_loop=SimpleNamespace(now=0.0), console=SimpleNamespace(bad=lambda *words: None),
        events=SimpleNamespace(emit=lambda *words, **fields: None),
    )  # fmt: skip
    Restarter(context, every, cast("Any", None)).loop_died(cast("Any", third), 1.0, None)
    assert counted == [cause is not Cause.DISK]
