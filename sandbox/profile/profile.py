"""What one process may see and use, as a frozen value with a digest; nothing here acts.

A profile is composed from fragments: a base and what the process of that name needs (`profiles/*.yaml`), and what the
configuration and the components ask for (`requested.py`). The supervisor makes it before the fork; the child applies
exactly it; attestation compares exactly it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tlsrt.config import door_places
from tlsrt.config.components import LoopConfig
from tlsrt.config.egress import EgressRule
from tlsrt.config.name_rules import NameRule, address_rules, name_rules
from tlsrt.config.processes import links_of
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError, InternalError, SandboxError
from tlsrt.sandbox.cgroup.cgroup import GroupPath, Limits
from tlsrt.sandbox.profile.fragment import CHANNEL, CODE, STATE, Line, PolicyFragment
from tlsrt.sandbox.profile.grants import ListenLine
from tlsrt.sandbox.profile.policy import EMPTY_POLICY, FilterStage, Policy
from tlsrt.sandbox.profile.profile_files import (
    DISK,
    LIBZMQ,
    LISTEN,
    NETWORK,
    THREADS,
    ProfileFiles,
    names_for,
)
from tlsrt.sandbox.profile.requested import (
    check_reads,
    check_writes,
    disk_threads_of,
    listeners_of,
    overlap,
    requested_fragments,
    secrets,
    settings_of,
    threads_of,
)

AUTHORITY = "authority"
HELPER, NETWORK_HELPER, RESOLVER = "helper", "network_helper", "resolver"
HELPERS = (HELPER, NETWORK_HELPER)
# Roots of the host's file systems of devices and settings. They are not in the helper's own root: it can open what the
# supervisor hands over of them. Whole, as the kernel keeps the roots alone in memory, and a rule is one of an inode.
_REOPENED = ("/dev", "/proc", "/sys")
_REOPENED_OF_NETWORK = ("/proc", "/sys")
UNCOUNTED_MB = 4096  # address space beside the data: code, reserves of malloc, and what costs page tables only
_THREADS = {  # by the fragment that lets them be made
    AUTHORITY: 2,  # for the disks of its state and of the audit log
    LIBZMQ: 2,  # one for input and output, one that ends sockets
}
HOSTS_FILES = ("/etc/hosts", "/etc/nsswitch.conf")  # those of a process with names are links to its own
_IN_FLIGHT = 512  # descriptors that one sender can have under way beyond its own limit
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
_ASKS = frozenset({"seccomp_reports", "seccomp"})  # without these it makes its sockets itself
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
    kept: tuple[Path, ...] = ()  # those of them that are still readable after the seal: data, not code
    write: tuple[tuple[Path, str], ...] = ()  # (folder of the host, path inside)
    execute: tuple[Path, ...] = ()  # files that may be executed: of a program only
    files: tuple[tuple[str, str], ...] = ()  # (path, text) that are made in its root: of a program only
    secrets: tuple[str, ...] = ()  # names of files in its /secrets, which its launcher fills: of a program only
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
    return Limits(profile.limits["data"], tasks if known is None else known)


def _layers(*, rootless: bool, network: bool) -> tuple[str, ...]:
    left_out = {"cgroup", "uid"} if rootless else {"cgroup"}  # a group is not everywhere: see `with_group`
    if network:
        left_out.add("net_namespace")
    return tuple(name for name in ALL_LAYERS if name not in left_out)


def waived_layers(config: Config) -> frozenset[str]:
    """Return the layers that the operator does without. Raises ConfigError for one that does not exist."""
    unknown = sorted(set(config.sandbox.waive) - set(WAIVABLE))
    if unknown:
        known = ", ".join(WAIVABLE)
        raise ConfigError([f"sandbox.waive: there is no layer {name!r}; the layers are {known}" for name in unknown])
    return frozenset(config.sandbox.waive)


def checked_read(name: str, paths: Sequence[Path], config: Config) -> tuple[Path, ...]:
    """Refuse folders that hold secrets. Rootless, where all have one uid, nothing else would hide them."""
    hidden = [Path(os.path.realpath(secret)) for secret in secrets(config)]
    for path in paths:
        if not path.is_absolute():
            raise SandboxError("mount_namespace", f"{name} cannot read {path}: the path must be absolute")
        real = Path(os.path.realpath(path))
        for secret in hidden:
            if overlap(real, secret):
                raise SandboxError(
                    "mount_namespace",
                    f"{name} would read {secret} below {path}: keep code and secrets in folders apart",
                )
    return tuple(dict.fromkeys(paths))


def check_requests(config: Config, loop: LoopConfig, files: ProfileFiles, code: Sequence[Path]) -> None:
    """Refuse what the components of a process cannot have, before anything is made of it.

    Raises ConfigError, and SandboxError for a folder that holds secrets.
    """
    fragments = _fragments_of_loop(config, loop, files)
    data = [path for one in fragments for line in one.lines["data"] for path in expand(line, code)]
    read = checked_read(loop.name, [*code, *data], config)
    check_reads(fragments)
    check_writes(config, loop.name, read)


def _connections(config: Config) -> int:
    """Return how many descriptors Primary may need: for all clients, and all connections of other processes.

    What cannot be accepted stays readable and is asked for again and again, so no process may use up Primary's.
    """
    door = config.door
    endpoint = config.deception.endpoint
    decoy = endpoint.max_connections if endpoint is not None else 0
    return door.max_connections + door.max_unauthenticated + door_places.ALL + decoy + 128 + links_of(len(config.loops))


def fragments_of(config: Config, process: str, files: ProfileFiles) -> tuple[PolicyFragment, ...]:
    """Return the fragments of a process: those that come with tlsrt, then the requested ones.

    Raises ConfigError for what cannot be had, SandboxError for a fragment that is wrong.
    """
    if process in (AUTHORITY, *HELPERS, RESOLVER):
        return files.fragments(names_for(process, network=False))
    return _fragments_of_loop(config, config.loop(process), files)


def _fragments_of_loop(config: Config, loop: LoopConfig, files: ProfileFiles) -> tuple[PolicyFragment, ...]:
    requested = requested_fragments(config, loop, files)
    outbound = any(one.egress for one in requested)
    wishes = loop.network is not False and any(one.lines["network"] for one in requested)
    is_asked = _ASKS.isdisjoint(config.sandbox.waive)  # or no supervisor hears of its calls, and it makes them itself
    if outbound and not is_asked and loop.network is False:
        raise ConfigError(
            f"loops.{loop.name}: egress rules do without the host's network only where the supervisor hears of system "
            f"calls ({' and '.join(sorted(_ASKS))} are not waived): remove `network: false`, or the rules"
        )
    names = names_for(
        loop.name, network=bool(loop.network) or wishes or (outbound and not is_asked), engine=config.channels.engine,
        outbound=outbound, direct=not is_asked, asked=_asked(config, loop.name),
        accepts=not any(one.is_watched for one in config.listeners if one.process == loop.name),
    )  # fmt: skip
    return (*files.fragments(names), *requested)


def _asked(config: Config, process: str) -> list[str]:
    """Return the fragments for what components of a process ask for."""
    kinds = ((THREADS, threads_of), (DISK, disk_threads_of), (LISTEN, listeners_of))
    return [name for name, count in kinds if count(config, process)]


def profile_for_loop(
    config: Config, loop: LoopConfig, uid: int, files: ProfileFiles, *, rootless: bool, code: Sequence[Path]
) -> Profile:
    """Return the profile of a loop that runs as `uid` and imports from `code`, see `code_paths`.

    Its filters are made too, so that a forked child finds them. Raises ConfigError for an unknown waived layer and for
    what cannot be had, SandboxError for a folder that cannot be bound or a filter that cannot be made.
    """
    settings = settings_of(config, loop) | ({"connections": _connections(config)} if loop.name == "primary" else {})
    settings["address_mb"] = settings["memory_mb"] + UNCOUNTED_MB
    fragments = _fragments_of_loop(config, loop, files)
    policy = files.policy(loop.name, fragments)
    made = _profile(config, policy, uid, fragments, settings, rootless=rootless, code=code)
    made = replace(made, threads=threads_of(config, loop.name), disk_threads=disk_threads_of(config, loop.name))
    return _with_hosts(made, config) if made.names else made


def _with_hosts(profile: Profile, config: Config) -> Profile:
    """Return the profile of a process that finds its names in files of its own, in place of the host's."""
    folder = name_folder(config, profile.name)
    read, kept = (
        tuple(path for path in paths if str(path) not in HOSTS_FILES) for paths in (profile.read, profile.kept)
    )
    return replace(profile, hosts=folder, read=(*read, folder), kept=(*kept, folder))


