"""Scenarios of sealed processes: probes for every profile, missing layers, threads. Run by probes.sandbox_scenarios."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import select
import socket
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from probes import sealed_probes as probes
from probes.confined_child import Facts, attempt, make_profile
from probes.watched_child import Watched
from tlsrt.errors import SandboxError
from tlsrt.sandbox.apply import landlock
from tlsrt.sandbox.apply.enter import enter_world
from tlsrt.sandbox.profile.profile import Profile
from tlsrt.sandbox.seccomp import install
from tlsrt.sandbox.seccomp.bpf import ALLOW, Case, Check, Rule, assemble, errno_action
from tlsrt.sandbox.seccomp.syscall_numbers import NUMBERS
from tlsrt.sandbox.verify.attest import attest, own_namespaces
from tlsrt.supervisor.process.spawn import reap, spawn

PROCESSES = (
    "authority", "primary", "primary.door", "primary.facts", "secondary", "third", "forth", "external", "reports",
    "proxy", "fetcher",
)  # fmt: skip
MACHINE = os.uname().machine
PROBES_OF_ONE = 48  # more refused calls than 64 end a process
PR_SET_NO_NEW_PRIVS = 38
_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def in_child(body: Callable[[], Facts], **options: bool) -> Facts:
    """Fork, run, and return the facts with how the child ended."""
    reader, writer = os.pipe()

    def run() -> int:
        facts = body()
        os.write(writer, json.dumps(facts).encode() + b"\n")
        return 0

    child = spawn(run, **options)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        text = stream.read()
    select.select([child.pidfd], [], [])
    end = str(reap(child))
    os.close(child.pidfd)
    return {**(json.loads(text) if text else {}), "end": end}


def _probe_from(profile: Profile, names: list[str], writer: int, reports: int) -> int:
    confinement = enter_world(profile, {writer}, reports=reports)
    kept = probes.Kept()
    confinement.drop()
    confinement.assert_one_task()
    confinement.seal()
    for name in names:
        os.write(writer, f"{name} ".encode())
        os.write(writer, f"{probes.run_probe(name, kept)}\n".encode())
    return 0


def probe_profile(profile: Profile) -> dict[str, str]:
    """Try every probe in a sealed process; after one that ends it, and after some dozens, go on in a new process."""
    left = probes.names()
    found: dict[str, str] = {}
    while left:
        watched = Watched(profile, partial(_probe_from, profile, left[:PROBES_OF_ONE]))
        end = "killed" if watched.was_killed else watched.end
        lines = watched.text.decode("ascii").split("\n")
        for line in lines[:-1]:
            name, _, outcome = line.partition(" ")
            found[name] = outcome
        if lines[-1]:
            found[lines[-1].strip()] = end
        elif end != "exit 0":
            return {**found, "failed": f"{end} {watched.violations}"}
        left = [name for name in left if name not in found]
    return found


def all_probes(base: Path) -> Facts:
    """Every probe in every profile, beside a listener on an abstract socket of the host."""
    with socket.socket(socket.AF_UNIX) as decoy:
        decoy.bind(probes.ABSTRACT)
        decoy.listen()
        return {name: probe_profile(make_profile(base, name, sealing=True, watched=True)) for name in PROCESSES}


def _outer(call: str, answer: int, *, argument: int | None = None) -> None:
    """A filter around everything, as a container's: one call, perhaps with one first argument, gets this answer."""
    case = Case((Check(0, (argument,)),), answer) if argument is not None else Case((Check(0, (0,), 0),), answer)
    install.install(assemble(MACHINE, {NUMBERS[MACHINE][call]: Rule((case,), ALLOW)}, ALLOW))


HIDDEN = {
    "seccomp_absent": ("seccomp", errno.ENOSYS, "seccomp"),
    "seccomp_refused": ("seccomp", errno.EPERM, "seccomp"),
    "landlock_absent": ("landlock_create_ruleset", errno.ENOSYS, "landlock"),
    "landlock_off": ("landlock_create_ruleset", errno.EOPNOTSUPP, "landlock"),
    "landlock_refused": ("landlock_restrict_self", errno.EPERM, "landlock"),
}


