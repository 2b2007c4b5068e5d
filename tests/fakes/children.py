"""`FakeChildren`: the `Children` of tests. Nothing is confined, files are empty, and a process is a `sleep`.

The test is the inside of each process: it holds the other ends of its channels, says what the process would say, and
kills it. Who needs bodies that run by themselves derives a class and spawns them, see hosts/scripted_supervisor.py.
"""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tlsrt.channels.control.authority_channel import AUTHORITY_CHANNEL
from tlsrt.channels.control.helper import HELPER
from tlsrt.channels.control.life import LIFE
from tlsrt.channels.control.resolver import RESOLVER
from tlsrt.channels.control.seqpacket import ControlChannel
from tlsrt.config.code_look import CodeChange
from tlsrt.config.packages import Code
from tlsrt.config.schema import Config
from tlsrt.errors import InternalError
from tlsrt.sandbox.cgroup.limit_usage import LimitUsage
from tlsrt.sandbox.profile.profile import Profile
from tlsrt.sandbox.profile.program_profile import PlacedProgram
from tlsrt.sandbox.seccomp.name_pins import NamePins
from tlsrt.sandbox.seccomp.reply_filter import AnsweringGroup
from tlsrt.supervisor.process.children import (
    AuthorityStart,
    CallRules,
    Child,
    HelperStart,
    LoopStart,
    ProgramStart,
    Sandbox,
)
from tlsrt.supervisor.process.egress_account import EgressUses
from tlsrt.supervisor.process.exit_reason import ExitReason
from tlsrt.supervisor.process.fork_servers import ForkServers
from tlsrt.supervisor.process.spawn import SpawnedChild, reap
from tlsrt.supervisor.process.uids import Uids


def empty_file() -> int:
    """Return the descriptor of a file with nothing in it."""
    return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)


class EmptyFiles:
    """`HostFiles` that hold nothing."""

    def open_boot_files(self, token: int) -> list[int]:
        return [empty_file() for _ in range(2)]

    def open_door_files(self) -> list[int]:
        return [empty_file() for _ in range(4)]

    def open_ca_key(self) -> int:
        return empty_file()


@dataclass
class FakeChildren:
    """Children by name: `channels` are the inner ends of those that live, `differences` what attestation finds."""

    profiles: Mapping[str, Profile] = field(default_factory=dict[str, Profile])
    files: EmptyFiles = field(default_factory=EmptyFiles)
    channels: dict[str, ControlChannel] = field(default_factory=dict[str, ControlChannel])
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict[str, subprocess.Popen[bytes]])
    differences: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    changes: dict[str, CodeChange] = field(default_factory=dict[str, CodeChange])  # of code
    identity: Uids = field(default_factory=lambda: Uids(True, os.geteuid(), 771000))
    pins: NamePins = field(default_factory=NamePins)
    uses: EgressUses = field(default_factory=EgressUses)
    disk_waits: dict[str, str] = field(default_factory=dict[str, str])  # where the kernel holds an event loop
    fork_servers: ForkServers = field(default_factory=ForkServers)  # none is begun

    # One life

    def claim(self) -> None:
        return

    def reserve(self) -> None:
        return

    def remove(self, name: str) -> None:
        return

    def release(self) -> None:
        return

    def preload_common(self) -> None:
        return

    def preload(self) -> None:
        return

    def preload_authority(self) -> bool:
        return False

    def limits(self) -> str:
        return "none, as faked"

    def uid(self, name: str) -> int:
        return os.geteuid()

    # One process

    def spawn_loop(self, start: LoopStart) -> Child:
        return self._spawn(start.loop, ControlChannel(os.dup(start.life), LIFE))

    def changed_code(self, name: str) -> CodeChange | None:
        return self.changes.get(name)

    def programs_of(self, process: str) -> Sequence[PlacedProgram]:
        return ()

    def proxies_of(self, process: str) -> Sequence[PlacedProgram]:
        return ()

    def spawn_program(self, start: ProgramStart) -> Child:
        raise InternalError("this host has no programs")

    def spawn_authority(self, start: AuthorityStart) -> Child:
        return self._spawn("authority", ControlChannel(os.dup(start.channel), AUTHORITY_CHANNEL))

    def spawn_helper(self, start: HelperStart) -> Child:
        return self._spawn("helper", ControlChannel(os.dup(start.channel), HELPER))

    def answering_group(self) -> AnsweringGroup:
        raise OSError(errno.ENOTSUP, "no control groups")

    def spawn_resolver(self, start: HelperStart) -> Child:
        return self._spawn("resolver", ControlChannel(os.dup(start.channel), RESOLVER))

    def _spawn(self, name: str, channel: ControlChannel) -> Child:
        self.channels[name] = channel
        process = self.processes[name] = subprocess.Popen(["sleep", "600"])
        return SpawnedChild(process.pid, os.pidfd_open(process.pid), process.pid)

    def reap(self, child: Child) -> ExitReason | None:
        reason = reap(child)
        for name, process in list(self.processes.items()):
            if reason is not None and process.pid == child.pid:
                process.returncode = 0  # it was collected above
                self.processes.pop(name)
                self.channels.pop(name).close()
        return reason

    def freeze(self, name: str) -> None:
        return

    def clear(self, name: str) -> bool:
        return True

    def oom_kills(self, name: str) -> int:
        return 0

    # Its sandbox

    def sandbox(self, name: str) -> Sandbox:
        return Sandbox()

    def call_rules(self, name: str) -> CallRules | None:
        return None

    def attest(self, name: str, pid: int) -> list[str]:
        return self.differences.get(name, [])

    def made_beat(self, name: str, pid: int, number: int, last: int) -> bool:
        return True

    def has_slept(self, name: str, pid: int) -> bool:
        return False

    def epoll_set(self, name: str, pid: int) -> int | None:
        return None

    def disk_wait(self, name: str, pid: int) -> str:
        return self.disk_waits.get(name, "")

    def limit_usage(self, name: str, pid: int) -> LimitUsage:
        return LimitUsage()

    def tighten(self, name: str, pid: int, limits: Mapping[str, int]) -> list[str]:
        return []

    # A reload

    def renewed(self, config: Config, code: Code) -> FakeChildren:
        raise NotImplementedError

    # The test

    def close(self) -> None:
        """End what still runs."""
        for process in self.processes.values():
            process.kill()
            process.wait()
        for channel in self.channels.values():
            channel.close()
