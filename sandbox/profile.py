"""What one process may see and use, as a frozen value with a digest; nothing here acts.

A profile is composed from a base, what the loop of that name needs (`NEEDS`), and what the configuration adds. The
supervisor makes it before the fork; the child applies exactly it; attestation compares exactly it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tlsrt.config.schema import Config, LoopConfig
from tlsrt.errors import ConfigError, SandboxError
from tlsrt.sandbox.policy_files import filter_digests, filters_for

_MIB = 1 << 20
_UNLIMITED_TASKS = 1024  # rootless: one uid for all, and before Linux 5.14 for all that the user runs
_TASKS = 64
_AUTHORITY_FILE_MIB = 256  # the audit log is the largest file that it writes
_MEMLOCK = 64 << 10  # room for the page of memfd_secret(2)

# The order is the order of application; `layers.py` holds the code of each.
WORLD_LAYERS = (
    "session", "descriptors", "pid_namespace", "net_namespace", "ipc_namespace", "uts_namespace", "mount_namespace",
    "limits",
)  # fmt: skip
DROP_LAYERS = (
    "bounding_set", "ambient_set", "securebits", "uid", "capabilities", "no_new_privs", "not_dumpable", "parent_death",
)  # fmt: skip
STAGE_1_LAYERS = ("landlock", "seccomp")
STAGE_2_LAYERS = ("landlock_sealed", "seccomp_sealed")
ALL_LAYERS = WORLD_LAYERS + DROP_LAYERS + STAGE_1_LAYERS + STAGE_2_LAYERS
FILTER_LAYERS = frozenset(
    {"seccomp", "seccomp_sealed"}
)  # those that add one seccomp filter each, which attestation counts

# Public code of the host that an interpreter needs: the loader's libraries.
SYSTEM_CODE = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache")
TIME_ZONES = ("/usr/share/zoneinfo", "/etc/localtime")  # the C library reads them when it first prints a time
# What glibc's resolver and TLS clients read, for loops with a network.
RESOLVER_READ = ("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf",
                 "/etc/services", "/etc/protocols", "/etc/ssl")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Needs:
    """What the built-in components of one loop need beyond the base."""

    proc: bool = False
    sys: bool = False
    channel: bool = True


NEEDS: Mapping[str, Needs] = {
    # Reports processor, memory and devices; its sockets are inherited, so it needs no channel folder.
    "primary": Needs(proc=True, sys=True, channel=False),
    # Batteries and thermal zones live in /sys, load and processor times in /proc.
    "forth": Needs(proc=True, sys=True),
    # Interface counters live in /proc/net.
    "external": Needs(proc=True),
}


@dataclass(frozen=True, slots=True)
class Profile:
    """The confinement of one process; all paths absolute, limits in the units of setrlimit(2)."""

    name: str
    uid: int
    gid: int
    rootless: bool = False  # no uid of its own: it keeps the supervisor's, which is 0 in the user namespace
    network: bool = False  # keep the host's network namespace
    proc: bool = False  # a fresh read-only /proc of its own pid namespace
    sys: bool = False  # the host's /sys, read-only
    read: tuple[Path, ...] = ()  # folders and files bound read-only at the same path
    kept: tuple[Path, ...] = ()  # those of them that are still readable after the seal: data, not code
    write: tuple[tuple[Path, str], ...] = ()  # (folder of the host, path inside)
    limits: Mapping[str, int] = field(default_factory=dict[str, int])  # "nofile" -> soft and hard limit
    layers: tuple[str, ...] = ALL_LAYERS
    waived: frozenset[str] = frozenset()

    def digest(self) -> bytes:
        """Return the SHA-256 (32 bytes) of the canonical msgpack form: equal profiles, equal digests."""
        import msgpack

        form = [
            "tlsrt/profile/v1", self.name, self.uid, self.gid, self.rootless, self.network, self.proc, self.sys,
            sorted(os.fsencode(path) for path in self.read), sorted(os.fsencode(path) for path in self.kept),
            sorted([os.fsencode(host), inside] for host, inside in self.write),
            sorted([name, value] for name, value in self.limits.items()),
            list(self.layers), sorted(self.waived), *filter_digests(self.name, network=self.network),
        ]  # fmt: skip
        return hashlib.sha256(msgpack.packb(form, use_bin_type=True)).digest()

    def expects(self, layer: str) -> bool:
        """Say whether this layer must be found by attestation: wanted, and not waived by the operator."""
        return layer in self.layers and layer not in self.waived


def _layers(*, rootless: bool, network: bool) -> tuple[str, ...]:
    left_out = {"uid"} if rootless else set[str]()
    if network:
        left_out.add("net_namespace")
    return tuple(name for name in ALL_LAYERS if name not in left_out)


def _waived(config: Config) -> frozenset[str]:
    unknown = sorted(set(config.sandbox.waive) - set(ALL_LAYERS))
    if unknown:
        known = ", ".join(ALL_LAYERS)
        raise ConfigError([f"sandbox.waive: there is no layer {name!r}; the layers are {known}" for name in unknown])
    return frozenset(config.sandbox.waive)


def _present(paths: Sequence[str]) -> tuple[Path, ...]:
    return tuple(Path(path) for path in paths if os.path.exists(path))


def _secrets(config: Config) -> list[Path]:
    """What no process but the supervisor and the authority may see, and the folders that are bound writable."""
    keys = [path for path in (config.master_key.path, config.boot_token, config.door.key) if path is not None]
    return [*keys, config.state_dir, config.run_dir, config.log_dir]


def _checked_read(name: str, paths: Sequence[Path], config: Config) -> tuple[Path, ...]:
    """Refuse folders that hold secrets: rootless, where all have one uid, nothing else would hide them."""
    secrets = [Path(os.path.realpath(secret)) for secret in _secrets(config)]
    for path in paths:
        if not path.is_absolute():
            raise SandboxError("mount_namespace", f"{name} cannot read {path}: the path must be absolute")
        real = Path(os.path.realpath(path))
        for secret in secrets:
            if real == secret or real in secret.parents or secret in real.parents:
                raise SandboxError(
                    "mount_namespace",
                    f"{name} would read {secret} below {path}: keep code and secrets in folders apart",
                )
    return tuple(dict.fromkeys(paths))


def _open_files(config: Config, loop: LoopConfig) -> int:
    """Return the limit of descriptors: for Primary, room for all clients and all connections of other loops.

    libzmq ends a process that runs out of descriptors in accept, so no loop may be able to use up Primary's.
    """
    if loop.name != "primary":
        return loop.open_files
    door = config.door
    return door.max_connections + door.max_unauthenticated + 128 + sum(other.open_files for other in config.loops)


def _limits(*, memory_mb: int, open_files: int, file_size_mb: int, rootless: bool) -> dict[str, int]:
    return {
        "core": 0,
        "data": memory_mb * _MIB,
        "fsize": file_size_mb * _MIB,
        "memlock": _MEMLOCK,
        "msgqueue": 0,
        "nofile": open_files,
        "nproc": _UNLIMITED_TASKS if rootless else _TASKS,
        "stack": 8 * _MIB,
    }


def profile_for_loop(config: Config, loop: LoopConfig, uid: int, *, rootless: bool, code: Sequence[Path]) -> Profile:
    """Return the profile of a loop that runs as `uid` and imports from `code` (see `code_paths`).

    Its filters are made too, so that a forked child finds them. Raises ConfigError for an unknown waived layer,
    SandboxError for a folder that cannot be bound or a filter that cannot be made.
    """
    filters_for(loop.name, network=loop.network)
    filter_digests(loop.name, network=loop.network)
    needs = NEEDS.get(loop.name, Needs())
    kept = [*_present(TIME_ZONES), *loop.read, *(_present(RESOLVER_READ) if loop.network else ())]
    read = [*_present(SYSTEM_CODE), *code, *kept]
    write = [(config.state_dir / loop.name, "/state")]
    if needs.channel:
        write.append((config.run_dir / "channel" / loop.name, "/channel"))
    return Profile(
        name=loop.name,
        uid=uid,
        gid=uid,
        rootless=rootless,
        network=loop.network,
        proc=needs.proc,
        sys=needs.sys,
        read=_checked_read(loop.name, read, config),
        kept=tuple(dict.fromkeys(kept)),
        write=tuple(write),
        limits=_limits(
            memory_mb=loop.memory_mb,
            open_files=_open_files(config, loop),
            file_size_mb=loop.file_size_mb,
            rootless=rootless,
        ),
        layers=_layers(rootless=rootless, network=loop.network),
        waived=_waived(config),
    )


def profile_for_authority(config: Config, uid: int, *, rootless: bool, code: Sequence[Path]) -> Profile:
    """Return the profile of the authority: no network, no /proc, one writable folder."""
    filters_for("authority", network=False)
    filter_digests("authority", network=False)
    return Profile(
        name="authority",
        uid=uid,
        gid=uid,
        rootless=rootless,
        read=_checked_read("authority", [*_present(SYSTEM_CODE), *code, *_present(TIME_ZONES)], config),
        kept=_present(TIME_ZONES),
        write=((config.state_dir / "authority", "/state"),),
        limits=_limits(memory_mb=512, open_files=256, file_size_mb=_AUTHORITY_FILE_MIB, rootless=rootless),
        layers=_layers(rootless=rootless, network=False),
        waived=_waived(config),
    )


def code_paths(packages: Sequence[Path] = ()) -> tuple[Path, ...]:
    """Return what the running interpreter imports from: standard library, site-packages, tlsrt, and `packages`.

    Entries of sys.path that are not there (the zip file) or not absolute (the current folder) are left out.
    """
    import sys

    import tlsrt

    own = Path(next(iter(tlsrt.__path__)))
    rooms = [Path(os.path.realpath(entry)) for entry in own.iterdir() if entry.is_symlink()]  # a checkout links them
    entries = [Path(entry) for entry in sys.path if os.path.isabs(entry) and os.path.exists(entry)]
    return tuple(dict.fromkeys([*entries, own, *rooms, *packages]))
