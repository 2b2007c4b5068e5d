"""The files of programs: what is executed, loaded and measured for each, and how a changed one is noticed.

The files are looked at before they are hashed. So whatever changes afterwards differs from what was noted here, and a
process that is about to execute it refuses.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tlsrt.config.components import ComponentConfig
from tlsrt.config.elf import CACHE, Executable, ExecutableReader
from tlsrt.config.programs import ProgramConfig
from tlsrt.errors import ConfigError

Identity = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ProgramFiles:
    """One program: its executable, the further ones that it may run, and how each of their files looked."""

    executable: Executable
    others: tuple[Executable, ...] = ()
    identities: Mapping[str, Identity] = field(default_factory=dict[str, Identity])

    @property
    def runs(self) -> tuple[str, ...]:
        """Return what the kernel must be let execute."""
        return tuple(dict.fromkeys(path for one in (self.executable, *self.others) for path in one.runs))

    @property
    def shown(self) -> tuple[Path, ...]:
        """Return the files that its root shows: all of them, and the loader's list of libraries."""
        cache = (CACHE,) if CACHE.exists() else ()
        return (*map(Path, self.identities), *cache)


def identity_of(path: str) -> Identity:
    """Return what differs when a file is changed or exchanged: stat(2). Raises OSError."""
    status = os.stat(path)
    return (
        status.st_dev, status.st_ino, status.st_mode, status.st_uid, status.st_size, status.st_mtime_ns,
        status.st_ctime_ns,
    )  # fmt: skip


def changed_file(files: ProgramFiles) -> str:
    """Return the first file that is not as it was, or an empty text."""
    for path, identity in files.identities.items():
        try:
            if identity_of(path) == identity:
                continue
        except OSError:
            pass
        return path
    return ""


def measured_name(path: str) -> str:
    """Return the name of a program's file in a measurement: `program/usr/bin/gzip`."""
    return f"program{path}"


def files_of_programs(components: tuple[ComponentConfig, ...]) -> dict[tuple[str, str], ProgramFiles]:
    """Return (address, name) -> files, for every program. Raises ConfigError with FILE:LINE:COL."""
    reader = ExecutableReader()
    found: dict[tuple[str, str], ProgramFiles] = {}
    problems: list[str] = []
    for component in components:
        for program in component.all_programs:
            try:
                found[component.address, program.name] = _files_of(program, reader)
            except ConfigError as error:
                who = f"{component.address} cannot have {_what(program)}"
                problems += [f"{program.where}: {who}: {problem}" for problem in error.problems]
    if problems:
        raise ConfigError(problems)
    return found


def _what(program: ProgramConfig) -> str:
    if program.bus is None:
        return f"the program {program.name}"
    way = "install it, or say `unfiltered: true`, which is the whole bus"
    return f"the bus {program.bus} without {program.run}, which holds it to what is listed ({way})"


def _files_of(program: ProgramConfig, reader: ExecutableReader) -> ProgramFiles:
    if program.problem:
        raise ConfigError(program.problem)
    executable = reader.read(os.fspath(program.run))
    others = tuple(reader.read(os.fspath(path)) for path in program.also_runs)
    if scripts := [one.prefix[-1] for one in others if one.prefix]:
        raise ConfigError(f"also_runs: {scripts[0]} is a script: name its interpreter instead")
    identities: dict[str, Identity] = {}
    needed = [path for folder in program.read for path in reader.libraries_below(os.fspath(folder))]
    for path in (*(path for one in (executable, *others) for path in one.files), *needed):
        try:
            identities[path] = identity_of(path)
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    return ProgramFiles(executable, others, identities)
