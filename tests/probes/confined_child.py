"""A cell: one confined child that answers a question and waits; with the profile and the probes that tests use."""

from __future__ import annotations

import errno
import json
import os
import resource
import select
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from tlsrt.config.components import LoopConfig
from tlsrt.config.defaults import COMPONENTS, PROCESSES
from tlsrt.config.door import DoorConfig
from tlsrt.config.egress import parse_egress
from tlsrt.config.needs import EgressConfig
from tlsrt.config.processes import DOOR_PROCESS
from tlsrt.config.schema import Config, KeySource
from tlsrt.sandbox import syscalls
from tlsrt.sandbox.apply.enter import Confinement, enter_world
from tlsrt.sandbox.profile.compose import code_paths, profile_for_authority, profile_for_loop
from tlsrt.sandbox.profile.profile import STAGE_1_LAYERS, STAGE_2_LAYERS, Profile
from tlsrt.sandbox.profile.profile_files import ProfileFiles
from tlsrt.supervisor.process.spawn import reap, spawn

FILES = ProfileFiles()

UID = 771001
LOOPS = (*PROCESSES, "reports", "proxy", "fetcher")  # declared: without, with a network, with egress rules only
NETWORK_LOOPS = ("external", "proxy")
UNREACHABLE = (EgressConfig((parse_egress("192.0.2.7:443"),), "an address that no host has"),)
SEALING_LAYERS = STAGE_1_LAYERS + STAGE_2_LAYERS
ROOTLESS = os.getuid() == 0 and Path("/proc/self/uid_map").read_text().split()[2] == "1"
Facts = dict[str, object]


def attempt(action: Callable[..., object], *arguments: object) -> str:
    try:
        action(*arguments)
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    except ValueError as error:  # resource.setrlimit says EPERM so
        return str(error)
    return "allowed"


def make_config(base: Path, egress: tuple[EgressConfig, ...] = (), name: str = "") -> Config:
    """A configuration in which the loops with a network have these egress rules, and fetcher one if there are none.

    It has the process of this `name`, also that of a door of its own.
    """
    has_door = name == DOOR_PROCESS
    rules = dict.fromkeys(NETWORK_LOOPS, egress) | {"fetcher": egress or UNREACHABLE}
    names = (*LOOPS, DOOR_PROCESS) if has_door else LOOPS
    named = tuple(LoopConfig(one, network=one in NETWORK_LOOPS, egress=rules.get(one, ())) for one in names)
    door = DoorConfig("127.0.0.1", 0, base / "c", base / "k", base / "ca", process="own" if has_door else "shared")
    return Config(
        path=base / "tlsrt.yaml", install_id=bytes(16), master_key=KeySource("file", base / "keys" / "master.key"),
        boot_token=base / "keys" / "boot.token", measure="strict", state_dir=base / "state", run_dir=base / "run",
        log_dir=base / "log", door=door, loops=named, components=COMPONENTS, policy=(), clients=(),
    )  # fmt: skip


def make_profile(
    base: Path,
    name: str = "third",
    *,
    sealing: bool = False,
    watched: bool = False,
    egress: tuple[EgressConfig, ...] = (),
    **changes: object,
) -> Profile:
    """The profile of a loop, with its folders made as the supervisor will make them.

    Without `sealing` it has no Landlock and no filters, so that a cell can try what namespaces and privileges stop;
    without `watched` its filters report to nobody.
    """
    config = make_config(base, egress, name)
    uid = 0 if ROOTLESS else UID
    code = code_paths([Path(__file__).parent, base / "home" / "package"])
    if name == "authority":
        profile = profile_for_authority(config, uid, FILES, rootless=ROOTLESS, code=code)
    else:
        profile = profile_for_loop(config, config.loop(name), uid, FILES, rootless=ROOTLESS, code=code)
    for host, _ in profile.write:
        host.mkdir(parents=True, exist_ok=True)
        os.chown(host, uid, uid)
        host.chmod(0o700)
    if not sealing:
        profile = replace(profile, layers=tuple(name for name in profile.layers if name not in SEALING_LAYERS))
    elif not watched:
        profile = replace(profile, layers=tuple(name for name in profile.layers if name != "seccomp_reports"))
    return replace(profile, **changes)  # type: ignore[arg-type]


