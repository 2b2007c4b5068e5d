"""Scenarios of sealed processes: probes for every profile, missing layers, threads. Run by probes.sandbox_scenarios."""

from __future__ import annotations

import asyncio
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
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from fakes.echo_server import echo_servers

from probes import sealed_probes as probes
from probes.confined_child import Facts, attempt, make_profile
from probes.watched_child import Watched
from tlsrt.config.egress import parse_egress
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


def _brokered(profile: Profile, ports: dict[str, int], writer: int, reports: int) -> int:
    confinement = enter_world(profile, {writer}, reports=reports)
    confinement.drop()
    import psutil

    loop = asyncio.new_event_loop()
    confinement.assert_one_task()
    confinement.seal()

    def tcp(port: int, *, host: str = "127.0.0.1", blocking: bool = True) -> None:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as client:
            client.setblocking(blocking)
            code = client.connect_ex((host, port))
            if code == errno.EINPROGRESS:
                select.select([], [client], [], 5)
                code = client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, "connect")
            client.setblocking(True)
            client.sendall(b"ping")
            if client.recv(4) != b"ping":
                raise OSError(errno.EPROTO, "echo")

    def udp(port: int) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect(("127.0.0.1", port))
            client.send(b"ping")
            client.settimeout(5)
            if client.recv(4) != b"ping":
                raise OSError(errno.EPROTO, "echo")

    async def streams() -> None:
        reader, writing = await asyncio.open_connection("127.0.0.1", ports["tcp"])
        writing.write(b"ping")
        if await reader.readexactly(4) != b"ping":
            raise OSError(errno.EPROTO, "echo")
        writing.close()

    def pair() -> None:
        """As paho wakes itself: by two TCP sockets on loopback."""
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_IP) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", 0))
            listener.listen(1)
            _, port = listener.getsockname()
            one = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_IP)
            one.setblocking(False)
            with suppress(BlockingIOError):
                one.connect(("127.0.0.1", port))
            other, _ = listener.accept()
        with one, other:
            one.send(b"wake")
            if other.recv(8) != b"wake":
                raise OSError(errno.EPROTO, "pair")

    def pairs() -> None:
        for _ in range(20):
            pair()

    def source() -> None:
        with socket.socket() as client:
            client.bind(("0.0.0.0", 0))
            client.connect(("127.0.0.1", ports["tcp"]))

    def door(address: tuple[str, int], backlog: int) -> None:
        with socket.socket() as listener:
            listener.bind(address)
            listener.listen(backlog)

    def again() -> None:
        for _ in range(200):
            with suppress(PermissionError):
                tcp(ports["other"])

    facts = {
        "pair": attempt(pairs),
        "source": attempt(source),
        "door": attempt(door, ("127.0.0.1", 0), 100),
        "door to all": attempt(door, ("0.0.0.0", 0), 100),
        "door on a port": attempt(door, ("0.0.0.0", 8443), 1),
        "again": attempt(again),
        "blocking": attempt(tcp, ports["tcp"]),
        "not blocking": attempt(lambda: tcp(ports["tcp"], blocking=False)),
        "mapped": attempt(lambda: tcp(ports["tcp"], host="::ffff:127.0.0.1")),
        "closed": attempt(tcp, ports["closed"]),
        "other port": attempt(tcp, ports["other"]),
        "other host": attempt(lambda: tcp(ports["tcp"], host="127.0.0.2")),
        "other family": attempt(lambda: tcp(ports["tcp"], host="::1")),
        "udp": attempt(udp, ports["udp"]),
        "udp to a tcp port": attempt(udp, ports["tcp"]),
        "asyncio": attempt(loop.run_until_complete, streams()),
        "addresses": attempt(psutil.net_if_addrs),
        "names": attempt(socket.if_nameindex),
        "bad pointer": probes.call("connect", socket.socket().fileno(), 8, 16),
        "bad length": probes.call("connect", socket.socket().fileno(), 4096, 1 << 20),
        "no socket": probes.call("connect", 0, probes._ADDRESS, 16),
        "no descriptor": probes.call("connect", 4711, probes._ADDRESS, 16),
    }
    with socket.socket() as kept:
        kept.setblocking(True)
        attempt(kept.connect, ("127.0.0.1", ports["closed"]))
        facts["still blocking"] = "yes" if kept.getblocking() and os.get_blocking(kept.fileno()) else "no"
    os.write(writer, json.dumps(facts).encode())
    return 0


def brokered(base: Path) -> Facts:
    """A loop with egress rules in the host's network namespace: what it reaches."""
    return _all_brokered(base, "external")


def brokered_from_outside(base: Path) -> Facts:
    """The same of one whose own network namespace is empty."""
    return _all_brokered(base, "fetcher")


def _all_brokered(base: Path, name: str) -> Facts:
    """Try all of it, with the supervisor's own monitor carrying out the calls."""
    profile = make_profile(base, name, sealing=True, watched=True)
    profile = replace(profile, read=(*profile.read, Path(probes.__file__).parent))
    with echo_servers() as ports:
        rules = (f"127.0.0.1:{ports['tcp']}", f"127.0.0.1:{ports['udp']}/udp", f"127.0.0.1:{ports['closed']}")
        profile = replace(profile, egress=tuple(parse_egress(rule) for rule in rules))
        before = len(os.listdir("/proc/self/fd"))
        watched = Watched(profile, partial(_brokered, profile, ports))
        leaked = len(os.listdir("/proc/self/fd")) - before
    said = [(violation.sentence, violation.wanted) for violation in watched.violations]
    return {
        **(json.loads(watched.text) if watched.text else {}),
        "end": watched.end,
        "violations": said,
        "leaked": leaked,
    }


SCENARIOS: dict[str, Callable[[Path], Facts]] = {
    scenario.__name__: scenario
    for scenario in (
        all_probes,
        brokered,
        brokered_from_outside,
        hidden_layers,
        forged_seal,
        threads,
        landlocked,
        nested,
        costs,
    )
}
