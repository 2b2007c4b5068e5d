"""How a host stands, in one word and one line, as `status --check`, `/readyz` and the metrics say it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

Document = Mapping[str, Any]
_NAMED = 4  # in one line
_BOOTING = frozenset({"down", "spawned", "confined", "sealed", "attested", "ready", "booting"})


class Condition(StrEnum):
    """The worst that can be said of a host, the first of these that holds."""

    STOPPING = "stopping"
    LOCKED = "locked"
    DEGRADED = "degraded"
    STARTING = "starting"
    WAIVED = "waived"
    OK = "ok"


class Judgement(NamedTuple):
    """A condition, and why in one line."""

    condition: Condition
    why: str

    @property
    def is_ready(self) -> bool:
        """Tell whether calls are served, by all that should serve them."""
        return self.condition in (Condition.OK, Condition.WAIVED)

    @property
    def line(self) -> str:
        """Return both in one line."""
        return f"{self.condition}: {self.why}" if self.why else str(self.condition)


def judge(status: Document) -> Judgement:
    """Return how a host stands by a document of `status`; of that only a few keys are asked for."""
    if status["supervisor"]["stopping"]:
        return Judgement(Condition.STOPPING, "")
    if status["lock"]:
        return Judgement(Condition.LOCKED, str(status["lock"]["reason"]))
    if wrong := [*_degraded(status)]:
        return Judgement(Condition.DEGRADED, _listed(wrong))
    if starting := [*_starting(status)]:
        return Judgement(Condition.STARTING, _listed(starting))
    waived = sorted(
        {layer for one in (status["authority"], *status["loops"]) for layer in (one["sandbox"] or {}).get("waived", ())}
    )
    if waived:
        return Judgement(Condition.WAIVED, f"without {_listed(waived)}")
    return Judgement(Condition.OK, f"{len(status['loops'])} processes serve")


def _degraded(status: Document) -> Iterator[str]:
    authority = status["authority"]
    if authority["state"] != "active" and (authority["restarts"] or authority["state"] == "failed"):
        yield f"authority is {authority['state']}"
    for loop in status["loops"]:
        if loop["state"] != "active":
            if loop["restarts"] or loop["state"] not in _BOOTING:
                yield f"{loop['name']} is {loop['state']}"
            continue
        for component in loop["components"]:
            if component["health"] in ("failing", "silent"):
                yield f"{loop['name']}/{component['name']} is {component['health']}"
            elif component["ready"] is False:
                yield f"{loop['name']}/{component['name']} is not ready"


def _starting(status: Document) -> Iterator[str]:
    for one in ({**status["authority"], "name": "authority"}, *status["loops"]):
        if one["state"] != "active":
            yield f"{one['name']} is {one['state']}"


def _listed(words: list[str]) -> str:
    more = f" and {len(words) - _NAMED} more" if len(words) > _NAMED else ""
    return ", ".join(words[:_NAMED]) + more