def name_folder(config: Config, process: str) -> Path:
    """Return the folder of the files in which a process finds its names."""
    return config.run_dir / "names" / process


def profile_for_authority(
    config: Config, uid: int, files: ProfileFiles, *, rootless: bool, code: Sequence[Path]
) -> Profile:
    """Return the profile of the authority: no network, no /proc, one writable folder."""
    others = (settings_of(config, loop)["open_files"] for loop in config.loops)
    settings = {"above_loops": max([_connections(config), *others]) + _IN_FLIGHT}
    fragments = fragments_of(config, AUTHORITY, files)
    policy = files.policy(AUTHORITY, fragments)
    return _profile(config, policy, uid, fragments, settings, rootless=rootless, code=code)


def profile_for_helper(
    config: Config, uid: int, files: ProfileFiles, *, rootless: bool, code: Sequence[Path], name: str = HELPER
) -> Profile:
    """Return the profile of a helper: root by its uid only, since /proc/sys asks for it with each write.

    That of the network keeps the one capability that its grants take, and opens nothing of /dev anew. Raises
    ConfigError where there is none to keep.
    """
    fragments = fragments_of(config, name, files)
    profile = _profile(config, files.policy(name, fragments), uid, fragments, {}, rootless=rootless, code=code)
    if name == HELPER:
        return replace(profile, keeps_root=not rootless, reopened=_REOPENED)
    if rootless:
        raise ConfigError("routes, sets of nftables and settings with a capability need tlsrt to be started as root")
    return replace(profile, keeps_root=True, reopened=_REOPENED_OF_NETWORK, capabilities=("CAP_NET_ADMIN",))


