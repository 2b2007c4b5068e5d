"""How a host stands, by its status."""

from __future__ import annotations

from typing import Any

import pytest

from tlsrt.supervisor.messages.condition import Condition, judge


def component(health: str = "good", ready: bool | None = None) -> dict[str, Any]:
    return {"name": "notes", "health": health, "ready": ready}


def authority(state: str, restarts: int) -> dict[str, Any]:
    return {"state": state, "restarts": restarts, "sandbox": None}


def loop(state: str = "active", restarts: int = 0, **more: Any) -> dict[str, Any]:
    return {"name": "third", "state": state, "restarts": restarts, "sandbox": {}, "components": [], **more}


def status(*loops: dict[str, Any], **more: Any) -> dict[str, Any]:
    sound = authority("active", 0)
    return {"supervisor": {"stopping": False}, "lock": None, "authority": sound, "loops": list(loops), **more}


@pytest.mark.parametrize(
    ("document", "line", "is_ready"),
    [
        (status(loop()), "ok: 1 processes serve", True),
        (status(loop(components=[component(ready=True), component("unchecked")])), "ok: 1 processes serve", True),
        (status(loop(restarts=3)), "ok: 1 processes serve", True),
        (status(loop(sandbox={"waived": {"seccomp": "a test"}})), "waived: without seccomp", True),
        (status(loop("spawned")), "starting: third is spawned", False),
        (status(loop("spawned", 1)), "degraded: third is spawned", False),
        (status(loop("backoff")), "degraded: third is backoff", False),
        (status(loop("failed")), "degraded: third is failed", False),
        (status(loop(components=[component("failing")])), "degraded: third/notes is failing", False),
        (status(loop(components=[component("silent")])), "degraded: third/notes is silent", False),
        (status(loop(components=[component(ready=False)])), "degraded: third/notes is not ready", False),
        (status(loop("failed"), lock={"reason": "theft"}), "locked: theft", False),
        (status(loop(), supervisor={"stopping": True}), "stopping", False),
        (status(authority=authority("booting", 0)), "starting: authority is booting", False),
        (status(authority=authority("down", 2)), "degraded: authority is down", False),
        (
            status(*[loop("failed", name=f"l{one}") for one in range(6)]),
            "degraded: l0 is failed, l1 is failed, l2 is failed, l3 is failed and 2 more", False,
        ),
    ],
)  # fmt: skip
def test_the_worst_that_holds_is_said(document: dict[str, Any], line: str, is_ready: bool) -> None:
    found = judge(document)
    assert (found.line, found.is_ready) == (line, is_ready)
    assert found.condition in Condition
