"""Compose the profile of a process of the fragments for its name, the configuration and what components ask for."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tlsrt.config import door_places
from tlsrt.config.components import LoopConfig
from tlsrt.config.name_rules import address_rules, name_rules
from tlsrt.config.package_folders import hidden_packages
from tlsrt.config.processes import DOOR_PROCESS, links_of
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError, InternalError, SandboxError
from tlsrt.sandbox.profile.fragment import CHANNEL, CODE, STATE, Line, PolicyFragment
from tlsrt.sandbox.profile.policy import Policy
from tlsrt.sandbox.profile.profile import ALL_LAYERS, ASKS, AUTHORITY, HELPER, HELPERS, SERVICES, WAIVABLE, Profile
from tlsrt.sandbox.profile.profile_files import BUS, DISK, LISTEN, NETWORK, THREADS, ProfileFiles, names_for
from tlsrt.sandbox.profile.requested import (
    buses_of,
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

# Roots of the host's file systems of devices and settings. They are not in the helper's own root: it can open what the
# supervisor hands over of them. Whole, as the kernel keeps the roots alone in memory, and a rule is one of an inode.
_REOPENED = ("/dev", "/proc", "/sys")
_REOPENED_OF_NETWORK = ("/proc", "/sys")
UNCOUNTED_MB = 4096  # address space beside the data: code, reserves of malloc, and what costs page tables only
HOSTS_FILES = ("/etc/hosts", "/etc/nsswitch.conf")  # those of a process with names are links to its own
_IN_FLIGHT = 512  # descriptors that one sender can have under way beyond its own limit


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
    if process in (AUTHORITY, *HELPERS, *SERVICES):
        return files.fragments(names_for(process, network=False))
    return _fragments_of_loop(config, config.loop(process), files)


def _fragments_of_loop(config: Config, loop: LoopConfig, files: ProfileFiles) -> tuple[PolicyFragment, ...]:
    requested = requested_fragments(config, loop, files)
    outbound = any(one.egress for one in requested)
    wishes = loop.network is not False and any(one.lines["network"] for one in requested)
    is_asked = ASKS.isdisjoint(config.sandbox.waive)  # or no supervisor hears of its calls, and it makes them itself
    if outbound and not is_asked and loop.network is False:
        raise ConfigError(
            f"loops.{loop.name}: egress rules do without the host's network only where the supervisor hears of system "
            f"calls ({' and '.join(sorted(ASKS))} are not waived): remove `network: false`, or the rules"
        )
    names = names_for(
        loop.name, network=bool(loop.network) or wishes or (outbound and not is_asked), engine=config.channels.engine,
        outbound=outbound, direct=not is_asked, asked=_asked(config, loop.name),
        accepts=not any(one.is_watched for one in config.listeners if one.process == loop.name),
        has_door=loop.name == config.door.runs_in,
    )  # fmt: skip
    return (*files.fragments(names), *requested)


def _asked(config: Config, process: str) -> list[str]:
    """Return the fragments for what components of a process ask for."""
    kinds = ((THREADS, threads_of), (DISK, disk_threads_of), (LISTEN, listeners_of), (BUS, buses_of))
    return [name for name, count in kinds if count(config, process)]


def profile_for_loop(
    config: Config, loop: LoopConfig, uid: int, files: ProfileFiles, *, rootless: bool, code: Sequence[Path]
) -> Profile:
    """Return the profile of a loop that runs as `uid` and imports from `code`, see `code_paths`.

    Its filters are made too, so that a forked child finds them. Raises ConfigError for an unknown waived layer and for
    what cannot be had, SandboxError for a folder that cannot be bound or a filter that cannot be made.
    """
    settings = settings_of(config, loop) | (
        {"connections": _connections(config)} if loop.name in ("primary", DOOR_PROCESS) else {}
    )
    settings["address_mb"] = settings["memory_mb"] + UNCOUNTED_MB
    fragments = _fragments_of_loop(config, loop, files)
    policy = files.policy(loop.name, fragments)
    made = _profile(config, policy, uid, fragments, settings, rootless=rootless, code=code)
    made = replace(made, threads=threads_of(config, loop.name), disk_threads=disk_threads_of(config, loop.name))
    return with_hosts(made, config)


def with_hosts(profile: Profile, config: Config) -> Profile:
    """Return the profile of a process, which finds its names in files of its own, in place of the host's."""
    if not profile.names:
        return profile
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


def profile_for_service(
    config: Config, name: str, uid: int, files: ProfileFiles, *, rootless: bool, code: Sequence[Path]
) -> Profile:
    """Return the profile of a service: no file but code, and no socket but those that it is handed."""
    fragments = fragments_of(config, name, files)
    return _profile(config, files.policy(name, fragments), uid, fragments, {}, rootless=rootless, code=code)


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
        hidden=hidden_packages(paths("code"), paths("data")),
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
