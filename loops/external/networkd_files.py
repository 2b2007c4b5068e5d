"""Confirmed interfaces as files of systemd-networkd, systemd.network(5): what they say, and that they lie there.

They are ours by their names. What is on trial is never among them: a file would outlast whatever undoes the trial.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from tlsrt.loops.external.interface_state import DeclaredInterface

_PREFIX, _SUFFIX = "10-tlsrt-", ".network"
_UNFINISHED = "unfinished"  # no name that systemd-networkd reads
_MODE = 0o644  # systemd-networkd reads it as a user of its own
_HEAD = "# Written by tlsrt, external/configuration, when it was confirmed: what you change here is lost.\n"


def files_of(declared: Mapping[str, DeclaredInterface]) -> dict[str, str]:
    """Return the files by their names, and what is in each. Pure."""
    return {f"{_PREFIX}{name}{_SUFFIX}": "".join(_lines(name, one)) for name, one in sorted(declared.items())}


def _lines(name: str, one: DeclaredInterface) -> Iterator[str]:
    yield f"{_HEAD}[Match]\nName={name}\n"
    policy = "manual" if one.up is None else "up" if one.up else "down"  # what is not said stays as it is
    yield f"\n[Link]\nActivationPolicy={policy}\n"
    if one.mtu is not None:
        yield f"MTUBytes={one.mtu}\n"
    yield "\n[Network]\n"
    if one.addresses is None or one.routes is None:
        yield "KeepConfiguration=static\n"
    for address in one.addresses or ():
        yield f"Address={address}\n"
    for route in one.routes or ():
        to, via, metric, protocol = route.plain
        yield f"\n[Route]\nDestination={to}\nProtocol={protocol}\n"
        if via:
            yield f"Gateway={via}\n"
        if metric:
            yield f"Metric={metric}\n"


def write_files(folder: Path, wanted: Mapping[str, str]) -> bool:
    """Have exactly these files of ours in the folder, each written in one step; tell if anything was changed.

    Raises OSError.
    """
    there = {path.name: path for path in folder.iterdir() if path.name.startswith(_PREFIX)}
    changed = False
    for name, text in wanted.items():
        if name in there and _text(there[name]) == text:
            continue
        changed = True
        _write(folder, name, text)
    for name, path in there.items():
        if name.endswith(_SUFFIX) and name not in wanted:
            changed = True
            path.unlink()
    if changed:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    return changed


def _text(path: Path) -> str | None:
    with suppress(OSError, UnicodeError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            return file.read(1 << 16).decode("ascii")
    return None


def _write(folder: Path, name: str, text: str) -> None:
    unfinished = folder / f"{_PREFIX}{_UNFINISHED}"
    with suppress(FileNotFoundError):
        unfinished.unlink()
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), _MODE)
        file.write(text.encode("ascii"))
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(folder / name)
