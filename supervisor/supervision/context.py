"""What the parts of the supervisor share: `Context` is fixed for one life, `Reloadable` is replaced by a reload."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import SystemRandom

from tlsrt.config.package_survey import Survey
from tlsrt.config.schema import Config
from tlsrt.supervisor.events.bus import EventBus
from tlsrt.supervisor.process.children import Children
from tlsrt.supervisor.process.console import Console
from tlsrt.supervisor.process.event_loop import EventLoop


@dataclass(frozen=True, slots=True)
class Renewal:
    """A configuration read anew, and what was made from it; nothing of it is in force yet."""

    config: Config
    children: Children
    measure: Callable[[], dict[str, bytes]]  # name -> SHA-256 of all that is measured; takes its time
    code: Callable[[], Mapping[str, frozenset[str]]]  # process -> names of what its components import; takes its time
    warnings: tuple[str, ...]
    digests: Mapping[str, bytes]  # of the files of the configuration that were read, as a measurement has them


@dataclass(frozen=True, slots=True)
class Reading:
    """A configuration read anew; what it needs of packages is not known yet. Both raise what a refused reload says."""

    survey: Callable[[], Survey] | None  # look through packages, if there are any; takes its time: a child does it
    renewal: Callable[[Survey], Renewal]  # what is made from it, by what was found


@dataclass(slots=True)
class Reloadable:
    """What is in force until the next reload: ask for it each time, and keep no copy."""

    config: Config
    children: Children
    warnings: tuple[str, ...] = ()  # that every status repeats

    def replace(self, renewal: Renewal) -> None:
        """Put a reload in force: the one place where these change."""
        self.config, self.children, self.warnings = renewal.config, renewal.children, renewal.warnings


@dataclass(frozen=True, slots=True)
class Context:
    """What every part of the supervisor works with, from the start of a life to its end."""

    current: Reloadable
    event_loop: EventLoop
    console: Console
    lock: int  # the start lock's descriptor
    events: EventBus = field(default_factory=EventBus)
    chance: Callable[[], float] = SystemRandom().random  # no child inherits what it will say next
