"""Requested fragments: one for the loop, one for each component with `needs`.

An operator's fragment is parsed by the same code as those that come with tlsrt, and then checked: what is killed, what
is answered as absent and what stands under `never` (base.yaml) cannot be had for any reason; nor can a writable folder
that holds secrets, or code, or that another loop has.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from tlsrt.config.bus_proxies import proxy_name, socket_of
from tlsrt.config.buses import BusConfig
from tlsrt.config.components import ComponentConfig, LoopConfig
from tlsrt.config.credentials import VARIABLE
from tlsrt.config.host_events import UNPRIVILEGED_MS, HostEventsConfig
from tlsrt.config.key_providers import key_paths
from tlsrt.config.listeners import ListenConfig
from tlsrt.config.needs import CallsConfig, WriteConfig
from tlsrt.config.packages import data_roots
from tlsrt.config.schema import Config
from tlsrt.config.supervision import PRIMARY
from tlsrt.config.trusted_path import trusted_uids
from tlsrt.config.unix_sockets import SocketConfig
from tlsrt.errors import ConfigError, SandboxError
from tlsrt.sandbox.capabilities import has as has_capability
from tlsrt.sandbox.profile.forbidden import refusal_of
from tlsrt.sandbox.profile.fragment import (
    CHANNEL,
    LINE_SECTIONS,
    LISTS,
    STATE,
    EgressLine,
    Line,
    PolicyEntry,
    PolicyFragment,
    parse_entry,
)
from tlsrt.sandbox.profile.grants import ListenLine, SocketLine, numbers_of
from tlsrt.sandbox.profile.profile_files import ProfileFiles
from tlsrt.sandbox.seccomp.granted_socket import UnfitSocketError, open_socket

_KERNEL = {"/proc": "ask with `proc`", "/sys": "ask with `sys`", "/dev": "no loop gets a device"}
_HOLDS = ("seccomp_reports", "seccomp", "seccomp_sealed", "limits")  # what holds a process to its listening sockets
_NAMES = ("seccomp_reports", "seccomp", "mount_namespace")  # what holds a process to the addresses of its names
_RUN = Path("/run")
_HOST = ("/bin", "/boot", "/etc", "/lib", "/lib32", "/lib64", "/run", "/sbin", "/usr")


def settings_of(config: Config, loop: LoopConfig) -> dict[str, int]:
    """Return the settings that limits are made of: the loop's, with what its components need."""
    needs = [component.needs for component in config.components_of(loop.name)]
    return {
        "memory_mb": loop.memory_mb + sum(one.memory_mb for one in needs),
        "open_files": loop.open_files + sum(one.open_files for one in needs),
        "file_size_mb": max(loop.file_size_mb, *(max(one.file_size_mb, one.state_mb) for one in needs), 0),
        "processes": loop.processes + sum(one.processes + one.threads for one in needs),
    }


def listeners_of(config: Config, process: str) -> int:
    """Return how many listening sockets a process has."""
    return sum(len(component.needs.listen) for component in config.components_of(process))


def buses_of(config: Config, process: str) -> int:
    """Return how many buses of D-Bus a process is granted."""
    return sum(len(component.needs.buses) for component in config.components_of(process))


def threads_of(config: Config, process: str) -> int:
    """Return how many threads the components of a process ask for."""
    return sum(component.needs.threads for component in config.components_of(process))


def disk_threads_of(config: Config, process: str) -> int:
    """Return how many threads wait for a disk in a process: those asked for, and one for each database."""
    needs = [component.needs for component in config.components_of(process)]
    return sum(one.disk_threads + (one.state_mb > 0) for one in needs)


def requested_fragments(config: Config, loop: LoopConfig, files: ProfileFiles) -> tuple[PolicyFragment, ...]:
    """Return the fragments of a loop that the configuration makes. Raises ConfigError for what cannot be had."""
    name = f"loops.{loop.name}"
    _check_names(config, loop)
    read = _lines(loop.read, f"listed under loops.{loop.name}.read", name)
    egress = tuple(EgressLine(one.rules, one.why, name) for one in loop.egress)
    found = [requested_fragment(files, name, "what the configuration says of this loop", data=read, egress=egress)]
    listeners = _listeners(config, loop)
    found += [_component(config, component, files, listeners) for component in config.components_of(loop.name)]
    return tuple(one for one in found if _says_something(one))


def _says_something(one: PolicyFragment) -> bool:
    return bool(one.egress or one.listen or one.sockets or any(one.lines.values()) or one.lists["allow"])