def hidden_layers(base: Path) -> Facts:
    """A host that cannot seal: refused with the layer's name, or accepted when waived, and reported."""
    profile = make_profile(base, sealing=True)
    found: Facts = {}
    for name, (call, number, layer) in HIDDEN.items():
        waiving = replace(profile, waived=frozenset({layer, f"{layer}_sealed"}))
        found[name] = in_child(lambda call=call, number=number: _enter_hidden(profile, call, number))  # type: ignore[misc]
        found[f"{name}_waived"] = in_child(
            lambda waiving=waiving, call=call, number=number: _enter_hidden(waiving, call, number)  # type: ignore[misc]
        )
    return found


def _enter_hidden(profile: Profile, call: str, number: int) -> Facts:
    _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _outer(call, errno_action(number))
    try:
        confinement = enter_world(profile, set(range(3, 256)) & _open_descriptors())
        confinement.drop()
        confinement.assert_one_task()
        confinement.seal()
    except SandboxError as error:
        return {"layer": error.layer, "reason": error.reason}
    report = confinement.report()
    return {"layers": report.layers, "waived": report.waived}


def _open_descriptors() -> set[int]:
    return {int(name) for name in os.listdir("/proc/self/fd")} - {int(name) for name in _folders()}


def _folders() -> list[str]:
    return [name for name in os.listdir("/proc/self/fd") if os.path.isdir(f"/proc/self/fd/{name}")]


def forged_seal(base: Path) -> Facts:
    """Foreign code hides the seal: a filter of its own answers success to seccomp(2). Attestation counts."""
    profile = make_profile(base, sealing=True)
    own = own_namespaces()
    reader, writer = os.pipe()
    go, release = os.pipe()

    def body() -> int:
        confinement = enter_world(profile, {writer, go})
        confinement.drop()
        forged = assemble(MACHINE, {NUMBERS[MACHINE]["seccomp"]: Rule((), 0x00050000)}, ALLOW)
        install.install(forged)  # from here on every filter would seem to be installed
        confinement.assert_one_task()
        confinement.seal()
        os.write(writer, b"sealed")
        os.read(go, 1)
        return 0

    child = spawn(body)
    os.close(writer)
    said = os.read(reader, 10).decode()
    differences = attest(child.host_pid, profile, own)
    os.close(release)
    os.close(go)
    select.select([child.pidfd], [], [])
    return {"said": said, "differences": differences, "end": str(reap(child))}


def _refuse_getppid() -> bytes:
    return assemble(MACHINE, {NUMBERS[MACHINE]["getppid"]: Rule((), errno_action(errno.EPERM))}, ALLOW)


def _ask_getppid() -> str:
    return "EPERM" if _libc.syscall(ctypes.c_long(NUMBERS[MACHINE]["getppid"])) == -1 else "allowed"


def _older_thread() -> Facts:
    asked, answer = threading.Event(), {}

    def wait() -> None:
        asked.wait()
        answer["thread"] = _ask_getppid()

    thread = threading.Thread(target=wait)
    thread.start()
    _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    install.install(_refuse_getppid())
    modes = install.task_modes(install.TASKS)
    asked.set()
    thread.join()
    return {**answer, "main": _ask_getppid(), "modes": sorted((modes or {}).values())}


