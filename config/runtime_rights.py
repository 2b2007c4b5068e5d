"""Runtime grants: what a component may ask of the runtime itself, act by act and component by component. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tlsrt.config.setting import ADDRESS, ADDRESS_SAYS, WHY, listing, text

if TYPE_CHECKING:
    from tlsrt.config.components import ComponentConfig

May = Literal["pause", "list", "status", "shutdown", "logs", "audit", "backup"]
RUNTIME_MAX = 8  # entries of one component
_WHOLE_HOST = {
    "shutdown": "ends the whole host", "logs": "reads those of all processes", "audit": "reads all of the log",
    "backup": "keeps the whole host", "status": "reads that of all processes",
}  # fmt: skip
COMPONENTS_MAX = 32  # of one entry: one byte each in an answer of the life channel


class Act(StrEnum):
    """One thing that a process may ask for; the words are those of the audit log."""

    PAUSE = "pause"
    RESUME = "resume"
    LIST = "list"
    SHUTDOWN = "shutdown"
    BACKUP = "backup"
    LOGS = "logs"
    AUDIT = "audit"
    STATUS = "status"

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
    if may == "pause" and primary:
        return f"{primary} cannot be paused: nothing runs without Primary; remove it"
    return ""


@dataclass(frozen=True, slots=True)
class RuntimeConfig:
    """One thing that a component may ask of the runtime."""

    may: May = field(
        metadata=text(
            "pause: stop the processes of these components, and start those again that it has stopped. list: read "
            "their states. status: read that of all. shutdown: end the whole host in order. logs: read the log files "
            "of all processes. audit: read the audit log. backup: get all of the host but its keys, sealed under its "
            "master_key.",
            choices=("pause", "list", "status", "shutdown", "logs", "audit", "backup"),
        )
    )
    why: str = field(metadata=WHY)
    components: tuple[str, ...] = field(
        default=(),
        metadata=listing(
            "The components that are meant; to be paused, each needs a process of its own.",
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


def rights_to_runtime(components: Sequence[ComponentConfig]) -> tuple[Right, ...]:
    """Return the rights of a process's components, in the order in which its life channel counts them."""
    return tuple(right for one in components for entry in one.needs.runtime for right in _rights(one.address, entry))


def _rights(address: str, entry: RuntimeConfig) -> list[Right]:
    if entry.may == "pause":
        acts = (Act.PAUSE, Act.RESUME)
        return [Right(address, act, (target,)) for target in entry.components for act in acts]
    return [Right(address, Act(entry.may), entry.components)]
