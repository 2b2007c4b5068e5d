"""`component backup` and `component restore`: the state of one component in a file, and back.

A backup is made while the component runs: the files are copied, and looked at before and after; where one has changed
meanwhile, it is done again. The state in a backup is therefore one that the disk had at one moment, as after a power
cut, which SQLite files and files that are replaced whole come back from.

A restore makes the new state beside the old one and exchanges both at once (renameat2(2)). A process that runs keeps
the old one until it is started anew; if it does not start with the new one, they are exchanged again.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from tlsrt import __version__
from tlsrt.command_line.table import Document
from tlsrt.config.components import ComponentConfig
from tlsrt.config.distributions import is_older
from tlsrt.config.files import as_config_error, move, open_regular, owner_of, sync_folder
from tlsrt.config.remove_tree import remove_tree
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError, InvalidArgument
from tlsrt.sandbox import syscalls
from tlsrt.sandbox.profile.program_profile import slots_of
from tlsrt.supervisor.archive.state_file import (
    Changed,
    Head,
    Place,
    read_head_untrusted,
    read_state_untrusted,
    stamps,
    write_state,
)
from tlsrt.supervisor.cli.component.addition import begin
from tlsrt.supervisor.cli.component.journal import whole_config
from tlsrt.supervisor.cli.component.known import package_of
from tlsrt.supervisor.cli.component.wheel import by_package
from tlsrt.supervisor.cli.exchange import RequestRefused, ask, say
from tlsrt.supervisor.cli.lifecycle import restart_s
from tlsrt.supervisor.control.client import ControlRefused, NotRunning
from tlsrt.supervisor.process.uids import own_identity
from tlsrt.text import did_you_mean, printable, size

_TRIES = 8
_PAUSE_S = 0.25  # before a try, and longer than the times of files are coarse
_KEPT = ".before-restore."  # of the state before, until the new one has started

Old = tuple[Path | None, Path]  # where the folder from before is, if there was one, and its place


def backup(arguments: argparse.Namespace) -> Document:
    """Write the state of a component into a file that only we read."""
    config = whole_config(arguments)
    one = _component(config, arguments.address)
    folder = config.state_dir / one.process / one.name
    programs = {name: place for name, place in _programs(config, one).items() if place.is_dir()}
    if not folder.is_dir():
        raise ConfigError(f"{one.address} has no state yet: it has never run")
    target = Path(os.path.abspath(arguments.file))
    if target.is_relative_to(config.state_dir):
        raise InvalidArgument("a backup beside the state is lost with it: name a file elsewhere")
    package, version = _package(one)
    head = Head(one.address, package, version, datetime.now(UTC).isoformat(timespec="seconds"), ",".join(programs))
    beside = target.with_name(f".{target.name}.{os.getpid()}.new")
    with begin(config):
        try:
            left = _copied(folder, head, beside, programs)
            move(beside, target)
        finally:
            beside.unlink(missing_ok=True)
    return {
        "component": one.address, "file": str(target), "bytes": target.stat().st_size, "left_out": left,
        "programs": [*programs],
    }  # fmt: skip


def _programs(config: Config, one: ComponentConfig) -> dict[str, Path]:
    """Return the folders of a component's programs that live on, by the names of the programs."""
    kept = [program for program in one.programs if program.state_mb]
    return {program.name: config.state_dir / slots_of(one, program)[0] for program in kept}


def _copied(folder: Path, head: Head, beside: Path, programs: Mapping[str, Path] | None = None) -> list[str]:
    """Copy a state of one moment. Raises ConfigError where the component never stops to write."""
    for _ in range(_TRIES):
        with suppress(Changed):
            folders = [folder, *(programs or {}).values()]
            before = [stamps(each) for each in folders]
            time.sleep(_PAUSE_S)
            with as_config_error("write", beside):
                beside.unlink(missing_ok=True)
                descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                with open(descriptor, "wb") as out:
                    left = write_state(out, head, folder, programs)
                    out.flush()
                    os.fsync(descriptor)
            if [stamps(each) for each in folders] == before:
                return left
    raise ConfigError(
        f"{head.component} writes all the time, so no copy is of one moment: stop the host, and take the backup then"
    )


