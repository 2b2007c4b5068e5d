"""What `sandbox explain` says of a process, beside what that process meets. Run by probes.sandbox_scenarios.

Every question is asked before the seal and after it, of the explanation and of a real confined process.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import socket
from functools import partial
from pathlib import Path

from fakes.echo_server import echo_servers

from probes.confined_child import Facts, make_config, make_profile
from probes.sealed_probes import call
from probes.watched_child import Watched
from tlsrt.config.egress import parse_egress
from tlsrt.config.needs import EgressConfig
from tlsrt.sandbox.apply.enter import enter_world
from tlsrt.sandbox.profile.compose import code_paths
from tlsrt.sandbox.profile.profile import Profile
from tlsrt.sandbox.profile.profile_files import ProfileFiles
from tlsrt.sandbox.report.effective import Effective, effective
from tlsrt.sandbox.report.explain import Explanation, explain
from tlsrt.sandbox.seccomp.syscall_numbers import NUMBERS

PROCESSES = (
    "authority", "primary", "primary.door", "primary.facts", "secondary", "third", "forth", "external", "reports",
    "proxy", "fetcher",
)  # fmt: skip
_text = ctypes.create_string_buffer(b"x")
_AT = ctypes.addressof(_text)
_NONE = (1 << 64) - 1  # no such descriptor: what is allowed fails with EBADF
CALLS: tuple[tuple[str | int, ...], ...] = (
    ("getpid",), ("fcntl", _NONE, 1), ("fcntl", 0, 8, 1), ("fcntl", _NONE, 6), ("socket", 2, 1, 0), ("socket", 2, 3, 1),
    ("socket", 16, 3, 0), ("socket", 1, 1, 0), ("socket", 17, 3, 0), ("io_uring_setup", 8, 0), ("clone3", 0, 0),
    ("memfd_create", _AT, 0), ("prctl", 3), ("prctl", 4, 1), ("ioctl", _NONE, 0x5412, 0), ("ioctl", _NONE, 0x541B, 0),
    ("ioctl", _NONE, 0x8912, 0), ("setsockopt", _NONE, 1, 2, 0, 0), ("setsockopt", _NONE, 1, 26, 0, 0),
    ("setsockopt", _NONE, 6, 1, 0, 0), ("sched_setscheduler", 0, 1, 0), ("listen", _NONE, 1),
    ("accept4", _NONE, 0, 0, 0), ("landlock_create_ruleset", 0, 0, 1), ("tgkill", 2, 2, 0), ("kill", _NONE >> 1, 0),
    ("inotify_init1", 0), ("fchmod", _NONE, 0), ("symlinkat", _AT, _NONE, _AT), ("mmap", 0, 4096, 1, 2, _NONE, 0),
    ("mprotect", 1, 4096, 4), ("prlimit64", 0, 7, 0, 0), ("prlimit64", 0, 7, _AT, 0), ("ftruncate", _NONE, 0),
    ("getdents64", _NONE, 0, 0), ("dup2", _NONE, _NONE), ("statx", _NONE, _AT, 0, 0, 0), ("pidfd_open", 1, 0),
    ("setpriority", 0, 0, 0), ("chmod", _AT, 0o600), ("get_mempolicy", 0, 0, 0, 0, 0),
)  # fmt: skip
KILLED: tuple[tuple[str | int, ...], ...] = (
    ("execve", 0, 0, 0),
    ("ptrace", 16, 1),
    ("setns", _NONE, 0),
    ("capset", 0, 0),
)


def paths_of(base: Path) -> list[str]:
    """Return paths of every kind: shown and not, folders and files, links, and what nobody may see."""
    return [
        "/", "/etc", "/etc/passwd", "/etc/shadow", "/etc/hosts", "/etc/resolv.conf", "/etc/ssl", "/etc/ssl/private",
        "/etc/localtime", "/usr", "/usr/lib", "/usr/lib/os-release", "/usr/share/zoneinfo/UTC", "/usr/bin", "/bin/sh",
        "/lib", "/lib64", "/home", "/root", "/tmp", "/var/log", "/boot", "/dev", "/dev/null", "/dev/zero", "/dev/mem",
        "/proc", "/proc/meminfo", "/proc/sys/kernel/hostname", "/sys", "/sys/kernel", "/sys/devices/system/cpu/online",
        "/state", "/state/there", "/channel", "/state/../etc/hosts", os.__file__, os.path.dirname(os.__file__),
        str(base), str(base / "keys"), str(base / "keys" / "master.key"), str(base / "state"),
        str(base / "state" / "secondary"), str(base / "home" / "package"),
        str(base / "home" / "package" / "notes_below_a_closed_home.py"), str(base / "run"),
    ]  # fmt: skip


def _opened(path: str, *, write: bool) -> str:
    """Open a file, or list a folder or make a file in it."""
    is_folder = os.path.isdir(path)
    flags = (os.O_WRONLY if write else os.O_RDONLY) | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        if is_folder and write:
            made = os.path.join(path, "made-by-a-test")
            os.close(os.open(made, flags | os.O_CREAT | os.O_EXCL, 0o600))
            os.unlink(made)
        elif is_folder:
            os.listdir(path)
        else:
            os.close(os.open(path, flags))
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "allowed"


def hosts_of(ports: dict[str, int]) -> list[str]:
    """Return hosts that an egress rule lists and hosts that none does; all of them are there."""
    found = [f"127.0.0.1:{ports[name]}" for name in ("tcp", "other")]
    return [*found, f"127.0.0.1:{ports['udp']}/udp", f"127.0.0.1:{ports['tcp']}/udp", f"127.0.0.2:{ports['tcp']}"]


def _reached(host: str) -> str:
    address, _, port = host.removesuffix("/udp").rpartition(":")
    try:
        with socket.socket(type=socket.SOCK_DGRAM if host.endswith("/udp") else socket.SOCK_STREAM) as client:
            client.connect((address, int(port)))
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "allowed"


def _meet(paths: list[str], calls: tuple[tuple[str | int, ...], ...], hosts: list[str]) -> dict[str, list[str]]:
    found = {path: [_opened(path, write=write) for write in (False, True)] for path in paths}
    found |= {f"host {host}": [_reached(host)] for host in hosts}
    return found | {_name(one): [call(*one)] for one in calls}  # type: ignore[arg-type]


def _name(one: tuple[str | int, ...]) -> str:
    return " ".join(str(word) for word in one)


def _live(
    profile: Profile, paths: list[str], hosts: list[str], last: tuple[str | int, ...] | None, writer: int, reports: int
) -> int:
    """In the child: meet everything in both stages, or only one call that ends it."""
    confinement = enter_world(profile, {writer}, reports=reports)
    confinement.drop()
    if last is None and any(there == "/state" for _, there in profile.write):
        with open(os.path.join(confinement.path("/state"), "there"), "w", encoding="ascii") as file:
            file.write("x")
    calls = tuple(one for one in CALLS if one[0] in NUMBERS[os.uname().machine])
    before = _meet(paths, calls, hosts) if last is None else {}
    confinement.assert_one_task()
    confinement.seal()
    if last is not None:
        call(*last)  # type: ignore[arg-type]
    after = _meet(paths, calls, hosts)
    os.write(writer, json.dumps([before, after]).encode())
    return 0


def _run(
    profile: Profile, paths: list[str], hosts: list[str], last: tuple[str | int, ...] | None = None
) -> tuple[str, str]:
    watched = Watched(profile, partial(_live, profile, paths, hosts, last))
    return watched.text.decode("ascii"), "killed" if watched.was_killed else watched.end


def _said(one: Effective, what: list[str]) -> list[list[object]]:
    """Return (stage, action, how) of every answer."""
    return [[finding.stage, finding.action, _how(finding)] for finding in explain(one, what)]


def _how(finding: Explanation) -> str:
    return "allowed" if finding.is_allowed else finding.how


def explained(base: Path) -> Facts:
    """For every process: what explain says and what really happens, before the seal and after it."""
    with echo_servers() as ports:
        rules = tuple(parse_egress(text) for text in (f"127.0.0.1:{ports['tcp']}", f"127.0.0.1:{ports['udp']}/udp"))
        egress = (EgressConfig(rules, "an echo"),)
        return {name: _explained(base, name, egress, hosts_of(ports)) for name in PROCESSES}


def _explained(base: Path, name: str, egress: tuple[EgressConfig, ...], hosts: list[str]) -> Facts:
    paths, calls = paths_of(base), [one for one in CALLS if one[0] in NUMBERS[os.uname().machine]]
    profile = make_profile(base, name, sealing=True, watched=True, egress=egress)
    code = code_paths([Path(__file__).parent, base / "home" / "package"])
    one = effective(make_config(base, egress, name), profile, code, ProfileFiles())
    text, end = _run(profile, paths, hosts)
    said = {path: _said(one, [path]) for path in paths}
    said |= {f"host {host}": _said(one, [host]) for host in hosts}
    said |= {_name(words): _said(one, [str(word) for word in words]) for words in calls}
    killed = {_name(last): [_said(one, [*map(str, last)]), _run(profile, [], [], last)[1]] for last in KILLED}
    return {"met": json.loads(text or "[]"), "end": end, "said": said, "killed": killed}


SCENARIOS = {"explained": explained}