def _check_names(config: Config, loop: LoopConfig) -> None:
    """Refuse names where a process could not be held to their addresses, or could not look them up."""
    names = config.names_of(loop.name)
    if names and (waived := next((layer for layer in _NAMES if layer in config.sandbox.waive), "")):
        raise ConfigError(
            f"{loop.name} cannot have a name in an egress rule ({names[0]}): sandbox layer {waived} is waived; write "
            "its addresses"
        )


def _listeners(config: Config, loop: LoopConfig) -> tuple[ListenLine, ...]:
    """Return the sockets that a process inherits. Raises ConfigError where it could not be held to them."""
    mine = [one for one in config.listeners if one.process == loop.name and not one.program]
    if mine:
        check_held(config, mine[0].asked.where, mine[0].address, "listen")
        for one in mine:
            check_replies(config, one.address, [one.asked])
    places = [(one.key, one.asked.protocol == "udp") for one in mine]
    numbers = numbers_of(places, settings_of(config, loop)["open_files"])
    return tuple(
        ListenLine(
            one.key,
            one.asked.place,
            one.asked.sends,
            numbers[one.key],
            one.asked.why,
            f"components.{one.address}",
            one.asked.replies,
        )
        for one in mine
    )


def check_replies(config: Config, who: str, listen: Iterable[ListenConfig]) -> None:
    """Refuse `replies` where no control group holds a socket to them. Raises ConfigError."""
    if held := next((one for one in listen if one.replies and "cgroup" in config.sandbox.waive), None):
        raise ConfigError(
            f"{held.where}: {who} cannot have `replies`: sandbox layer cgroup is waived, where the kernel holds it to "
            "them; remove the one or the other"
        )


def check_held(config: Config, where: str, who: str, what: str) -> None:
    """Refuse what only the supervisor's look at system calls holds, where it does not look. Raises ConfigError."""
    if waived := next((layer for layer in _HOLDS if layer in config.sandbox.waive), ""):
        raise ConfigError(f"{where}: {who} cannot {what}: sandbox layer {waived} is waived")


def _component(
    config: Config, component: ComponentConfig, files: ProfileFiles, listeners: Sequence[ListenLine]
) -> PolicyFragment:
    name, needs = f"components.{component.address}", component.needs
    _check_events(component)
    listen = tuple(one for one in listeners if one.part == name)
    reads = f"{component.address} reads it"
    views = (("/proc", needs.proc), ("/sys", needs.sys))
    return requested_fragment(
        files,
        name,
        f"what {component.address} needs",
        data=(
            *(line for one in needs.read for line in _lines((one.path,), one.why or reads, name)),
            *_lines(
                [root.path for root in data_roots([component])], f"data of {component.address}'s own package", name
            ),
        ),
        mounts=tuple(Line((path,), view.why or reads, name) for path, view in views if view),
        network=(Line((), needs.network.why, name),) if needs.network else (),
        write=tuple(_write(config, component, one, name) for one in needs.write),
        egress=tuple(EgressLine(one.rules, one.why, name) for one in needs.egress),
        allow=(*(_calls(one, name, files) for one in needs.calls), *map(_answers, listen_that_answer(listen))),
        listen=listen,
        sockets=(
            *(_socket(config, component, one, name) for one in needs.sockets),
            *(_bus(config, component, number, one, name) for number, one in enumerate(needs.buses, 1)),
        ),
    )


def _check_events(component: ComponentConfig) -> None:
    """Refuse events that this kernel does not tell, unless the component runs without them. Raises ConfigError."""
    for one in component.needs.events:
        if not one.optional and (why := untold(one)):
            raise ConfigError(f"{one.where}: {component.address} cannot hear {one.kind}: {why}")


def untold(events: HostEventsConfig) -> str:
    """Return why events cannot be heard on this host, and what to do; "" if they can."""
    if events.file and not os.path.exists(events.file):
        how = "boot it with psi=1, " if events.kind == "pressure" else ""
        return f"this kernel has no {events.file}; {how}remove the entry, or say `optional: true` to run without it"
    if events.kind == "pressure" and events.within_ms % UNPRIVILEGED_MS and not has_capability("CAP_SYS_RESOURCE"):
        return (
            f"within_ms must be a multiple of {UNPRIVILEGED_MS}, not {events.within_ms}, where tlsrt runs without "
            "CAP_SYS_RESOURCE"
        )
    return ""


def listen_that_answer(listen: Sequence[ListenLine]) -> list[ListenLine]:
    """Return the sockets from which the process may send to addresses of its own choice."""
    return [one for one in listen if one.answers]