def backup_lines(answer: Document) -> list[str]:
    found = [
        f"the state of {answer['component']} is in {answer['file']} ({size(answer['bytes'])}), as it was at one moment",
        "it is not encrypted, and only you may read it; secrets are not in it",
    ]
    if answer["programs"]:
        found.insert(1, f"with /state of {', '.join(answer['programs'])}, at the same moment, as a power cut leaves it")
    return found + [f"left out: {printable(line, 300)}" for line in answer["left_out"]]


def restore(arguments: argparse.Namespace) -> Document:
    """Put the state of a backup in the place of a component's, and keep the old one until the new one has started."""
    config = whole_config(arguments)
    one = _component(config, arguments.address)
    if one.part != one.name:
        raise ConfigError(f"{one.address} runs in the process of its loop: only a process of its own can be restored")
    place = config.state_dir / one.process
    with begin(config), _opened(arguments.file) as file:
        head = read_head_untrusted(file, arguments.file)
        _check(one, head)
        programs = _programs_of_backup(config, one, head)
        kept = _kept_beside(place)
        moves = [(kept, place), *((_kept_beside(each), each) for each in programs.values())]
        for left in (left for _, each in moves for left in config.state_dir.glob(f"{_KEPT}{each.name}.*")):
            say(f"a restore that was interrupted has left {left}: look at it, and remove it")
        try:
            with as_config_error("write", kept):
                owners = [_owner(config, each) for _, each in moves]
                of_programs = zip(programs, moves[1:], owners[1:], strict=True)
                _staged(file, kept, one.name, owners[0], {name: (new, *own) for name, (new, _), own in of_programs})
        except BaseException:
            for new, _ in moves:
                _remove(new)
            raise
        olds = _put(moves)
        is_running = _taken(config, one, olds)
        if is_running:
            for new, _ in moves:
                _remove(new)
    return {
        "component": one.address, "made": head.made, "version": head.version, "host": is_running,
        "kept": str(kept) if kept.is_dir() else None,
        "kept_of_programs": [str(before) for before, _ in olds[1:] if before is not None and before.is_dir()],
    }  # fmt: skip


def _programs_of_backup(config: Config, one: ComponentConfig, head: Head) -> dict[str, Path]:
    """Return the folders of the programs whose state is in a backup. Raises ConfigError for one that is no more."""
    known, names = _programs(config, one), [name for name in head.programs.split(",") if name]
    if gone := [name for name in names if name not in known]:
        raise ConfigError(
            f"this has the state of the program {printable(gone[0], 60)}, and {one.address} has no such `state_mb` now"
        )
    return {name: known[name] for name in names}


def _kept_beside(place: Path) -> Path:
    return place.with_name(f"{_KEPT}{place.name}.{time.time_ns()}")


def _owner(config: Config, place: Path) -> tuple[int, int]:
    uid = own_identity(config).uid(place.name)
    return owner_of(place) if place.is_dir() else (uid, uid)


def _check(one: ComponentConfig, head: Head) -> None:
    if head.component != one.address:
        raise ConfigError(f"this is the state of {printable(head.component, 60)}, and not of {one.address}")
    package, version = _package(one)
    if head.package != package:
        raise ConfigError(f"this is the state of {printable(head.package, 60)}, and {one.address} is of {package} now")
    if is_older(version, head.version):
        raise ConfigError(
            f"this is the state of {package} {printable(head.version, 60)}, and {version} is installed: a state goes "
            f"to newer versions only; update {one.address} first"
        )


def _staged(
    file: BinaryIO, kept: Path, name: str, owner: tuple[int, int], programs: Mapping[str, Place] | None = None
) -> None:
    """Make the new folders: no other user reaches into them before they are whole."""
    uid, gid = owner
    os.mkdir(kept, 0o700)
    os.mkdir(kept / name, 0o700)
    for place, _, _ in (programs or {}).values():
        os.mkdir(place, 0o700)
    read_state_untrusted(file, kept / name, uid, gid, programs)
    os.chown(kept / name, uid, gid)
    os.chown(kept, uid, gid)
    for place, own, group in (programs or {}).values():
        os.chown(place, own, group)
    os.sync()  # before it takes the place of what is on the disk


