"""What one process may see and use, as a frozen value with a digest; nothing here acts.

A profile is composed from fragments: a base and what the process of that name needs (`profiles/*.yaml`), and what the
configuration and the components ask for (`requested.py`): see `compose.py`. The supervisor makes it before the fork;
the child applies exactly it; attestation compares exactly it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tlsrt.config.egress import EgressRule
from tlsrt.config.name_rules import NameRule
from tlsrt.sandbox.cgroup.cgroup import BACKGROUND_WEIGHT, GroupPath, Limits
from tlsrt.sandbox.profile.grants import ListenLine
from tlsrt.sandbox.profile.policy import EMPTY_POLICY, FilterStage, Policy
from tlsrt.sandbox.profile.profile_files import DISK, LIBZMQ, THREADS

AUTHORITY = "authority"
HELPER, NETWORK_HELPER, RESOLVER, METRICS = "helper", "network_helper", "resolver", "metrics"
EXPORT = "export"
ACME = "acme"
LEARNER = "learner"
SERVICES = (RESOLVER, METRICS, EXPORT, ACME, LEARNER)
HELPERS = (HELPER, NETWORK_HELPER)
_THREADS = {  # by the fragment that lets them be made
    AUTHORITY: 2,  # for the disks of its state and of the audit log
    LIBZMQ: 2,  # one for input and output, one that ends sockets
}
# The order is the order of application; `layers.py` holds the code of each.
WORLD_LAYERS = (
    "cgroup", "session", "descriptors", "pid_namespace", "net_namespace", "ipc_namespace", "uts_namespace",
    "mount_namespace", "limits",
)  # fmt: skip
DROP_LAYERS = (
    "bounding_set", "ambient_set", "securebits", "uid", "capabilities", "no_new_privs", "not_dumpable", "parent_death",
)  # fmt: skip
STAGE_1_LAYERS = ("landlock", "seccomp_reports", "seccomp")
STAGE_2_LAYERS = ("landlock_sealed", "seccomp_sealed")
ALL_LAYERS = WORLD_LAYERS + DROP_LAYERS + STAGE_1_LAYERS + STAGE_2_LAYERS
ASKS = frozenset({"seccomp_reports", "seccomp"})  # without these it makes its sockets itself
ATTESTATION = "attestation"  # no layer of the process, but what only a look from outside can tell: may be waived too
WAIVABLE = (*ALL_LAYERS, ATTESTATION)
FILTER_LAYERS = frozenset(
    {"seccomp", "seccomp_sealed"}
)  # those that add one seccomp filter each, which attestation counts


@dataclass(frozen=True, slots=True)
class Profile:
    """The confinement of one process; all paths absolute, limits in the units of setrlimit(2)."""

    name: str
    uid: int
    gid: int
    rootless: bool = False  # no uid of its own: it keeps the supervisor's, which is 0 in the user namespace
    network: bool = False  # keep the host's network namespace
    egress: tuple[EgressRule, ...] = ()  # what it may reach outside; nothing else
    names: tuple[NameRule, ...] = ()  # the same, by names
    hosts: Path | None = None  # the folder whose files it sees as /etc/hosts and /etc/nsswitch.conf
    proc: bool = False  # a fresh read-only /proc of its own pid namespace
    sys: bool = False  # the host's /sys, read-only
    read: tuple[Path, ...] = ()  # folders and files bound read-only at the same path
    hidden: tuple[Path, ...] = ()  # folders below those that it finds empty
    kept: tuple[Path, ...] = ()  # those of them that are still readable after the seal: data, not code
    write: tuple[tuple[Path, str], ...] = ()  # (folder of the host, path inside)
    execute: tuple[Path, ...] = ()  # files that may be executed: of a program only
    files: tuple[tuple[str, str], ...] = ()  # (path, text) that are made in its root: of a program only
    secrets: tuple[str, ...] = ()  # names of files in its /secrets, which its launcher fills: of a program only
    speaks_by_name: bool = False  # it may open /dev/stdout and /dev/stderr: of a program only
    scratch_mb: int = 0  # of a folder /tmp that ends with the process; 0: there is none
    limits: Mapping[str, int] = field(default_factory=dict[str, int])  # "nofile" -> soft and hard limit
    layers: tuple[str, ...] = ALL_LAYERS
    waived: frozenset[str] = frozenset()
    policy: Policy = EMPTY_POLICY  # its system calls
    threads: int = 0  # that its components asked for
    disk_threads: int = 0  # of its components, which start before the seal
    listen: tuple[ListenLine, ...] = ()  # sockets that it inherits
    sockets: tuple[str, ...] = ()  # UNIX sockets of other programs that it may connect to
    buses: tuple[tuple[str, str], ...] = ()  # (socket of a bus, where we listen for its proxy instead)
    group: GroupPath | None = None  # its control group, where the host has any
    keeps_root: bool = False  # uid 0, which has no more rights by that than its capabilities
    capabilities: tuple[str, ...] = ()  # that it keeps
    is_background: bool = False  # it computes for a component, and others of the host come first
    reopened: tuple[str, ...] = ()  # roots of file systems: what is handed over of them may be opened anew

    def digest(self) -> bytes:
        """Return the SHA-256 (32 bytes) of the canonical form: equal profiles, equal digests.

        Without the control group, whose name is another one in each start, and which is there or not as the host has
        it, whatever the profile says: so a profile has one digest, here, in status and in `sandbox show`.
        """
        import msgpack

        form = [
            "tlsrt/profile/v1", self.name, self.uid, self.gid, self.rootless, self.network,
            sorted(str(rule) for rule in self.egress), self.proc, self.sys,
            sorted(os.fsencode(path) for path in self.read), sorted(os.fsencode(path) for path in self.kept),
            sorted([os.fsencode(host), inside] for host, inside in self.write),
            sorted([name, value] for name, value in self.limits.items()),
            [layer for layer in self.layers if layer != "cgroup"], sorted(self.waived), self.threads,
            self.disk_threads,
            sorted(one.form for one in self.listen), sorted(self.sockets),
            *self.policy.digests(watched=self.is_watched),
            self.keeps_root, [*self.reopened],
            *([sorted(one.form for one in self.names)] if self.names else []),
            *([os.fsencode(self.hosts)] if self.hosts is not None else []),
            *([sorted(map(list, self.buses))] if self.buses else []),
            *([sorted(self.capabilities)] if self.capabilities else []),
            *([sorted(map(os.fsencode, self.execute)), self.scratch_mb] if self.execute or self.scratch_mb else []),
            *([sorted(map(list, self.files))] if self.files else []), *([sorted(self.secrets)] if self.secrets else []),
            *([["hidden", *sorted(map(os.fsencode, self.hidden))]] if self.hidden else []),
            *(["speaks_by_name"] if self.speaks_by_name else []),
            *(["background"] if self.is_background else []),
        ]  # fmt: skip
        return hashlib.sha256(msgpack.packb(form, use_bin_type=True)).digest()

    @property
    def passed_on(self) -> tuple[str, ...]:
        """Return the capabilities that an execve keeps: those of a program, whose launcher has no use for them."""
        return self.capabilities if self.execute else ()

    @property
    def is_watched(self) -> bool:
        """Say whether its first filter notifies the supervisor."""
        return self.expects("seccomp_reports")

    @property
    def has_sockets(self) -> bool:
        """Say whether it has sockets besides those of the runtime."""
        return bool(self.network or self.egress or self.names or self.listen or self.sockets or self.buses)

    @property
    def max_tasks(self) -> int | None:
        """Return how many tasks it can have after the seal. None if a part of its policy lets it make any number.

        Each part that lets threads be made makes a known number of them, or there is no bound. Threads that components
        asked for come and go, and one that has ended is still seen for a moment: there may be as many of these.
        """
        known = self.tasks_at_once
        return None if known is None or not self.expects("seccomp_sealed") else known + self.threads

    @property
    def tasks_at_once(self) -> int | None:
        """Return how many tasks run at the same time at most, which is what the kernel is told; None as above."""
        parts = {entry.part for entry in self.policy.allowed(FilterStage.IMPORTING) if "clone" in entry.calls}
        if parts - _THREADS.keys() - {THREADS, DISK}:
            return None
        return 1 + sum(_THREADS.get(part, 0) for part in parts) + self.threads + self.disk_threads

    def expects(self, layer: str) -> bool:
        """Say whether attestation must find this layer: wanted, and not waived by the operator."""
        return (layer in self.layers or layer == ATTESTATION) and layer not in self.waived


def with_group(profile: Profile, place: GroupPath) -> Profile:
    """Return the profile of a process that lives in a control group."""
    return replace(profile, group=place, layers=("cgroup", *profile.layers))


def group_limits(profile: Profile, tasks: int) -> Limits:
    """Return the limits of a process's control group: memory as its rlimit of data, and its tasks.

    Those cannot be taken from the rlimit, which without root counts all processes of the user. Where components asked
    for threads, there are these and no more.
    """
    known = profile.tasks_at_once if profile.threads else None
    weight = BACKGROUND_WEIGHT if profile.is_background else None
    return Limits(profile.limits["data"], tasks if known is None else known, weight)