def _answers(line: ListenLine) -> PolicyEntry:
    why = (
        f"answers from {line.place}; no other socket can have this number, which is not below its limit of descriptors"
    )
    document = {"calls": ["sendto"], "when": [f"arg0 in {line.number}"], "why": why}
    return parse_entry(line.part, "allow", document)


def requested_fragment(
    files: ProfileFiles, name: str, about: str, *, data: tuple[Line, ...] = (), mounts: tuple[Line, ...] = (),
    network: tuple[Line, ...] = (), write: tuple[Line, ...] = (), egress: tuple[EgressLine, ...] = (),
    allow: tuple[PolicyEntry, ...] = (), listen: tuple[ListenLine, ...] = (), sockets: tuple[SocketLine, ...] = (),
) -> PolicyFragment:  # fmt: skip
    """Return the same fragment for the same requests. So a reload that changes none makes no new filters."""
    lines: dict[str, tuple[Line, ...]] = dict.fromkeys(LINE_SECTIONS, ())
    lines |= {"data": data, "mounts": mounts, "network": network, "write": write}
    lists = dict.fromkeys(LISTS, ()) | {"allow": allow}
    return files.keep(
        (name, about, data, mounts, network, write, egress, allow, listen, sockets),
        lambda: PolicyFragment(name, about, (), lists, lines, egress, listen=listen, sockets=sockets),
    )


def _lines(paths: Sequence[Path], why: str, part: str) -> tuple[Line, ...]:
    for path in paths:
        if reason := _unfit(path, write=False):
            raise ConfigError(f"{part}: cannot read {path}: {reason}")
    return (Line(tuple(os.fspath(path) for path in paths), why, part, must_exist=True),) if paths else ()


def _calls(asked: CallsConfig, part: str, files: ProfileFiles) -> PolicyEntry:
    try:
        entry = parse_entry(part, "allow", {"calls": [*asked.calls], "when": [*asked.when], "why": asked.why})
    except SandboxError as error:
        raise ConfigError(f"{asked.where}: {error.reason}") from None
    refusal = refusal_of(entry, files.fragments(("base",)))
    if refusal is not None:
        conditions = " with these arguments" if entry.when else ""
        way = f"; it may be had with `when: [{', '.join(refusal.unless)}]`" if refusal.unless else ""
        who = part.partition(".")[2]
        raise ConfigError(f"{asked.where}: {who} cannot have {refusal.call}{conditions}: {refusal.why}{way}")
    return entry


def _write(config: Config, component: ComponentConfig, asked: WriteConfig, part: str) -> Line:
    path = asked.path
    reason = _unfit(path, write=True)
    real = path if reason else Path(os.path.realpath(path))
    if real != path:
        reason = f"it is {real}: name it so"
    elif not reason and not is_there(path, stat.S_ISDIR):
        reason = "there is no such folder: make it, and give it to the uid of this loop"
    for other, what in _taken(config, component.process):
        if not reason and overlap(real, Path(os.path.realpath(other))):
            reason = f"{other} is {what}"
    if reason:
        raise ConfigError(f"{asked.where}: {component.address} cannot write {path}: {reason}")
    return Line((os.fspath(path),), asked.why, part, must_exist=True)


def _socket(config: Config, component: ComponentConfig, asked: SocketConfig, part: str) -> SocketLine:
    path = asked.path
    real = Path(os.path.realpath(path.parent)) / path.name
    reason = _unfit_socket(config, path, real)
    if not reason:
        try:
            os.close(open_socket(os.fspath(path), trusted_uids()))
        except UnfitSocketError as error:
            reason = str(error.strerror)
        except OSError:
            reason = ""  # it is not there yet, or not ours to look at: each connection is looked at again
    if reason:
        raise ConfigError(f"{asked.where}: {component.address} cannot connect to {path}: {reason}")
    return SocketLine(os.fspath(path), asked.why, part)


def _bus(config: Config, component: ComponentConfig, number: int, asked: BusConfig, part: str) -> SocketLine:
    where = f"{asked.where}: {component.address} cannot have the bus {asked.bus}"
    if asked.problem:
        raise ConfigError(f"{where}: {asked.problem}")
    here = [one.needs for one in config.components_of(component.process)]
    paths = [*(each.bus for one in here for each in one.buses), *(each.path for one in here for each in one.sockets)]
    if paths.count(asked.bus) > 1:
        raise ConfigError(f"{where}: its process has it already; one entry says all that it may do there")
    line = _socket(config, component, SocketConfig(asked.bus, asked.why, asked.where), part)
    if asked.unfiltered:
        return line
    if component.process == PRIMARY:
        raise ConfigError(f"{where}: ask with `process: own`; what carries all messages speaks to no bus")
    return replace(line, proxy=os.fspath(socket_of(config.run_dir, component.address, proxy_name(number))))


