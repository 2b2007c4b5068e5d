"""The files of programs: what is executed, loaded and measured for each, and how a changed one is noticed.

The files are looked at before they are hashed. So whatever changes afterwards differs from what was noted here, and a
process that is about to execute it refuses.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tlsrt.config.code_root import Identity, Root, identity_of, identity_of_root
from tlsrt.config.components import ComponentConfig
from tlsrt.config.elf import CACHE, Executable, ExecutableReader
from tlsrt.config.package_survey import once
from tlsrt.config.programs import ProgramConfig
from tlsrt.config.worker_code import WorkerCode
from tlsrt.errors import ConfigError

_PYTHON = re.compile(r"python3\.\d+")


@dataclass(frozen=True, slots=True)
class ProgramFiles:
    """One program: its executable, the further ones that it may run, and how each of their files looked."""

    executable: Executable
    others: tuple[Executable, ...] = ()
    identities: Mapping[str, Identity] = field(default_factory=dict[str, Identity])
    trees: Mapping[Root, bytes] = field(default_factory=dict[Root, bytes])  # of a worker: its code, which is measured
    folders: tuple[Path, ...] = ()  # and where all of that lies

    @property
    def runs(self) -> tuple[str, ...]:
        """Return what the kernel must be let execute."""
        return tuple(dict.fromkeys(path for one in (self.executable, *self.others) for path in one.runs))

    @property
    def shown(self) -> tuple[Path, ...]:
        """Return the files that its root shows: all of them, and the loader's list of libraries."""
        cache = (CACHE,) if CACHE.exists() else ()
        below = tuple(f"{folder}/" for folder in self.folders)
        files = [path for path in map(Path, self.identities) if not f"{path}/".startswith(below)]
        return (*files, *self.folders, *cache)


def changed_file(files: ProgramFiles) -> str:
    """Return the first file that is not as it was, or an empty text."""
    for path, identity in files.identities.items():
        try:
            if identity_of(path) == identity:
                continue
        except OSError:
            pass
        return path
    for root, tree in files.trees.items():
        try:
            if identity_of_root(root) == tree:
                continue
        except OSError:
            pass
        return f"{root.path}"
    return ""


def measured_name(path: str) -> str:
    """Return the name of a program's file in a measurement: `program/usr/bin/gzip`."""
    return f"program{path}"


def files_of_programs(
    components: tuple[ComponentConfig, ...],
    worker_code: Callable[[ComponentConfig, str], WorkerCode] | None = None,
) -> dict[tuple[str, str], ProgramFiles]:
    """Return (address, name) -> files, for every program. Raises ConfigError with FILE:LINE:COL.

    `worker_code` says what a worker of a component imports, by the name of its module; None: that is not
    looked at, as where its package is not installed yet.
    """
    reader = ExecutableReader()
    found: dict[tuple[str, str], ProgramFiles] = {}
    problems: list[str] = []
    for component in components:
        for program in component.all_programs:
            try:
                if program.problem:
                    raise ConfigError(program.problem)
                _check_secrets(component, program)
                code = worker_code(component, program.worker) if program.worker and worker_code is not None else None
                found[component.address, program.name] = _files_of(program, reader, code)
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


def _check_secrets(component: ComponentConfig, program: ProgramConfig) -> None:
    names = {one.name for one in component.needs.secrets}
    for name in program.secrets:
        if name not in names:
            raise ConfigError(f"secrets: {component.address} has no secret {name}: put it under its `needs: secrets`")


def _files_of(program: ProgramConfig, reader: ExecutableReader, code: WorkerCode | None) -> ProgramFiles:
    executable = reader.read(os.fspath(program.run))
    folders: tuple[Path, ...] = ()
    if not program.worker:
        _check_python(program, executable)
    if code is not None:
        executable = replace(executable, prefix=code.words)
        folders = code.folders
    others = tuple(reader.read(os.fspath(path)) for path in program.also_runs)
    if scripts := [one.prefix[-1] for one in others if one.prefix]:
        raise ConfigError(f"also_runs: {scripts[0]} is a script: name its interpreter instead")
    identities: dict[str, Identity] = {}
    needed = [path for folder in (*program.read, *folders) for path in _libraries_below(os.fspath(folder), reader)]
    for path in (*(path for one in (executable, *others) for path in one.files), *needed):
        try:
            identities[path] = identity_of(path)
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    trees = {root: _identity_of_root(root) for root in (code.roots if code is not None else ())}
    return ProgramFiles(executable, others, identities, trees, folders)


def _check_python(program: ProgramConfig, executable: Executable) -> None:
    """Refuse a Python that is not shown its standard library, as it would end at once, each time anew."""
    real = Path(os.path.realpath(executable.path))
    library = real.parent.parent / "lib" / real.name
    if not _PYTHON.fullmatch(real.name) or "PYTHONHOME" in program.environment or not library.is_dir():
        return
    shown = {Path(os.path.realpath(path)) for path in program.read}
    if shown.isdisjoint((library, *library.parents)):
        raise ConfigError(f"{executable.path} cannot begin without its library: put {library} under `read`")


def _libraries_below(folder: str, reader: ExecutableReader) -> tuple[str, ...]:
    return once(f"libraries {folder}", lambda: reader.libraries_below(folder))


def _identity_of_root(root: Root) -> bytes:
    (words,) = once(f"identity {root}", lambda: (identity_of_root(root).hex(),))
    return bytes.fromhex(words)