def profile_for_resolver(
    config: Config, uid: int, files: ProfileFiles, *, rootless: bool, code: Sequence[Path]
) -> Profile:
    """Return the profile of the resolver: no file but code, and no socket but those that it is handed."""
    fragments = fragments_of(config, RESOLVER, files)
    return _profile(config, files.policy(RESOLVER, fragments), uid, fragments, {}, rootless=rootless, code=code)


def _profile(
    config: Config, policy: Policy, uid: int, fragments: tuple[PolicyFragment, ...], settings: Mapping[str, int],
    *, rootless: bool, code: Sequence[Path],
) -> Profile:  # fmt: skip
    name = policy.name

    def lines(section: str) -> list[Line]:
        return [line for one in fragments for line in one.lines[section]]

    def paths(section: str) -> list[Path]:
        return [path for line in lines(section) for path in expand(line, code)]

    network = any(one.name == NETWORK for one in fragments)
    mounts = {path for line in lines("mounts") for path in line.paths}
    read = checked_read(name, [*paths("code"), *paths("data")], config)
    check_reads(fragments)
    check_writes(config, name, read)
    rules = [rule for one in fragments for line in one.egress for rule in line.rules]
    profile = Profile(
        name=name,
        uid=uid,
        gid=uid,
        rootless=rootless,
        network=network,
        egress=address_rules(rules),
        names=name_rules(rules),
        proc="/proc" in mounts,
        sys="/sys" in mounts,
        read=read,
        kept=tuple(dict.fromkeys(paths("data"))),
        write=tuple(dict.fromkeys(_folder(config, name, path) for line in lines("write") for path in line.paths)),
        limits=limits_of(fragments, settings, rootless=rootless),
        layers=_layers(rootless=rootless, network=network),
        waived=waived_layers(config),
        policy=policy,
        listen=tuple(line for one in fragments for line in one.listen),
        sockets=tuple(dict.fromkeys(line.path for one in fragments for line in one.sockets if not line.proxy)),
        buses=tuple((line.path, line.proxy) for one in fragments for line in one.sockets if line.proxy),
    )
    if any(0 <= line.number < profile.limits["nofile"] for line in profile.listen):
        raise InternalError(f"{name}: the number of a listener is one that it could give to another descriptor")
    policy.filters(watched=profile.is_watched, pid=1)  # as the child will ask: what is kept is kept by arguments
    policy.digests(watched=profile.is_watched)
    return profile


def expand(line: Line, code: Sequence[Path]) -> list[Path]:
    """Return the paths of a line of `code` or `data`: `$code` is what we import from.

    What comes with tlsrt names files that a host may not have; they are left out. What an operator names must be there.
    """
    found: list[Path] = []
    for path in line.paths:
        if path == CODE:
            found += code
        elif line.must_exist or os.path.exists(path):
            found.append(Path(path))
    return found


def _folder(config: Config, name: str, path: str) -> tuple[Path, str]:
    """Return (folder of the host, path inside) of a line of `write`."""
    own = {STATE: config.state_dir / name, CHANNEL: config.run_dir / "channel" / name}
    return own.get(path, Path(path)), path


def limits_of(fragments: Iterable[PolicyFragment], settings: Mapping[str, int], *, rootless: bool) -> dict[str, int]:
    """Return the limits of fragments, in the units of setrlimit(2). Raises SandboxError for an unknown setting."""
    last = {line.limit: line for one in fragments for line in one.limits}
    return {name: line.amount(settings, rootless=rootless) for name, line in sorted(last.items())}


def code_paths(packages: Sequence[Path] = ()) -> tuple[Path, ...]:
    """Return what the interpreter imports from: standard library, site-packages, tlsrt, `packages`.

    Entries of sys.path that are not there (the zip file) or not absolute (the current folder) are left out.
    """
    import sys

    import tlsrt

    own = Path(next(iter(tlsrt.__path__)))
    rooms = [Path(os.path.realpath(entry)) for entry in own.iterdir() if entry.is_symlink()]  # a checkout links them
    entries = [Path(entry) for entry in sys.path if os.path.isabs(entry) and os.path.exists(entry)]
    return tuple(dict.fromkeys([*entries, own, *rooms, *packages]))
