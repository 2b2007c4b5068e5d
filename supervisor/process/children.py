"""The seam between the supervisor and what it starts: values that cross the fork, and the operations it is given.

`Supervisor` knows processes, channels and time; what runs inside the processes, how they are confined and how they
are looked at comes in as `Parts`. Production makes them in `child_programs.py`; tests give their own bodies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import SystemRandom
from typing import Protocol

from tlsrt.config.egress import EgressRule
from tlsrt.config.schema import Config
from tlsrt.sandbox.cgroup.limit_usage import Pressure
from tlsrt.sandbox.profile.profile import Profile
from tlsrt.supervisor.events.bus import EventBus
from tlsrt.supervisor.process.console import Console
from tlsrt.supervisor.process.event_loop import EventLoop
from tlsrt.supervisor.process.exit_reason import ExitReason


class Child(Protocol):
    """A forked process: its pid for the supervisor, a pidfd, and its pid as the host sees it."""

    @property
    def pid(self) -> int: ...
    @property
    def pidfd(self) -> int: ...
    @property
    def host_pid(self) -> int: ...


@dataclass(frozen=True, slots=True)
class LoopStart:
    """What a loop's process begins with; every descriptor is open in the child when its body runs."""

    config: Config
    loop: str
    incarnation: int
    life: int
    trust: int
    listeners: Mapping[str, int]  # for Primary: loop name or "door" -> listening socket
    log: int  # becomes standard output and standard error
    keep: tuple[int, ...] = ()  # more descriptors that stay open: the start lock
    reports: int | None = None  # where the listener of its first filter goes


@dataclass(frozen=True, slots=True)
class AuthorityStart:
    """What the authority's process begins with."""

    config: Config
    channel: int  # to the supervisor
    trust: Mapping[str, int]  # loop name -> the authority's end
    state_dir: Path
    log: int
    keep: tuple[int, ...] = ()
    reports: int | None = None


@dataclass(frozen=True, slots=True)
class CallRules:
    """What becomes of the calls that a process's first filter reports: killed, carried out, or refused (all others)."""

    killed: frozenset[str]
    brokered: frozenset[str]
    egress: tuple[EgressRule, ...] = ()
    channel: Path | None = None  # the folder on the host of its /channel


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What status says about the confinement of one process."""

    layers: tuple[str, ...] = ()
    waived: Mapping[str, str] = field(default_factory=dict[str, str])  # layer -> the operator's reason
    summary: str = ""
    digest: bytes = b""  # of the profile, which the process must report; empty: not compared
    group: str | None = None  # its control group, as /proc/PID/cgroup names it
    limits: Mapping[str, str] = field(default_factory=dict[str, str])  # kind of limit -> what holds it


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that the supervisor does not do itself."""

    spawn: Callable[[Callable[[], int], str], Child]  # the body of a process, and its name
    reap: Callable[[Child], ExitReason | None]  # how it ended; None while it lives
    loop_body: Callable[[LoopStart], int]
    authority_body: Callable[[AuthorityStart], int]
    attest: Callable[[str, int], list[str]]  # loop (or "authority"), host pid -> differences
    sandbox: Callable[[str], Sandbox]
    measure: Callable[[], bytes]  # msgpack
    open_boot_files: Callable[[int], list[int]]  # master key, boot token (the one given, or of the disk: -1)
    open_door_files: Callable[[], list[int]]  # certificate, key, client CA, CRL
    open_ca_key: Callable[[], int]  # the client CA's key, or an empty file
    uid: Callable[[str], int]  # of a loop, or of "authority"
    preload: Callable[[], None]
    claim: Callable[[], None] = lambda: None  # with the start lock in hand: make what one life alone may have
    freeze: Callable[[str], None] = lambda name: None  # stop a process that is about to be killed, with all its threads
    clear: Callable[[str], bool] = lambda name: True  # kill what a dead process left behind; whether nothing is left
    oom_kills: Callable[[str], int] = lambda name: 0  # of the process that is dead now, before it is cleared
    pressure: Callable[[str, int], Pressure] = lambda name, pid: Pressure()  # how near it is to its limits
    release: Callable[[], None] = lambda: None  # nobody runs any more: undo `claim`
    limits: Callable[[], str] = lambda: ""  # one line: which limits are enforced by what
    profiles: Mapping[str, Profile] = field(default_factory=dict[str, Profile])  # for a reload to compare
    tighten: Callable[[str, int, Mapping[str, int]], list[str]] = lambda name, pid, limits: []  # what was not possible
    renewed: Callable[[Config], Parts] | None = None  # the parts of a changed configuration
    take: Callable[[], None] = lambda: None  # put in force what these profiles were made from
    call_rules: Callable[[str], CallRules | None] = lambda name: None  # None: its calls are not reported
    beats: Callable[[str, int, int, int], bool] = lambda name, pid, number, last: True  # the event loop made that beat
    preload_authority: Callable[[], bool] = lambda: False  # once all is up: one step; whether there may be more


@dataclass(frozen=True, slots=True)
class Renewal:
    """A configuration read anew, and what was made from it; nothing of it is in force yet."""

    config: Config
    parts: Parts
    measure: Callable[[], dict[str, bytes]]  # name -> SHA-256 of all that is measured; takes its time
    warnings: tuple[str, ...]
    config_digest: bytes  # SHA-256 of the bytes that were read, as a measurement has it


@dataclass(slots=True)
class Common:
    """What every part of the supervisor works with; a reload replaces configuration and parts."""

    config: Config
    parts: Parts
    event_loop: EventLoop
    console: Console
    lock: int
    events: EventBus = field(default_factory=EventBus)
    chance: Callable[[], float] = SystemRandom().random  # no child inherits what it will say next
