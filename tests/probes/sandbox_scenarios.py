"""What runs inside: a small supervisor, and the children that it confines and asks. Run by probes.sandbox_runner.

Each scenario is a function of the base folder that returns facts as a dictionary, printed as one JSON line; the tests
in pytest's own process judge them.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from probes import brokered_scenarios as brokered
from probes import cgroup_scenarios as grouped
from probes import explain_scenarios as explained
from probes import sealed_scenarios as sealed
from probes.confined_child import ROOTLESS, SEALING_LAYERS, Cell, Facts, attempt, make_profile, open_port, probe
from tlsrt.config.defaults import PROCESSES
from tlsrt.errors import SandboxError, TlsrtError
from tlsrt.sandbox import syscalls
from tlsrt.sandbox.apply.enter import Confinement, enter_world
from tlsrt.sandbox.profile.profile import Profile
from tlsrt.sandbox.verify.attest import attest, own_namespaces
from tlsrt.supervisor.process.spawn import freeze, reap, reap_strangers, spawn


def full(base: Path) -> Facts:
    """Two siblings, one asked everything; attested from outside."""
    own = own_namespaces()
    listener, port = open_port()
    with listener:
        profile = make_profile(base)
        sibling = Cell(make_profile(base, "secondary"), lambda _: {})
        cell = Cell(profile, lambda _: probe(base, port, str(base / "state" / "secondary")))
        differences = attest(cell.child.host_pid, profile, own, max_tasks=1)
        confused = attest(sibling.child.host_pid, profile, own)
        descriptors = len(os.listdir("/proc/self/fd"))
        ends = [cell.end(), sibling.end()]
        gone = attest(cell.child.host_pid, profile, own)
    return cell.facts | {
        "differences": differences, "confused": confused, "gone": gone, "ends": ends, "rootless": ROOTLESS,
        "supervisor_pid": os.getpid(), "limits_wanted": dict(profile.limits), "supervisor_descriptors": descriptors,
    }  # fmt: skip


def every_profile(base: Path) -> Facts:
    """Each default loop and the authority: facts from inside, differences from outside."""
    own = own_namespaces()
    found: Facts = {}
    listener, port = open_port()
    with listener:
        for name in (*PROCESSES, "authority"):
            profile = make_profile(base, name)
            cell = Cell(profile, lambda _: probe(base, port, str(base / "state" / "nobody")))
            found[name] = cell.facts | {"differences": attest(cell.child.host_pid, profile, own)}
            cell.end()
    return found


def missing_layer(base: Path) -> Facts:
    """For each layer that shows outside: a child without it, compared with the whole profile."""
    own = own_namespaces()
    profile = make_profile(base, sealing=True)
    found: Facts = {}
    for name in profile.layers:
        lacking = replace(profile, layers=tuple(layer for layer in profile.layers if layer != name))
        if name == "mount_namespace":  # without it closed homes stay closed
            lacking = replace(lacking, read=())
        if name == "no_new_privs":  # without it nobody may seal
            lacking = replace(lacking, layers=tuple(layer for layer in lacking.layers if layer not in SEALING_LAYERS))
        cell = Cell(lacking, lambda _: {}, own_pid_namespace=name != "pid_namespace")
        found[name] = attest(cell.child.host_pid, profile, own)
        cell.end()
    return found


def _unshare_user(_: Confinement) -> Facts:
    syscalls.unshare(syscalls.CLONE_NEWUSER)
    return {}


def _start_threads(_: Confinement) -> Facts:
    for _number in range(2):
        threading.Thread(target=signal.pause, daemon=True).start()
    return {}


def tampered(base: Path) -> Facts:
    """Children that are confined otherwise than their profile says."""
    own = own_namespaces()
    profile = make_profile(base)
    other = base / "other"
    other.mkdir()
    more = replace(profile, write=(*profile.write, (other, "/other")))
    swapped = replace(profile, write=((other, "/state"), *profile.write[1:]))
    seen = replace(profile, read=(*profile.read, Path("/etc")))
    found: Facts = {}
    for name, actual, question in (
        ("writable folder", more, lambda _: {}),
        ("other folder", swapped, lambda _: {}),
        ("more to read", seen, lambda _: {}),
        ("network", replace(profile, layers=tuple(set(profile.layers) - {"net_namespace"})), lambda _: {}),
        ("user namespace", profile, _unshare_user),
        ("threads", profile, _start_threads),
    ):
        cell = Cell(replace(actual, layers=_ordered(actual)), question, seal=False)
        found[name] = attest(cell.child.host_pid, profile, own, max_tasks=1)
        cell.end()
    return found


def _ordered(profile: Profile) -> tuple[str, ...]:
    from tlsrt.sandbox.profile.profile import ALL_LAYERS

    return tuple(name for name in ALL_LAYERS if name in profile.layers)


def waived(base: Path) -> Facts:
    """A layer that fails: refused, or reported when the operator waived it."""
    profile = make_profile(base)
    refused = Cell(profile, lambda _: {}, own_pid_namespace=False)
    accepted = Cell(replace(profile, waived=frozenset({"pid_namespace"})), lambda _: {}, own_pid_namespace=False)
    attested = attest(accepted.child.host_pid, replace(profile, waived=frozenset({"pid_namespace"})), own_namespaces())
    facts = accepted.facts | {"differences": attested}
    return {"accepted": facts, "refused": refused.facts, "ends": [refused.end(), accepted.end()]}


def _outcome(body: Callable[[], int]) -> str:
    child = spawn(body)
    select.select([child.pidfd], [], [])
    reason = str(reap(child))
    os.close(child.pidfd)
    return reason


def _thread_first(base: Path) -> int:
    confinement = enter_world(make_profile(base), ())
    confinement.drop()
    threading.Thread(target=signal.pause, daemon=True).start()
    confinement.assert_one_task()
    return 0


def _folder_kept(base: Path) -> int:
    enter_world(make_profile(base), {os.open("/", os.O_RDONLY)})
    return 0


def _unreadable(base: Path) -> int:
    closed = base / "closed"
    closed.mkdir(mode=0o700)
    if ROOTLESS:
        closed.chmod(0o000)
    enter_world(replace(make_profile(base), read=(*make_profile(base).read, closed)), ()).drop()
    return 0


def _absent(base: Path) -> int:
    enter_world(replace(make_profile(base), read=(base / "absent",)), ())
    return 0


def _orphaned(base: Path) -> int:
    death, writer = os.pipe()
    confinement = enter_world(make_profile(base), (), death_pipe=death)
    with suppress(OSError):
        os.close(writer)
    confinement.drop()
    return 0


def refusals(base: Path) -> Facts:
    """Ways to end before anything runs."""
    found: Facts = {
        "thread": _outcome(lambda: _thread_first(base)),
        "folder": _outcome(lambda: _folder_kept(base)),
        "unreadable": _outcome(lambda: _unreadable(base)),
        "absent": _outcome(lambda: _absent(base)),
        "orphaned": _outcome(lambda: _orphaned(base)),
    }
    (base / "closed").chmod(0o700)  # so that it can be removed
    return found


def _fail() -> int:
    raise RuntimeError("two\nlines")


def _fail_typed() -> int:
    raise SandboxError("limits", "no such luck")


def _kill_self() -> int:
    signal.pthread_kill(threading.get_ident(), signal.SIGABRT)
    os.kill(os.getpid(), signal.SIGKILL)
    os.abort()


def _inherited() -> int:
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)]
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    quiet = signal.getsignal(signal.SIGPIPE) == signal.SIG_IGN
    wakeup = signal.set_wakeup_fd(-1)
    return 42 if handlers == [signal.SIG_DFL] * 3 and not blocked and quiet and wakeup == -1 else 1


def _wait_for_ever() -> int:
    while True:
        signal.pause()


def _parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().split("PPid:")[1].split()[0])


def spawning(base: Path) -> Facts:
    """How children of `spawn` begin and end."""
    _, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.signal(signal.SIGUSR1, lambda *_: None)
    signal.set_wakeup_fd(writer)
    facts: Facts = {
        "exit": _outcome(lambda: 5),
        "system_exit": _outcome(lambda: sys.exit(6)),
        "error": _outcome(_fail),
        "typed": _outcome(_fail_typed),
        "inherited": _outcome(_inherited),
        "large_code": _outcome(lambda: 256 + 7),
    }
    child = spawn(_wait_for_ever)
    facts["running"] = reap(child) is None
    facts["ours"] = os.getpid() == 1 and os.readlink("/proc/self/ns/pid") == os.readlink(
        "/proc/self/ns/pid_for_children"
    )
    facts["pids"] = [
        child.pid,
        child.host_pid,
        int(Path(f"/proc/{child.host_pid}/status").read_text().split("PPid:")[1].split()[0]),
    ]
    facts["own_host_pid"] = int(os.readlink("/proc/self"))
    signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
    select.select([child.pidfd], [], [])
    facts["killed"] = str(reap(child))
    facts["frozen"] = gc.get_freeze_count() > 0
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        spawn(lambda: 0)
    except TlsrtError as error:
        facts["threaded"] = f"{type(error).__name__}: {error}"
    stop.set()
    thread.join()
    return facts


def strangers(base: Path) -> Facts:
    """Process 1 reaps orphans that were never its children, and leaves its children alone."""

    def leave_orphan() -> int:
        if os.fork() == 0:
            if os.fork() == 0:
                os.close(reader)
                os._exit(0)
            os._exit(0)
        os.wait()
        return 0

    reader, writer = os.pipe()
    child = spawn(leave_orphan, own_pid_namespace=False)
    os.close(writer)
    os.read(reader, 1)  # end of file: the orphan, its parent and the child have ended
    select.select([child.pidfd], [], [])
    before = reap_strangers({child.pid})
    reason = str(reap(child))
    with suppress(ChildProcessError):  # the end of file comes a moment before the orphan can be reaped
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
    return {
        "reason": reason,
        "reaped": before + reap_strangers(()),
        "left": attempt(os.waitid, os.P_ALL, 0, os.WEXITED),
    }


def _with_grandchild(_: Confinement) -> Facts:
    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            signal.pause()
    return {}


def linger(base: Path) -> Facts:
    """Leaves two confined children and a grandchild of another session, says their host pids, and waits."""
    cells = [Cell(make_profile(base, name), _with_grandchild, seal=False) for name in ("secondary", "third")]
    parents = {cell.child.host_pid for cell in cells}
    pids = sorted(parents)
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            if _parent_of(int(entry)) in parents:
                pids.append(int(entry))
    print(json.dumps({"supervisor": int(os.readlink("/proc/self")), "pids": pids}), flush=True)
    while True:
        signal.pause()


def obey(base: Path) -> Facts:
    """Prints a line for each signal, and ends with TERM."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    about = {"session": os.getsid(0) == os.getpid(), "pid": os.getpid(), "host_pid": int(os.readlink("/proc/self"))}
    blocked = sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
    print(json.dumps({"arguments": sys.argv[1:], "blocked": blocked, **about}), flush=True)
    while True:
        name = signal.Signals(signal.sigwaitinfo(numbers).si_signo).name
        print(json.dumps({"signal": name}), flush=True)
        if name == "SIGTERM":
            sys.exit(9)


