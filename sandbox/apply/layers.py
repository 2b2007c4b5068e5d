"""The layers of confinement: one row each, in the order of application. A new layer is a new row.

A row names its step and the function that applies it; the function raises OSError or SandboxError if it cannot, and
returns the digest of what it installed (a filter, a rule set) or nothing. `profile.py` lists the same names, and a
test compares them.
"""

from __future__ import annotations

import errno
import os
import resource
import select
import signal
import stat
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from enum import IntEnum

from tlsrt.config.egress import EgressRule
from tlsrt.errors import SandboxError
from tlsrt.sandbox import syscalls
from tlsrt.sandbox.apply import landlock
from tlsrt.sandbox.apply.root_filesystem import CANARY, SCRATCH, SECRETS, RootPlan, build_root
from tlsrt.sandbox.capabilities import NUMBERS, effective, mask
from tlsrt.sandbox.cgroup.cgroup import PROCS, parse_own_group, write
from tlsrt.sandbox.profile.fragment import SPOKEN
from tlsrt.sandbox.profile.policy import Filters
from tlsrt.sandbox.profile.profile import Profile
from tlsrt.sandbox.seccomp import install
from tlsrt.sandbox.seccomp.notify import REPORTS, close_taken_listener, offer_listener
from tlsrt.sandbox.seccomp.once import with_number


class LayerStep(IntEnum):
    """When a layer is applied; the numbers only order them."""

    WORLD = 1  # before our imports: what the process can see
    DROP = 2  # after our imports: what the process can do
    SEAL_STAGE_1 = 3  # right after DROP, before foreign code: Landlock A, first filter
    SEAL_FILES = 4  # after foreign imports, event loop and sockets: Landlock B
    SEAL_CALLS = 5  # the last filter, for all threads


@dataclass(frozen=True, slots=True)
class LayerContext:
    """What a layer may need beside the profile. Descriptors to keep, one that hangs up when the parent ends, ..."""

    keep: frozenset[int]
    death_pipe: int | None
    reports: int | None = None  # a socket over which the supervisor hears of the first filter's listener
    plan: RootPlan | None = None  # of the root, if it was made before the fork
    once: int = 0  # the number of the one execve of a program's launcher; 0: there is none
    applied: list[str] = field(default_factory=list[str])  # names of the layers before
    listeners: list[int] = field(default_factory=list[int])  # the listener, until it has been taken
    held: dict[str, int] = field(default_factory=dict[str, int])  # folders of the host to make rules of, until the seal


@dataclass(frozen=True, slots=True)
class Layer:
    """One row: `apply` returns the digest of what it installed, or None."""

    name: str
    step: LayerStep
    apply: Callable[[Profile, LayerContext], bytes | None]


# capabilities(7): NOROOT, NO_SETUID_FIXUP and NO_CAP_AMBIENT_RAISE on, KEEP_CAPS off, all four locked.
SECUREBITS = 0b11101111
_LAST_POSSIBLE_CAPABILITY = 63


def _cgroup(profile: Profile, context: LayerContext) -> None:
    if profile.group is None:
        raise SandboxError("cgroup", "this process was given no group")
    with open("/proc/self/cgroup", encoding="ascii", errors="surrogateescape") as file:
        if parse_own_group(file.read()) == profile.group.name:
            return  # it was started in it
    write(profile.group.folder / PROCS, "0")


def _session(profile: Profile, context: LayerContext) -> None:
    os.setsid()
    try:  # the kernel should rather end a loop than the supervisor; raising needs no privilege
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("500")
    except OSError:
        return  # wanted for tidiness, not a protection


def _descriptors(profile: Profile, context: LayerContext) -> None:
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    os.dup2(null, 0, inheritable=False)
    kept = context.keep | {0, 1, 2} | {one for one in (context.death_pipe, context.reports) if one is not None}
    syscalls.close_all_but(kept)
    for descriptor in kept:
        try:
            mode = os.fstat(descriptor).st_mode
        except OSError as error:
            if error.errno == errno.EBADF and descriptor < 3:
                os.dup2(0, descriptor, inheritable=False)  # a closed stderr would become the next socket
                continue
            raise
        if stat.S_ISDIR(mode):  # "..", taken from an open folder, leaves any new root
            raise SandboxError("descriptors", f"descriptor {descriptor} is a folder of the host")


def _pid_namespace(profile: Profile, context: LayerContext) -> None:
    if os.getpid() != 1:  # the namespace begins with the fork, so the supervisor makes it
        raise SandboxError("pid_namespace", "this process is not the first of a pid namespace of its own")


def _net_namespace(profile: Profile, context: LayerContext) -> None:
    syscalls.unshare(syscalls.CLONE_NEWNET)


