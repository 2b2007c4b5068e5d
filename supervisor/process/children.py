"""The child processes of one configuration, as the supervisor needs them: the values that cross the fork, `Children`.

`Supervisor` knows processes, channels and time. What runs inside a process, how it is confined and how it is inspected
is behind `Children`: `launch/child_programs.py` is what a host runs; tests have one fake.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol

from tlsrt.config.code_look import CodeChange
from tlsrt.config.egress import EgressRule
from tlsrt.config.name_rules import NameRule
from tlsrt.config.packages import Code
from tlsrt.config.schema import Config
from tlsrt.sandbox.cgroup.limit_usage import LimitUsage
from tlsrt.sandbox.profile.profile import Profile
from tlsrt.sandbox.profile.program_profile import PlacedProgram
from tlsrt.sandbox.seccomp.name_pins import NamePins
from tlsrt.sandbox.seccomp.reply_filter import AnsweringGroup
from tlsrt.supervisor.process.egress_account import EgressAccount, EgressUses
from tlsrt.supervisor.process.exit_reason import ExitReason
from tlsrt.supervisor.process.uids import Uids


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

    @property
    def descriptors(self) -> list[int]:
        listeners = self.listeners.values()
        return _given(self.life, self.trust, self.log, self.reports, *listeners, *self.keep)


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


class LauncherWord(Enum):
    """What the launcher of a program and the supervisor say to each other: one letter, one packet."""

    SEALED = b"S"  # it has given up everything, and may be looked at
    GO = b"G"  # the supervisor: it is what its profile says
    CHANGED = b"C"  # a file is not what was sealed
    REFUSED = b"R"  # the arguments fit no form
    EXECUTING = b"X"  # the last word, if the execve works
    FAILED = b"F"  # it does not


@dataclass(frozen=True, slots=True)
class ProgramStart:
    """What the process of a program begins with; every descriptor is open in the child when its body runs."""

    slot: str  # the name of its process
    data: int  # becomes standard input and output
    errors: int  # becomes standard error
    control: int  # to the supervisor
    log: int  # what it says until it executes
    reports: int | None = None
    talk: int | None = None  # becomes its descriptor 3
    passed: tuple[tuple[str, int], ...] = ()  # names and sockets; they become its descriptors from 3 on

    @property
    def descriptors(self) -> list[int]:
        passed = (one for _, one in self.passed)
        return _given(self.data, self.errors, self.control, self.log, self.reports, self.talk, *passed)


@dataclass(frozen=True, slots=True)
class HelperStart:
    """What the process of the helper, or of the resolver, begins with."""

    channel: int  # to the supervisor
    log: int
    keep: tuple[int, ...] = ()
    reports: int | None = None
    name: str = "helper"  # or of the helper for the network

    @property
    def descriptors(self) -> list[int]:
        return _given(self.channel, self.log, self.reports, *self.keep)


def _given(*descriptors: int | None) -> list[int]:
    return [one for one in descriptors if one is not None]


@dataclass(frozen=True, slots=True)
class CallRules:
    """What becomes of the calls that a process's first filter reports: killed, carried out, or refused (all others)."""

    killed: frozenset[str]
    brokered: frozenset[str]
    egress: tuple[EgressRule, ...] = ()
    channel: Path | None = None  # the folder on the host of its /channel
    sockets: frozenset[str] = frozenset()  # UNIX sockets of other programs
    uid: int | None = None  # as which it connects to them, if it is another one than the supervisor's
    names: tuple[NameRule, ...] = ()
    pins: NamePins = field(default_factory=NamePins)  # what those names are now
    buses: Mapping[str, Path] = field(default_factory=dict[str, Path])  # sockets of buses -> where we listen instead
    account: EgressAccount | None = None  # what it has taken of its budgets
    door: socket.socket | None = None  # listens, and takes the place of a socket of its own that is to listen


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What status says about the confinement of one process."""

    layers: tuple[str, ...] = ()
    waived: Mapping[str, str] = field(default_factory=dict[str, str])  # layer -> the operator's reason
    summary: str = ""
    digest: bytes = b""  # of the profile, which the process must report; empty: not compared
    group: str | None = None  # its control group, as /proc/PID/cgroup names it
    limits: Mapping[str, str] = field(default_factory=dict[str, str])  # kind of limit -> what holds it


def remove_new(new: Children, old: Children) -> None:
    """Let go of what only the processes of a reload have that is refused."""
    for name in new.profiles.keys() - old.profiles.keys():
        new.remove(name)


class HostFiles(Protocol):
    """The files that the authority boots with: opened here, and read by the authority only. All raise ConfigError."""

    def open_boot_files(self, token: int) -> list[int]:
        """Open master key and boot token; `token` is the descriptor of this life's token, -1 for the file's."""

    def open_door_files(self) -> list[int]:
        """Open certificate, key, client CA and CRL of the door."""

    def open_ca_key(self) -> int:
        """Open the client CA's key, or an empty file."""