class Cell:
    """A confined child that answers one question and then waits to be let go."""

    def __init__(
        self, profile: Profile, question: Callable[[Confinement], Facts], *, keep: tuple[int, ...] = (),
        seal: bool = True, own_pid_namespace: bool = True, group: int = -1,
    ) -> None:  # fmt: skip
        answer, self._writer = os.pipe()
        death, self._death = os.pipe()
        go, self._go = os.pipe()
        self._began = time.perf_counter()

        def body() -> int:
            confinement = enter_world(profile, {self._writer, go, *keep}, death_pipe=death)
            confinement.drop()
            took = (time.perf_counter() - self._began) * 1e3
            facts = question(confinement)
            if seal:
                confinement.assert_one_task()
                confinement.seal()
            report = confinement.report()
            digests = [(layer, value.hex()) for layer, value in report.digests]
            facts |= {"took_ms": took, "layers": report.layers, "waived": report.waived, "digests": digests}
            os.write(self._writer, json.dumps(facts).encode() + b"\n")
            os.read(go, 1)
            return 3

        self.child = spawn(body, own_pid_namespace=own_pid_namespace, group=group)
        for descriptor in (self._writer, death, go):
            os.close(descriptor)
        with os.fdopen(answer, "rb") as stream:
            line = stream.readline()
        self.facts: Facts = json.loads(line) if line else {}

    def end(self) -> str:
        with suppress(BrokenPipeError):  # it has refused to start
            os.write(self._go, b"g")
        select.select([self.child.pidfd], [], [])
        os.close(self._go)
        os.close(self._death)
        reason = str(reap(self.child))
        os.close(self.child.pidfd)
        return reason


def open_port() -> tuple[socket.socket, int]:
    listener = socket.create_server(("127.0.0.1", 0))
    return listener, listener.getsockname()[1]


def _read_all(path: str) -> None:
    Path(path).read_bytes()


def _connect(port: int) -> None:
    with socket.socket() as client:
        client.connect(("127.0.0.1", port))


def probe(base: Path, port: int, sibling: str) -> Facts:
    sys.path.insert(0, str(base / "home" / "package"))
    notes = import_module("notes_below_a_closed_home")
    limits = ("core", "fsize", "nofile", "memlock", "nproc", "data", "msgqueue")
    return {
        "root": sorted(os.listdir("/")),
        "lib_link": os.readlink("/lib") if os.path.islink("/lib") else None,
        "pid": os.getpid(),
        "ids": [*os.getresuid(), *os.getresgid()],
        "groups": os.getgroups(),
        "is_session_leader": os.getsid(0) == os.getpid(),
        "imported": notes.ANSWER,
        "late_import": attempt(__import__, "colorsys"),
        "shadow": attempt(_read_all, "/etc/shadow"),
        "passwd": attempt(_read_all, "/etc/passwd"),
        "master_key": attempt(_read_all, str(base / "keys" / "master.key")),
        "sibling": attempt(os.listdir, sibling),
        "base": sorted(os.listdir(base)) if os.path.isdir(base) else None,
        "write_root": attempt(open, "/x", "w"),
        "write_code": attempt(open, base / "home" / "package" / "x", "w"),
        "remount": attempt(syscalls.mount, None, "/", None, 32 | 4096),
        "mount": attempt(syscalls.mount, "tmpfs", "/state", "tmpfs"),
        "write_state": attempt(open, "/state/x", "w"),
        "write_channel": attempt(open, "/channel/x", "w"),
        "write_null": attempt(open, "/dev/null", "w"),
        "touch_null": attempt(os.utime, 0),
        "proc": os.path.isdir("/proc/self"),
        "sys": os.path.isdir("/sys/class"),
        "resolver": os.path.exists("/etc/nsswitch.conf") or os.path.exists("/etc/hosts"),
        "connect": attempt(_connect, port),
        "interfaces": sorted(name for _, name in socket.if_nameindex()),
        "kill_parent": attempt(os.kill, os.getppid() or 1 << 20, 0),
        "setuid": attempt(os.setuid, 1),
        "chroot": attempt(os.chroot, "/state"),
        "hostname": attempt(socket.sethostname, "captured"),
        "unshare_net": attempt(syscalls.unshare, syscalls.CLONE_NEWNET),
        "raise_limit": attempt(resource.setrlimit, resource.RLIMIT_NOFILE, (1 << 20, 1 << 20)),
        "descriptors": [number for number in range(256) if attempt(os.fstat, number) == "allowed"],
        "stdin_is_null": os.path.samestat(os.fstat(0), os.stat("/dev/null")),
        "no_new_privs": syscalls.prctl(39),
        "dumpable": syscalls.prctl(syscalls.PR_GET_DUMPABLE),
        "securebits": syscalls.prctl(syscalls.PR_GET_SECUREBITS),
        "limits": {name: resource.getrlimit(getattr(resource, f"RLIMIT_{name.upper()}"))[0] for name in limits},
        "umask": os.umask(0o077),
    }