def _ipc_namespace(profile: Profile, context: LayerContext) -> None:
    syscalls.unshare(syscalls.CLONE_NEWIPC)


def _uts_namespace(profile: Profile, context: LayerContext) -> None:
    syscalls.unshare(syscalls.CLONE_NEWUTS)


def _mount_namespace(profile: Profile, context: LayerContext) -> None:
    for path in profile.reopened:
        context.held[path] = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    build_root(profile, context.plan)
    # Of a mount that is read-only: by descriptor 0 it sets no times of the host's /dev/null, which others watch.
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    os.dup2(null, 0, inheritable=False)
    os.close(null)


def _limits(profile: Profile, context: LayerContext) -> None:
    os.umask(0o077)
    for name, value in profile.limits.items():
        kind = getattr(resource, f"RLIMIT_{name.upper()}", None)
        if kind is None:
            raise SandboxError("limits", f"there is no limit {name!r}")
        _, hard = resource.getrlimit(kind)
        wanted = value if hard == resource.RLIM_INFINITY else min(value, hard)  # only a privileged process may raise
        resource.setrlimit(kind, (wanted, wanted))


def _bounding_set(profile: Profile, context: LayerContext) -> None:
    for capability in range(_LAST_POSSIBLE_CAPABILITY + 1):
        if mask(profile.passed_on) >> capability & 1:
            continue
        try:
            syscalls.prctl(syscalls.PR_CAPBSET_DROP, capability)
        except OSError as error:
            if error.errno == errno.EINVAL and capability > 0:
                return  # above the last capability of this kernel
            raise


def _ambient_set(profile: Profile, context: LayerContext) -> None:
    syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_CLEAR_ALL)
    if profile.passed_on:  # of another uid than root, an execve keeps what is ambient and nothing else
        syscalls.capset(effective(), mask(profile.passed_on))
    for name in profile.passed_on:
        syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_RAISE, NUMBERS[name], 0, 0)


def _securebits(profile: Profile, context: LayerContext) -> None:
    syscalls.prctl(syscalls.PR_SET_SECUREBITS, SECUREBITS)


def _uid(profile: Profile, context: LayerContext) -> None:
    if (profile.uid == 0 or profile.gid == 0) and not profile.keeps_root:
        raise SandboxError("uid", "a process of its own uid cannot be uid 0")
    os.setgroups([])
    os.setresgid(profile.gid, profile.gid, profile.gid)
    os.setresuid(profile.uid, profile.uid, profile.uid)


def _capabilities(profile: Profile, context: LayerContext) -> None:
    syscalls.capset(
        mask(profile.capabilities), mask(profile.passed_on)
    )  # securebits keep a uid change from doing it for us


def _no_new_privs(profile: Profile, context: LayerContext) -> None:
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)


def _not_dumpable(profile: Profile, context: LayerContext) -> None:
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)


def _parent_death(profile: Profile, context: LayerContext) -> None:
    syscalls.die_with_parent(signal.SIGKILL)  # again: the uid change has cleared it
    if context.death_pipe is None:
        return
    poll = select.poll()
    poll.register(context.death_pipe, 0)  # only hang-up and error
    if poll.poll(0):  # getppid() is 0 in here, so only the pipe tells what happened before the line above
        raise SandboxError("parent_death", "the supervisor has ended")


def _landlock(profile: Profile, context: LayerContext) -> bytes:
    return landlock.apply_rules(landlock_rules(profile, context.applied, sealed=False), context.held)


def _landlock_sealed(profile: Profile, context: LayerContext) -> bytes:
    return landlock.apply_rules(landlock_rules(profile, context.applied, sealed=True), context.held)


_MOST_PORTS = 64  # one rule each; a wider range is left to the egress rules alone


def connect_ports(egress: Iterable[EgressRule]) -> frozenset[int] | None:
    """Return the TCP ports that egress rules name, whatever the address. None if they are too many to list."""
    ports: set[int] = set()
    for rule in egress:
        if rule.protocol == "tcp":
            if rule.last_port - rule.first_port >= _MOST_PORTS:
                return None
            ports.update(range(rule.first_port, rule.last_port + 1))
    return frozenset(ports) if len(ports) <= _MOST_PORTS else None