class ForkServing(Protocol):
    """The fork servers of this life; see `fork_servers.py`."""

    @property
    def active(self) -> Child | None: ...
    @property
    def spare(self) -> Child | None: ...
    @property
    def children(self) -> Sequence[Child]: ...

    def start(self, *, is_again: bool = False) -> None: ...
    def renew(self) -> bool: ...
    def forget(self, child: Child) -> str: ...


class Children(Protocol):
    """Starts, confines and inspects the processes of one configuration. `name` is a loop's, or "authority"."""

    @property
    def profiles(self) -> Mapping[str, Profile]: ...
    @property
    def files(self) -> HostFiles: ...
    @property
    def identity(self) -> Uids: ...
    @property
    def pins(self) -> NamePins: ...
    @property
    def uses(self) -> EgressUses: ...

    # One life

    def claim(self) -> None:
        """Make what one life alone may have: control groups. The start lock must be held."""

    def reserve(self) -> None:
        """Make the uids of these processes last. The start lock must be held. Raises ConfigError."""

    def remove(self, name: str) -> None:
        """Let go of what a process had that a reload has removed: its control group."""

    def release(self) -> None:
        """Undo `claim`: no process is left but the fork servers, which end here."""

    def preload_common(self) -> None:
        """Import what the authority and the loops need, before the first fork of all, which is the authority's."""

    def preload(self) -> None:
        """Import what the loops need, before the first fork of one, and begin the first fork server."""

    def preload_authority(self) -> bool:
        """Import one more module of the authority; tell whether there may be more."""

    def answering_group(self) -> AnsweringGroup:
        """Return the group whose datagram sockets send answers only. Raises OSError for none."""

    def limits(self) -> str:
        """Return one line: which limits are enforced by what."""

    def uid(self, name: str) -> int:
        """Return the uid of a process."""

    # One process

    def spawn_loop(self, start: LoopStart) -> Child:
        """Fork a loop. Raises OSError and TlsrtError."""

    def spawn_authority(self, start: AuthorityStart) -> Child:
        """Fork the authority. Raises OSError and TlsrtError."""

    def spawn_helper(self, start: HelperStart) -> Child:
        """Fork the helper, which there is if a component needs it. Raises OSError and TlsrtError."""

    def spawn_resolver(self, start: HelperStart) -> Child:
        """Fork the resolver, which there is if a rule has a name. Raises OSError and TlsrtError."""

    def changed_code(self, name: str) -> CodeChange | None:
        """Return what differs now in the code that a process may import; None where it is as it was measured."""

    def programs_of(self, process: str) -> Sequence[PlacedProgram]:
        """Return the programs of the components of a process, by the integers that it asks for them with."""

    def proxies_of(self, process: str) -> Sequence[PlacedProgram]:
        """Return the programs that run for the grants of the components of a process, and that none asks for."""

    def spawn_program(self, start: ProgramStart) -> Child:
        """Fork the launcher of a program. Raises OSError and TlsrtError."""

    @property
    def fork_servers(self) -> ForkServing:
        """Return the processes that fork all but the authority; without one the supervisor forks them itself."""

    def reap(self, child: Child) -> ExitReason | None:
        """Return how a child ended; None while it runs."""

    def freeze(self, name: str) -> None:
        """Stop all threads of a process that is about to be killed."""

    def clear(self, name: str) -> bool:
        """Kill what a dead process left behind; tell whether nothing is left."""

    def oom_kills(self, name: str) -> int:
        """Return how often the kernel killed in the group of a dead process, before it is cleared."""

    # Its sandbox

    def sandbox(self, name: str) -> Sandbox:
        """Return what status says about the confinement of a process."""

    def call_rules(self, name: str) -> CallRules | None:
        """Return the rules for its reported calls; None when its calls are not reported."""

    def attest(self, name: str, pid: int) -> list[str]:
        """Return a sentence for each difference between a process (`pid` of the host) and its profile."""

    def made_beat(self, name: str, pid: int, number: int, last: int) -> bool:
        """Tell whether its event loop made heartbeat `number`, after `last`."""

    def has_slept(self, name: str, pid: int) -> bool:
        """Tell whether no task of a process had run at its last look since the one before."""

    def epoll_set(self, name: str, pid: int) -> int | None:
        """Return the descriptor of the epoll set in which its event loop waits now; None where that is not seen."""

    def disk_wait(self, name: str, pid: int) -> str:
        """Return where the kernel holds its event loop for a disk; empty if it does not."""

    def limit_usage(self, name: str, pid: int) -> LimitUsage:
        """Return how near a process is to its limits."""

    def tighten(self, name: str, pid: int, limits: Mapping[str, int]) -> list[str]:
        """Lower the limits of a living process; return what was not possible."""

    # A reload

    def renewed(self, config: Config, code: Code) -> Children:
        """Return the children of a changed configuration, not in force yet. Raises ConfigError and SandboxError."""