def _unfit_socket(config: Config, path: Path, real: Path) -> str:
    if missing := [layer for layer in _HOLDS[:3] if layer in config.sandbox.waive]:
        return f"sandbox layer {missing[0]} is waived, so the supervisor would not be asked"
    for own in (STATE, CHANNEL, *_KERNEL):
        if overlap(path, Path(own)):
            return f"{own} holds no sockets of other programs"
    if real != path:
        return f"it is {real}: name it so"
    taken = next((one for one in secrets(config) if overlap(real, Path(os.path.realpath(one)))), None)
    return f"{taken} is a secret of the host" if taken is not None else ""


def check_writes(config: Config, loop: str, read: Sequence[Path]) -> None:
    """Refuse a writable folder that this loop reads: what it imports must not be its to change. Raises ConfigError."""
    seen = [Path(os.path.realpath(path)) for path in read]
    for component in config.components_of(loop):
        for one in component.needs.write:
            if found := next((path for path in seen if overlap(one.path, path)), None):
                reason = f"{found} is code or data that it reads"
                raise ConfigError(f"{one.where}: {component.address} cannot write {one.path}: {reason}")


def unfit_to_read(path: Path) -> str:
    """Return why a path of the host cannot be shown to any process; "" if it can."""
    return _unfit(path, write=False)


def _unfit(path: Path, *, write: bool) -> str:
    """Return why a path of the host cannot be shown to any process; "" if it can."""
    named = Path(os.path.normpath(path))
    if Path("/") == named:
        return "that is the whole host"
    for own in (STATE, CHANNEL):
        if overlap(named, Path(own)):
            return f"{own} is the name of its loop's own folder"
    kernels = [(Path(folder), instead) for folder, instead in _KERNEL.items()]
    for folder, instead in kernels:  # by its name first: links in /proc cannot always be read
        if overlap(named, folder):
            return f"{folder} is the kernel's: {instead}"
    real = Path(os.path.realpath(path))
    for folder, instead in kernels:
        if overlap(real, folder):
            return f"{folder} is the kernel's: {instead}"
    if not write and overlap(real, _RUN) and is_there(real, stat.S_ISDIR):
        return f"{_RUN} holds sockets of other programs: name the files that it needs"
    if write and (host := next((one for one in _HOST if overlap(real, Path(one))), None)):
        return f"{host} is the host's own"
    is_plain = is_there(real, lambda mode: stat.S_ISREG(mode) or stat.S_ISDIR(mode))
    return "" if is_plain or not is_there(real) else "it is a socket, a device or a pipe"


def _taken(config: Config, process: str) -> list[tuple[Path, str]]:
    """Return (path, what it is) of all that no component may write."""
    taken = [(path, "a secret of the host") for path in secrets(config)]
    taken += [(config.path, "the configuration")]
    taken += [(path, f"read by {other.name}") for other in config.loops for path in other.read]
    for component in config.components:
        taken += [(one.path, f"read by {component.address}") for one in component.needs.read]
        if component.process != process:
            taken += [(one.path, f"written by {component.address}") for one in component.needs.write]
    return taken


def is_there(path: Path, kind: Callable[[int], bool] = lambda mode: True) -> bool:
    """Say whether there is such a path, as far as we may look: this need not run as root."""
    try:
        return kind(path.stat().st_mode)
    except PermissionError:
        return True
    except OSError:
        return False


def check_reads(fragments: Sequence[PolicyFragment]) -> None:
    """Refuse a path that an operator named and that is not there. Raises ConfigError."""
    for fragment in fragments:
        for line in fragment.lines["data"]:
            for path in line.paths:
                if line.must_exist and not is_there(Path(path)):
                    raise ConfigError(f"{fragment.name}: there is no {path} to read: make it, or take it out")


def overlap(one: Path, other: Path) -> bool:
    """Say whether two real paths are the same, or one lies below the other."""
    first, second = f"{os.fspath(one).rstrip('/')}/", f"{os.fspath(other).rstrip('/')}/"
    return first.startswith(second) or second.startswith(first)


def secrets(config: Config) -> list[Path]:
    """Return the paths that only supervisor and authority may see, and folders bound writable."""
    keys = [
        path
        for path in (*key_paths(config.master_key), config.boot_token, config.door.key, config.door.client_ca_key)
        if path is not None
    ]
    credentials = Path(os.environ.get(VARIABLE, ""))  # of the service manager, by whatever names
    keys += [credentials] if credentials.is_absolute() else []
    return [*keys, config.state_dir, config.run_dir, config.log_dir]