def _put(moves: Sequence[tuple[Path, Path]]) -> list[Old]:
    """Put new folders in their places, all or none; return where those from before are."""
    marks = [os.stat(new) for new, _ in moves]
    olds = [(new if place.is_dir() else None, place) for new, place in moves]
    try:
        for (new, place), (before, _) in zip(reversed(moves), reversed(olds), strict=True):  # the component's own last
            _exchange(new, place) if before is not None else move(new, place)
    except BaseException:
        _put_back([old for old, mark in zip(olds, marks, strict=True) if _is_at(old[1], mark)])
        for new, _ in moves:
            _remove(new)
        raise
    return olds


def _put_back(olds: Sequence[Old]) -> None:
    for before, place in olds:
        if before is None:
            _remove(place)
        else:
            _exchange(before, place)
            _remove(before)


def _is_at(place: Path, mark: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(place), mark)
    except OSError:
        return False


def _exchange(one: Path, other: Path) -> None:
    with as_config_error("exchange", other):
        syscalls.exchange(str(one), str(other))
    sync_folder(other.parent)


def _taken(config: Config, one: ComponentConfig, olds: Sequence[Old]) -> bool:
    """Start the process with its new state, and put the old one back if it does not; False where no host runs."""
    kept = ", ".join(str(before) for before, _ in olds if before is not None)
    try:
        why = _failure(config, one.process)
    except NotRunning:
        return False
    except (RequestRefused, ControlRefused) as error:
        why = str(error)
    except BaseException:
        if kept:
            say(f"{one.address} has the new state, and may not start with it: the one from before is in {kept}")
        raise
    if not why:
        return True
    if olds[0][0] is None:
        others = f" (what its programs had is in {kept})" if kept else ""
        raise ConfigError(
            f"{one.address} does not start with this state, and keeps it, as it had none before{others}: {why}"
        )
    _put_back(olds)
    try:
        again = _failure(config, one.process)
    except (NotRunning, RequestRefused, ControlRefused) as error:
        again = str(error)
    if again:
        say(f"warning: {one.process} does not start with the state from before, either: {again}")
    raise ConfigError(f"{one.address} does not start with this state, and has the one from before again: {why}")


def _remove(kept: Path) -> None:
    with suppress(OSError):
        remove_tree(kept)


def _failure(config: Config, process: str) -> str:
    answer = ask(config, "restart", timeout_s=restart_s(config, process), loop=process)
    if not answer["failed"]:
        return ""
    return printable(next((one["reason"] for one in answer["loops"] if one["reason"]), "see `status`"), 600)


def restore_lines(answer: Document) -> list[str]:
    found = [f"{answer['component']} has the state of {answer['made']} ({answer['version']})"]
    if answer["host"]:
        found.append("it was started anew with it; the state from before is removed")
    elif kept := [*filter(None, [answer["kept"]]), *answer["kept_of_programs"]]:
        found.append(
            f"the host does not run; the state from before is in {', '.join(kept)}: remove it once all is well"
        )
    return found


def _opened(path: str) -> BinaryIO:
    return open(open_regular(Path(path), "the backup"), "rb")


def _component(config: Config, address: str) -> ComponentConfig:
    known = {one.address: one for one in config.components}
    if address not in known:
        raise InvalidArgument(
            f"there is no component {printable(address, 60)} that could run{did_you_mean(address, known)}"
        )
    return known[address]


def _package(one: ComponentConfig) -> tuple[str, str]:
    """Return the distribution that brings a component, and its version."""
    if one.builtin:
        return "tlsrt", __version__
    name, _, rest = package_of(one, by_package()).partition(" ")
    if name == "program":
        return name, "0"
    return (name, rest.partition(" ")[0]) if one.origin else (one.package, "0")
