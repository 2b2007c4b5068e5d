"""What the start of one loop does to it, by the state that it is in."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tlsrt.channels.control.life import LoopState
from tlsrt.supervisor.control.stop import StopRequest
from tlsrt.supervisor.process.event_loop import EventLoop
from tlsrt.supervisor.supervision.states import BOOTING, LIVING


def started(state: LoopState, *, is_ending: bool = False, is_stopped: bool = False) -> dict[str, Any] | None:
    """Start a loop in a state; return what is answered, None if it is started by a restart."""
    loop = SimpleNamespace(name="third", state=state, is_ending=is_ending, is_living=state in LIVING, host_pid=7)
    policy = SimpleNamespace(is_stopped=lambda name: is_stopped)
    loops = SimpleNamespace(all=[loop], restart_policy=policy)
    current = SimpleNamespace(config=SimpleNamespace(components=[]))
    context = SimpleNamespace(event_loop=EventLoop(), current=current)
    answers, restarted = list[dict[str, Any]](), list[object]()
    restart = SimpleNamespace(misuse=lambda name: "", ask=lambda request, reply: restarted.append(request))
    nothing = SimpleNamespace()
    request = StopRequest(
        cast("Any", context), cast("Any", loops), cast("Any", nothing), cast("Any", restart), cast("Any", nothing)
    )
    request.verbs()["start_loop"].answer({"loop": "third"}, answers.append)
    assert len(answers) + len(restarted) == 1
    return answers[0] if answers else None


@pytest.mark.parametrize("state", [*BOOTING, LoopState.ACTIVE])
def test_one_that_is_starting_or_runs_stays_as_it_is(state: LoopState) -> None:
    answer = started(state)
    assert answer is not None and not answer["failed"]
    assert [(one["state"], one["pid"]) for one in answer["loops"]] == [(str(state), 7)]
    assert answer["loops"][0]["reason"] == f"it {'runs' if state is LoopState.ACTIVE else 'is starting'} already"


def test_one_that_is_being_stopped_is_not_started_before_it_is_down() -> None:
    for state, is_ending in ((LoopState.ACTIVE, False), (LoopState.DRAINING, True), (LoopState.STOPPING, True)):
        answer = started(state, is_ending=is_ending, is_stopped=True)
        assert answer == {"unavailable": "third is still ending: start it when it is stopped"}


def test_one_that_is_down_is_started() -> None:
    assert started(LoopState.FAILED, is_stopped=True) is None
    assert started(LoopState.FAILED) is None and started(LoopState.BACKOFF) is None
