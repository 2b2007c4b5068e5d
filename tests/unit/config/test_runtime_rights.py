"""Runtime grants: what is refused, and the numbers that a life channel counts. Pure."""

from __future__ import annotations

from typing import Any

import pytest

from tlsrt.config.components import ComponentConfig
from tlsrt.config.needs import NeedsConfig
from tlsrt.config.runtime_rights import Act, RuntimeConfig, refusal_of_runtime, rights_to_runtime


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"may": "pause"}, "components is missing"),
        ({"may": "list"}, "components is missing"),
        ({"may": "shutdown", "components": ["third/io"]}, "components do not go with shutdown"),
        ({"may": "pause", "components": ["third/io", "primary/kernel"]}, "primary/kernel cannot be paused"),
        ({"may": "pause", "components": ["third/io"]}, ""),
        ({"may": "list", "components": ["primary/kernel"]}, ""),
        ({"may": "shutdown"}, ""),
        ({"may": "logs", "components": ["third/io"]}, "components do not go with logs, which reads those of all"),
        ({"may": "audit", "components": ["third/io"]}, "components do not go with audit"),
        ({"may": "logs"}, ""),
        ({"may": "status", "components": ["third/io"]}, "components do not go with status, which reads that of all"),
        ({"may": "status"}, ""),
        ({"may": "restart"}, "components is missing: name those that it may restart"),
        ({"may": "restart", "components": ["primary/events"]}, "primary/events cannot be restarted"),
        ({"may": "restart", "components": ["secondary/store"]}, ""),
        ({"may": "lock", "components": ["third/io"]}, "components do not go with lock, which locks the whole host"),
        ({"may": "revoke", "components": ["third/io"]}, "components do not go with revoke"),
        ({"may": "release"}, ""),
    ],
)
def test_what_is_wrong_is_said(entry: dict[str, Any], says: str) -> None:
    found = refusal_of_runtime(entry)
    assert (says in found) if says else not found


def test_each_right_has_its_number() -> None:
    first = NeedsConfig(runtime=(RuntimeConfig("pause", "why", ("a/b", "a/c")), RuntimeConfig("shutdown", "why")))
    second = NeedsConfig(runtime=(RuntimeConfig("list", "why", ("a/b", "a/c")), RuntimeConfig("audit", "why"),
                                  RuntimeConfig("restart", "why", ("a/b",)),
                                  RuntimeConfig("revoke", "why")))  # fmt: skip
    components = [
        ComponentConfig("forth", "one", "x:X", needs=first), ComponentConfig("forth", "two", "x:X", needs=second)
    ]  # fmt: skip
    assert rights_to_runtime(components) == (
        ("forth/one", Act.PAUSE, ("a/b",)), ("forth/one", Act.RESUME, ("a/b",)),
        ("forth/one", Act.PAUSE, ("a/c",)), ("forth/one", Act.RESUME, ("a/c",)),
        ("forth/one", Act.SHUTDOWN, ()), ("forth/two", Act.LIST, ("a/b", "a/c")),
        ("forth/two", Act.AUDIT, ()), ("forth/two", Act.RESTART, ("a/b",)), ("forth/two", Act.REVOKE, ()),
    )  # fmt: skip