def _diverged_thread() -> Facts:
    filtered, done = threading.Event(), threading.Event()

    def diverge() -> None:
        program = assemble(MACHINE, {}, ALLOW)
        code = ctypes.create_string_buffer(program, len(program))
        header = ctypes.create_string_buffer(
            (len(program) // 8).to_bytes(8, "little") + ctypes.addressof(code).to_bytes(8, "little")
        )
        _libc.syscall(ctypes.c_long(NUMBERS[MACHINE]["seccomp"]), ctypes.c_ulong(1), ctypes.c_ulong(0), header)
        filtered.set()
        done.wait()

    _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    thread = threading.Thread(target=diverge)
    thread.start()
    filtered.wait()
    try:
        install.install(_refuse_getppid())
        outcome = "installed"
    except SandboxError as error:
        outcome = error.reason
    finally:
        done.set()
        thread.join()
    return {"outcome": outcome, "main": _ask_getppid()}


def _without_no_new_privs() -> Facts:
    try:
        install.install(_refuse_getppid())
    except SandboxError as error:
        return {"outcome": error.reason, "main": _ask_getppid()}
    return {"outcome": "installed"}


def threads(base: Path) -> Facts:
    """An older thread is filtered too; one with a filter of its own stops the seal."""
    return {
        "older": in_child(_older_thread),
        "diverged": in_child(_diverged_thread),
        "privileged": in_child(_without_no_new_privs),
    }


def _landlocked(base: Path) -> Facts:
    inside, outside = base / "in", base / "out"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "file").write_text("x")
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_server(("127.0.0.1", 0)) as other:
        port = listener.getsockname()[1]
        _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        rules = landlock.Rules(
            ((str(inside), landlock.STATE), (str(base / "absent"), landlock.READ), ("/dev/null", landlock.DEVICE)),
            frozenset(), frozenset({port}),
        )  # fmt: skip
        digest = landlock.apply_rules(rules)

        def connect(number: int) -> None:
            with socket.socket() as client:
                client.connect(("127.0.0.1", number))

        return {
            "abi": landlock.landlock_abi(),
            "digest": digest.hex(),
            "read_in": attempt(open, inside / "file"),
            "write_in": attempt(open, inside / "new", "w"),
            "rename_in": attempt(os.rename, inside / "new", inside / "newer"),
            "remove_in": attempt(os.unlink, inside / "newer"),
            "fifo_in": attempt(os.mkfifo, inside / "fifo"),
            "link_in": attempt(os.symlink, "/etc/shadow", inside / "link"),
            "read_out": attempt(open, outside / "file"),
            "list_out": attempt(os.listdir, outside),
            "write_out": attempt(open, outside / "new", "w"),
            "move_out": attempt(os.rename, inside / "file", outside / "moved"),
            "null": attempt(open, "/dev/null", "w"),
            "connect_listed": attempt(connect, port),
            "connect_other": attempt(connect, other.getsockname()[1]),
            "bind": attempt(socket.create_server, ("127.0.0.1", 0)),
            "signal_out": attempt(os.kill, os.getppid(), 0),
            "signal_self": attempt(os.kill, os.getpid(), 0),
        }


def landlocked(base: Path) -> Facts:
    """Landlock alone, without any other layer."""
    return in_child(lambda: _landlocked(base), own_pid_namespace=False)


def _nested(base: Path) -> Facts:
    _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    rules = landlock.Rules((("/", landlock.READ),))
    for number in range(20):
        try:
            landlock.apply_rules(rules)
        except SandboxError as error:
            return {"layers": number, "reason": error.reason}
    return {"layers": 20}


def nested(base: Path) -> Facts:
    """More Landlock layers than the kernel stacks."""
    return in_child(lambda: _nested(base), own_pid_namespace=False)


def costs(base: Path) -> Facts:
    """Median milliseconds of each sealing layer over nine sealed processes, and of both filters' assembly."""
    profile = make_profile(base, "primary", sealing=True)
    profile.digest()  # imports msgpack, as a supervisor has
    runs = [in_child(lambda: _costs(profile)) for _ in range(9)]
    median = {key: statistics.median(float(str(run[key])) for run in runs) for key in ("landlock", "seccomp", "total")}
    return {"median_ms": median, "ends": [run["end"] for run in runs]}


def _costs(profile: Profile) -> Facts:
    from tlsrt.sandbox.apply.layers import landlock_rules

    _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    rules = [landlock_rules(profile, (), sealed=sealed) for sealed in (False, True)]
    filters = profile.policy.filters(watched=False, pid=os.getpid())
    began = time.perf_counter()
    landlock.apply_rules(rules[0])
    first = time.perf_counter()
    install.install(filters.importing)
    second = time.perf_counter()
    landlock.apply_rules(rules[1])
    third = time.perf_counter()
    install.install_at(filters.seal.address)
    fourth = time.perf_counter()
    return {
        "landlock": (first - began + third - second) * 1e3,
        "seccomp": (second - first + fourth - third) * 1e3,
        "total": (fourth - began) * 1e3,
    }


SCENARIOS: dict[str, Callable[[Path], Facts]] = {
    scenario.__name__: scenario
    for scenario in (
        all_probes,
        hidden_layers,
        forged_seal,
        threads,
        landlocked,
        nested,
        costs,
    )
}