def landlock_rules(profile: Profile, applied: Collection[str], *, sealed: bool) -> landlock.Rules:
    """Return what a process may open, before the seal its code too. `applied` tells if it has a root of its own."""
    has_root = "mount_namespace" in applied
    readable = profile.kept if sealed else profile.read
    paths = [(os.fspath(path), landlock.READ) for path in readable]
    kernels = (("/proc", profile.proc), ("/sys", profile.sys))
    # Of a root that is reopened only its name is in sight, such as /proc/self/fd: to follow a link needs no right.
    paths += [(name, landlock.READ) for name, wanted in kernels if wanted and name not in profile.reopened]
    paths += [(path, landlock.REOPEN) for path in profile.reopened]
    paths += [("/dev/null", landlock.DEVICE)]
    paths += [(os.fspath(path), landlock.READ_FILE | landlock.EXECUTE) for path in profile.execute]
    paths += [(path, landlock.READ_FILE) for path, _ in profile.files if has_root]
    if has_root and profile.secrets:
        paths.append((SECRETS, landlock.READ))
    if has_root and profile.speaks_by_name:
        paths += [(path, landlock.DEVICE) for path in SPOKEN]
    if has_root and profile.scratch_mb:
        paths.append((SCRATCH, landlock.STATE))
    if has_root and not sealed:
        paths.append(("/", landlock.LIST))  # of a root that holds nothing but the profile's paths
    if has_root:
        paths.append((CANARY, landlock.READ_FILE))  # or an attempt would fail before anybody heard of it
    for host, inside in profile.write:
        rights = landlock.CHANNEL if inside == "/channel" else landlock.STATE
        paths.append((inside if has_root else os.fspath(host), rights))
    return landlock.Rules(tuple(paths), frozenset(), connect_ports(profile.egress))


def _seccomp_reports(profile: Profile, context: LayerContext) -> None:
    if not profile.is_watched:
        raise SandboxError(REPORTS, "waived: a filter that notified all the same would be another one")
    if context.reports is None:
        raise SandboxError(REPORTS, "there is no supervisor to take the reports")
    install.check_notifications()


def _seccomp(profile: Profile, context: LayerContext) -> bytes:
    program = _filters(profile).importing
    if context.once:
        program = with_number(program, context.once)
    if profile.is_watched and context.reports is not None:
        context.listeners.append(offer_listener(context.reports, install.install_watched(program)))
    else:
        install.install(program)
    return profile.policy.digests(watched=profile.is_watched)[0]


def _seccomp_sealed(profile: Profile, context: LayerContext) -> bytes:
    for listener in context.listeners:
        close_taken_listener(context.reports, listener)
    install.install_at(_filters(profile).seal.address)
    return profile.policy.digests(watched=profile.is_watched)[1]


def make_filters(profile: Profile) -> None:
    """Make what the layers will want of the policy, which keeps it. Raises SandboxError."""
    if "seccomp" in profile.waived:
        return
    _filters(profile)
    profile.policy.digests(watched=profile.is_watched)


def _filters(profile: Profile) -> Filters:
    return profile.policy.filters(watched=profile.is_watched, pid=os.getpid())


LAYERS: tuple[Layer, ...] = (
    Layer("cgroup", LayerStep.WORLD, _cgroup),
    Layer("session", LayerStep.WORLD, _session),
    Layer("descriptors", LayerStep.WORLD, _descriptors),
    Layer("pid_namespace", LayerStep.WORLD, _pid_namespace),
    Layer("net_namespace", LayerStep.WORLD, _net_namespace),
    Layer("ipc_namespace", LayerStep.WORLD, _ipc_namespace),
    Layer("uts_namespace", LayerStep.WORLD, _uts_namespace),
    Layer("mount_namespace", LayerStep.WORLD, _mount_namespace),
    # Before the uid change: afterwards the supervisor could not raise a limit again without CAP_SYS_RESOURCE.
    Layer("limits", LayerStep.WORLD, _limits),
    Layer("bounding_set", LayerStep.DROP, _bounding_set),
    Layer("ambient_set", LayerStep.DROP, _ambient_set),
    Layer("securebits", LayerStep.DROP, _securebits),
    Layer("uid", LayerStep.DROP, _uid),
    Layer("capabilities", LayerStep.DROP, _capabilities),
    Layer("no_new_privs", LayerStep.DROP, _no_new_privs),
    Layer("not_dumpable", LayerStep.DROP, _not_dumpable),
    Layer("parent_death", LayerStep.DROP, _parent_death),
    Layer("landlock", LayerStep.SEAL_STAGE_1, _landlock),
    Layer("seccomp_reports", LayerStep.SEAL_STAGE_1, _seccomp_reports),
    Layer("seccomp", LayerStep.SEAL_STAGE_1, _seccomp),
    Layer("landlock_sealed", LayerStep.SEAL_FILES, _landlock_sealed),
    Layer("seccomp_sealed", LayerStep.SEAL_CALLS, _seccomp_sealed),
)