def slow_start(base: Path) -> Facts:
    """A supervisor that has no handlers yet: says that it is there, and waits."""
    print(json.dumps({"host_pid": int(os.readlink("/proc/self"))}), flush=True)
    while True:
        signal.pause()


def timing(base: Path) -> Facts:
    """Milliseconds from the call of spawn to the end of drop, of 15 children; and of as many bare interpreters."""
    profile = make_profile(base, sealing=True)
    found: list[object] = []
    interpreters: list[object] = []
    for _ in range(15):
        cell = Cell(profile, lambda _: {})
        found.append(cell.facts["took_ms"])
        cell.end()
        began = time.perf_counter()
        subprocess.run([sys.executable, "-I", "-B", "-c", ""], check=True)
        interpreters.append((time.perf_counter() - began) * 1e3)
    return {"took_ms": found, "interpreter_ms": interpreters}


SCENARIOS: dict[str, Callable[[Path], Facts]] = {
    scenario.__name__: scenario
    for scenario in (
        full, every_profile, missing_layer, tampered, waived, refusals, spawning, strangers, linger, obey, slow_start,
        timing,
    )
} | sealed.SCENARIOS | brokered.SCENARIOS | grouped.SCENARIOS | explained.SCENARIOS  # fmt: skip


def supervise(arguments: list[str]) -> int:
    """Entry of the inner process: the last two arguments are scenario and base folder."""
    freeze()
    facts = SCENARIOS[arguments[-2]](Path(arguments[-1]))
    print(json.dumps({"arguments": arguments, **facts}), flush=True)
    return 0
