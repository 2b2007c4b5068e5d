"""A real Supervisor over real processes whose bodies follow a script: `scripted_supervisor.py FOLDER SCRIPT_JSON`.

There are three loops, and one more for each other name in the script. The script maps "authority" or a loop to what
it does. `FOLDER/tamper-NAME` makes attestation find a difference, `FOLDER/left-NAME` stands for descendants that do not
end.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from fakes.children import FakeChildren

from tlsrt.channels.control.authority_channel import AUTHORITY_CHANNEL
from tlsrt.channels.control.life import LIFE, FailCode, LoopState
from tlsrt.channels.control.seqpacket import ControlChannel
from tlsrt.command_line.run import folded
from tlsrt.config.components import LoopConfig
from tlsrt.config.door import DoorConfig
from tlsrt.config.schema import Config, KeySource, LimitsConfig
from tlsrt.config.supervision import read_supervision
from tlsrt.errors import PeerError, SandboxError
from tlsrt.supervisor.process.children import AuthorityStart, Child, LoopStart, Sandbox
from tlsrt.supervisor.process.console import standard_console
from tlsrt.supervisor.process.spawn import freeze, spawn
from tlsrt.supervisor.supervisor import Supervisor

LOOPS = ("primary", "secondary", "third")
# What a script says beside the deeds of loops; supervision: a tree as in a configuration, in JSON.
SETTINGS = ("authority", "lock_wait_s", "ready_timeout_s", "stop_timeout_s", "supervision")
BEAT_S = 0.5
Script = dict[str, str]


def loops_of(script: Script) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*LOOPS, *(name for name in script if name not in SETTINGS))))


def make_config(folder: Path, script: Script) -> Config:
    """Return a configuration below `folder`; its files are not real."""
    empty = folder / "empty"
    empty.write_bytes(b"")
    return Config(
        path=folder / "tlsrt.yaml",
        install_id=bytes(16),
        master_key=KeySource("file", empty),
        boot_token=empty,
        measure="strict",
        state_dir=folder / "state",
        run_dir=folder / "run",
        log_dir=folder / "log",
        door=DoorConfig("127.0.0.1", 0, empty, empty, empty),
        loops=tuple(LoopConfig(name) for name in loops_of(script)),
        components=(),
        policy=(),
        clients=(),
        limits=LimitsConfig(
            ready_timeout_s=float(script.get("ready_timeout_s", 5.0)),
            stop_timeout_s=float(script.get("stop_timeout_s", 0.8)),
        ),
        supervision=read_supervision(json.loads(script.get("supervision", "{}"))),
    )


def use_log(log: int) -> None:
    os.dup2(log, 1)
    os.dup2(log, 2)


# Loops


class Loop:
    """A loop without a runtime: it says what it has to say, and beats."""

    def __init__(self, start: LoopStart, deed: str) -> None:
        self.start = start
        self.deed = deed
        self.channel = ControlChannel(start.life, LIFE)
        self.state = LoopState.SPAWNED
        self.stopped = False

    def run(self) -> int:
        self.first_words()
        next_beat = time.monotonic() + BEAT_S
        while not self.stopped:
            select.select([self.channel.fileno()], [], [], max(0.0, next_beat - time.monotonic()))
            self.hear()
            if time.monotonic() >= next_beat:
                next_beat += BEAT_S
                self.beat()
        return 0

    def first_words(self) -> None:
        self.channel.send("confined", b"", b"")
        if self.deed == "unsealed":
            select.select([], [], [])
        self.channel.send("sealed")
        if self.deed == "unready":
            select.select([], [], [])
        self.channel.send("ready")

    def beat(self) -> None:
        if self.state is LoopState.ACTIVE:
            self.channel.send("beat", 1, 2000, 3, 4096, 5, 6, 7, 8, 1)

    def hear(self) -> None:
        try:
            while (message := self.channel.receive("supervisor", self.state)) is not None:
                name, fields, _ = message
                print(name, *fields, flush=True)
                self.act(name)
        except PeerError as error:
            print(f"life: {error.reason}", flush=True)
            os._exit(9)

    def act(self, name: str) -> None:
        if name == "activate":
            self.activate()
        elif name == "drain" and self.deed != "stubborn":
            self.channel.send("drained")
        elif name == "stop" and self.deed != "stubborn":
            self.stopped = True

    def activate(self) -> None:
        if self.deed == "inactive":
            return
        if self.deed == "crash_if" and (self.start.config.path.parent / f"crash-{self.start.loop}").exists():
            os._exit(3)  # as long as there is a file that says so
        self.channel.send("active")
        self.state = LoopState.ACTIVE
        after = DEEDS.get(self.deed)
        if after is not None:
            after(self)


def raw(self: Loop, packet: bytes) -> None:
    os.write(self.channel.fileno(), packet)


def hang(self: Loop) -> None:
    self.beat()
    select.select([], [], [])


def flood(self: Loop) -> None:
    while True:
        try:
            self.beat()
        except PeerError as error:
            if error.reason != "hung":
                raise


def fail_import(self: Loop) -> None:
    self.channel.send("failed", int(FailCode.COMPONENT_START), 0)
    select.select([], [], [], 5)


def close_life(self: Loop) -> None:
    self.channel.close()
    select.select([], [], [], 5)


def with_descriptors(self: Loop) -> None:
    import array
    import socket

    end = socket.socket(fileno=os.dup(self.channel.fileno()))
    for _ in range(20):
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0] * 8))
        end.sendmsg([LIFE.encode("beat", *(1,) * 9)], [rights])
    end.detach()
    self.beat()
    print("sent", flush=True)


def command(self: Loop, request: bytes = b'{"verb": "stop"}\n') -> None:
    """Its uid is that of the supervisor, and no mount namespace hides the socket."""
    import socket

    end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    os.chdir(self.start.config.run_dir)
    end.connect("control.sock")
    try:
        end.sendall(request)
    except BrokenPipeError:
        pass  # it may be closed already; the word is there all the same
    print("answer", end.recv(1000).decode().strip(), flush=True)


DEEDS: dict[str, Callable[[Loop], object]] = {
    "crash": lambda loop: os._exit(3),
    "quit": lambda loop: os._exit(0),
    "segfault": lambda loop: os.kill(os.getpid(), signal.SIGSEGV),
    "hang": hang,
    "flood": flood,
    "fail": fail_import,
    "close_life": close_life,
    "garbage": lambda loop: raw(loop, os.urandom(64)),
    "oversize": lambda loop: raw(loop, LIFE.encode("beat", *(1,) * 9) + b"x" * 100_000),
    "empty": lambda loop: os.write(loop.channel.fileno(), b""),
    "again": lambda loop: loop.channel.send("ready"),
    "as_supervisor": lambda loop: loop.channel.send("primary_down"),
    "nested": lambda loop: raw(loop, b"\x91" * 200),
    "descriptors": with_descriptors,
    "command": command,
    "listen": lambda loop: command(loop, b'{"verb": "events", "follow": true}\n'),
}


def loop_body(start: LoopStart, script: Script) -> int:
    use_log(start.log)
    print(f"born {time.monotonic()}", flush=True)
    deed = script.get(start.loop, "")
    if deed.startswith("once:"):
        deed = deed.removeprefix("once:") if start.incarnation <= len(loops_of(script)) else ""
    if deed == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if deed == "no_sandbox":
        ControlChannel(start.life, LIFE).send("failed", int(FailCode.SANDBOX), 0)
        raise SandboxError("net_namespace", "Operation not permitted")
    if deed == "no_import":
        ControlChannel(start.life, LIFE).send("failed", int(FailCode.IMPORT), 0)
        return 70
    if deed == "stillborn":
        return 3
    if deed == "ready_first":
        ControlChannel(start.life, LIFE).send("ready")
        select.select([], [], [])
    return Loop(start, deed).run()


# Authority


def _next_epoch(folder: Path) -> int:
    """Return 7 for the first authority of a host, and one more for each that follows."""
    count = folder / "epochs"
    with count.open("a") as file:
        file.write(".")
    return 6 + count.stat().st_size


def authority_body(start: AuthorityStart, script: Script) -> int:
    use_log(start.log)
    deed = script.get("authority", "")
    channel = ControlChannel(start.channel, AUTHORITY_CHANNEL)
    if deed == "silent":
        select.select([], [], [])
    if deed == "no_sandbox":
        raise SandboxError("uid", "Operation not permitted")
    epoch = _next_epoch(start.config.state_dir)
    if deed != "unsealed":
        channel.send("booted" if deed == "boots_itself" else "sealed", *([7, []] if deed == "boots_itself" else []))
    state = "new"
    next_beat = time.monotonic() + BEAT_S
    while True:
        select.select([channel.fileno()], [], [], max(0.0, next_beat - time.monotonic()))
        while (message := channel.receive("supervisor", state, descriptors=True)) is not None:
            name, fields, descriptors = message
            print(name, *[field for field in fields if type(field) is not bytes], len(descriptors), flush=True)
            if name == "boot":
                print("trust", len(start.trust), flush=True)
                if deed == "refuse":
                    channel.send("refused", ["the boot token is wrong: put the right one back", "and so is the key"])
                    return 78
                if deed == "garbage":
                    os.write(channel.fileno(), b"\xc1")
                state = "booted"
                channel.send("booted", epoch, ["a warning"])
            elif name == "attested" and deed == "offended":
                channel.send("event", "offence", f"{fields[0]}: bad_fields")
            elif name == "stop":
                return 0
        if time.monotonic() >= next_beat:
            next_beat += BEAT_S
            if state == "booted":
                channel.send("beat", 1500, epoch, {"third": 3})


class ScriptedChildren(FakeChildren):
    """Real processes, whose bodies do what the script says."""

    def __init__(self, folder: Path, script: Script) -> None:
        super().__init__()
        self._folder = folder
        self._script = script

    def preload_common(self) -> None:
        return

    def preload(self) -> None:
        freeze()

    def limits(self) -> str:
        return "none, as scripted"

    def spawn_loop(self, start: LoopStart) -> Child:
        return spawn(lambda: loop_body(start, self._script), own_pid_namespace=False)

    def spawn_authority(self, start: AuthorityStart) -> Child:
        return spawn(lambda: authority_body(start, self._script), own_pid_namespace=False)

    def clear(self, name: str) -> bool:
        return not (self._folder / f"left-{name}").exists()

    def sandbox(self, name: str) -> Sandbox:
        return Sandbox(("uid", "no_new_privs"), {"net_namespace": "a test"}, "as scripted")

    def attest(self, name: str, pid: int) -> list[str]:
        assert os.path.isdir(f"/proc/{pid}")
        return ["uids are (0, 0, 0, 0), not all 771003"] if (self._folder / f"tamper-{name}").exists() else []


def main() -> int:
    folder, script = Path(sys.argv[1]), json.loads(sys.argv[2])
    config = make_config(folder, script)
    supervisor = Supervisor(
        config,
        ScriptedChildren(folder, script),
        standard_console(),
        measure=lambda: b"\x80",
        warnings=("a waived layer",),
        lock_wait_s=float(script.get("lock_wait_s", 2.0)),
        chance=lambda: 1.0,  # the longest delays
    )
    return folded("tlsrt-supervisor", supervisor.run)


if __name__ == "__main__":
    sys.exit(main())
