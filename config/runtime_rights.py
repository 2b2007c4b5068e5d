"""Runtime grants: what a component may ask of the runtime itself, act by act and component by component. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from tlsrt.config.setting import ADDRESS, ADDRESS_SAYS, WHY, listing, text

if TYPE_CHECKING:
    from tlsrt.config.components import ComponentConfig

May = Literal[
    "pause", "restart", "list", "status", "lock", "release", "revoke", "shutdown", "logs", "audit", "backup",
]  # fmt: skip
RUNTIME_MAX = 12  # entries of one component
_WHOLE_HOST = {
    "shutdown": "ends the whole host", "logs": "reads those of all processes", "audit": "reads all of the log",
    "backup": "keeps the whole host", "status": "reads that of all processes", "lock": "locks the whole host",
    "release": "is told whom by who asks for it", "revoke": "is told whom by who asks for it",
}  # fmt: skip
_DONE = {"pause": "paused", "restart": "restarted"}
COMPONENTS_MAX = 32  # of one entry: one byte each in an answer of the life channel


class Act(StrEnum):
    """One thing that a process may ask for; the words are those of the audit log."""

    PAUSE = "pause"
    RESUME = "resume"
    RESTART = "restart"
    LIST = "list"
    SHUTDOWN = "shutdown"
    BACKUP = "backup"
    LOGS = "logs"
    AUDIT = "audit"
    STATUS = "status"
    LOCK = "lock"
    RELEASE = "release"
    REVOKE = "revoke"

    @property
    def names_subject(self) -> bool:
        """Whether it is done to a subject that is named with it, for a caller who may call the component."""
        return self in (Act.RELEASE, Act.REVOKE)

    @property
    def reads(self) -> bool:
        """Whether it is answered with descriptors of files, and changes nothing."""
        return self in (Act.LOGS, Act.AUDIT, Act.STATUS)


def refusal_of_runtime(entry: Mapping[str, Any]) -> str:
    """Return what is wrong with an entry as a whole, "" if nothing is. Pure."""
    may, components = entry["may"], entry.get("components", ())
    if may in _WHOLE_HOST:
        return f"components do not go with {may}, which {_WHOLE_HOST[may]}: remove them" if components else ""
    if not components:
        return f"components is missing: name those that it may {may}"
    primary = next((one for one in components if one.startswith("primary/")), "")
    if may in _DONE and primary:
        return f"{primary} cannot be {_DONE[may]}: nothing runs without Primary; remove it"
    return ""


@dataclass(frozen=True, slots=True)
class RuntimeConfig:
    """One thing that a component may ask of the runtime."""

    may: May = field(
        metadata=text(
            "pause: stop the processes of these components, and start those again that it has stopped. restart: "
            "restart them. list: read their states. status: read that of all. lock: lock the host. release: end what "
            "attack response does about a subject. revoke: end an enrolled client for good; both only for a caller "
            "who may call its method of that name. shutdown: end the whole host in order. logs: read the log files of "
            "all processes. audit: read the audit log. backup: get all of the host but its keys, sealed under its "
            "master_key.",
            choices=get_args(May),
        )
    )
    why: str = field(metadata=WHY)
    components: tuple[str, ...] = field(
        default=(),
        metadata=listing(
            "The components that are meant; to be paused, each needs a process of its own. A restart is one of the "
            "process in which it runs.",
            text("A component.", pattern=ADDRESS, says=ADDRESS_SAYS),
            COMPONENTS_MAX,
            example="[secondary/ai]",
        ),
    )
    where: str = field(default="", compare=False)  # FILE:LINE:COL

    def __str__(self) -> str:
        return f"{self.may} {', '.join(self.components)}".rstrip()


class Right(NamedTuple):
    """One act that one component may ask for, and what it is done to."""

    component: str
    act: Act
    targets: tuple[str, ...]


def digest_of_subject(subject: str) -> bytes:
    """Return what a process says for a subject: SHA-256 of its name, as it says no text."""
    return hashlib.sha256(subject.encode()).digest()


def rights_to_runtime(components: Sequence[ComponentConfig]) -> tuple[Right, ...]:
    """Return the rights of a process's components, in the order in which its life channel counts them."""
    return tuple(right for one in components for entry in one.needs.runtime for right in _rights(one.address, entry))


def _rights(address: str, entry: RuntimeConfig) -> list[Right]:
    if entry.may == "pause":
        acts = (Act.PAUSE, Act.RESUME)
        return [Right(address, act, (target,)) for target in entry.components for act in acts]
    if entry.may == "restart":
        return [Right(address, Act.RESTART, (target,)) for target in entry.components]
    return [Right(address, Act(entry.may), entry.components)]
