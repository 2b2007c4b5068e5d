"""Roles of browsers: what a link gives without `--allow`, as one table. A role names what its holder may call.

What a host does not have is left out: no client may call what is not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tlsrt.config.schema import Config
from tlsrt.supervisor.cli.clients import Rule

STATUS, OPERATE = "third/status", "third/operate"
_EVENTS = ("recent", "subscribe", "lifecycle", "session", "security", "health", "program", "called")
_VIEWER: tuple[Rule, ...] = (
    ("primary/kernel", ("*",)), ("primary/hardware", ("*",)), ("primary/events", _EVENTS), (STATUS, ("*",)),
)  # fmt: skip
ROLES: Mapping[str, tuple[Rule, ...]] = {
    "viewer": _VIEWER,  # sees the host, and changes nothing
    "operator": (
        *_VIEWER, ("secondary/logs", ("query", "watch")),
        (OPERATE, ("targets", "restart", "pause", "resume", "lock", "release")),
    ),  # to revoke clients is not among it: say --allow 'third/operate: [revoke]' beside the role
}  # fmt: skip
SERVICES: Mapping[str, tuple[str, ...]] = {"viewer": (STATUS,), "operator": (STATUS, OPERATE)}  # that a role is for


def rules_of_role(role: str, config: Config) -> list[list[Any]]:
    """Return the policy lines of a role, of what this host has, as they are sent."""
    there = {one.address for one in config.components}
    return [[target, list(methods)] for target, methods in ROLES[role] if target in there]


def missing_services(role: str, config: Config) -> list[str]:
    """Return the services that a role is for and that are not added."""
    there = {one.address for one in config.components}
    return [name for name in SERVICES[role] if name not in there]
