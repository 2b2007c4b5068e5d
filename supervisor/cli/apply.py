"""`apply`: the configuration of a host as a folder under version control says it; all of it, or nothing.

What the folder holds, the host has afterwards: its main file, and of each folder of drop-ins that is in it exactly
these files. What it does not hold, the host keeps. Nothing is written before the whole of it was tried; then it is one
change with a journal, as that of a `component` verb: written, sealed, taken by the running host, or as before.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tlsrt.command_line.table import Document
from tlsrt.config.config_drop_ins import ENDING, check_written_whole, config_drop_in_folder
from tlsrt.config.config_drop_ins import PREFIX as CONFIG_DROP_INS
from tlsrt.config.document import MAX_FILE_BYTES, ConfigFiles, read_files
from tlsrt.config.drop_ins import APPROVED, DROP_IN, drop_in_folder
from tlsrt.config.drop_ins import FOLDER as COMPONENTS
from tlsrt.config.files import read_bounded
from tlsrt.config.fixed_keys import fixed_keys, fixed_keys_sentence
from tlsrt.config.load import parse_files
from tlsrt.config.manifest import MANIFEST_MAX
from tlsrt.config.schema import Config
from tlsrt.config.trusted_path import check_trusted, trusted_uids
from tlsrt.config.variables import PREFIX as VARIABLES
from tlsrt.errors import EX_CHANGED, EX_FAILED, EX_UNAVAILABLE, ConfigError, InvalidArgument
from tlsrt.supervisor.cli.approval import is_approved, show
from tlsrt.supervisor.cli.brought_packages import FOLDER as PACKAGES
from tlsrt.supervisor.cli.brought_packages import BroughtPackages, brought_packages, install, remove
from tlsrt.supervisor.cli.component.addition import EDITED, Change, begin, check_sealed, is_components
from tlsrt.supervisor.cli.component.journal import place_of, whole_config
from tlsrt.supervisor.cli.component.wheel import Offering
from tlsrt.supervisor.cli.configuration import difference
from tlsrt.supervisor.cli.exchange import config_of, say
from tlsrt.supervisor.cli.lifecycle import reload_lines
from tlsrt.supervisor.cli.setup import check_whole
from tlsrt.supervisor.launch.fitting import fitting, without
from tlsrt.supervisor.process.instance_lock import is_held

FORMAT = 1  # of the document


@dataclass(frozen=True, slots=True)
class Source:
    """What a folder holds of a configuration: name of a file, as a change has it -> its content and where it lies."""

    files: Mapping[str, tuple[bytes, Path]]
    folders: frozenset[str]  # of drop-ins that are in it, so that the host has no others
    passed_over: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be changed: name of a file -> content before and after, None for no file."""

    before: Mapping[str, bytes | None]
    after: Mapping[str, bytes | None]
    made: Config
    packages: tuple[Offering, ...] = ()  # that are to be installed
    passed_over: tuple[str, ...] = field(default=())

    @property
    def blocks(self) -> list[list[str]]:
        """Return the differences, for people."""
        found = [difference(name.removeprefix("./"), self.before[name], data) for name, data in self.after.items()]
        install = [f"install {one.distribution} {one.version} from {one.wheel}" for one in self.packages]
        return [*found, install] if install else found

    @property
    def is_empty(self) -> bool:
        return not self.after and not self.packages

    def measured_names(self, config: Config) -> set[str]:
        """Return what differs in a measurement by the plan, without what is of components."""
        names = {name: name.rpartition("/")[2] for name in self.after if "/" in name}
        files = {"config" if name.startswith("./") else f"{CONFIG_DROP_INS}{last}" for name, last in names.items()}
        return files | {f"{VARIABLES}{name}" for name in self.made.variables.keys() ^ config.variables.keys()}

    def document(self) -> Document:
        words = {(True, False): "added", (False, True): "removed", (False, False): "changed"}
        return {
            "format": FORMAT,
            "changed": not self.is_empty,
            "files": [
                {"file": name.removeprefix("./"), "change": words[self.before[name] is None, data is None]}
                for name, data in self.after.items()
            ],
            "packages": [f"{one.distribution} {one.version}" for one in self.packages],
            "passed_over": list(self.passed_over),
        }


def apply(arguments: argparse.Namespace) -> int:
    """Show what changes, take a yes, and do it; the exit code says what became of it."""
    with tempfile.TemporaryDirectory(prefix="tlsrt-wheel-") as scratch:
        return _apply(arguments, Path(scratch))


def _apply(arguments: argparse.Namespace, scratch: Path) -> int:
    if arguments.dry_run:
        config = config_of(arguments)
        plan = planned(config, arguments.source, scratch)
        if not plan.is_empty:
            check_sealed(config)
        show(plan.blocks, arguments)
        return _told({**plan.document(), "dry_run": True, "host": None}, arguments)
    config = whole_config(arguments)
    ours: set[str] = set()  # measured names that the plan changes; what another one edits meanwhile is not sealed
    with begin(config, lambda name: name in ours or is_components(name)) as change:
        plan = planned(config, arguments.source, scratch)
        ours |= plan.measured_names(config)
        if not plan.is_empty:
            if not is_approved(plan.blocks, arguments, "Apply it?"):
                return EX_FAILED
            change.check_sealed()
        answer = None if plan.is_empty else _take(change, plan)
    return _told({**plan.document(), "dry_run": False, "host": answer}, arguments)


@dataclass(frozen=True, slots=True)
class _Installation:
    """The packages of a plan."""

    packages: tuple[Offering, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(one.distribution for one in self.packages)

    def install(self) -> None:
        install(self.packages)

    def remove(self) -> list[str]:
        return remove(self.packages)


def _take(change: Change, plan: Plan) -> Document | None:
    if any(change.present(name) != data for name, data in plan.before.items()):
        raise ConfigError(EDITED)
    return change.take(plan.after, _Installation(plan.packages) if plan.packages else None)


def planned(config: Config, source: Path, scratch: Path) -> Plan:
    """Return what a folder, or a file, changes at a host. Raises ConfigError for what the host cannot have.

    `scratch` is an empty folder for files of pip.
    """
    there, said = read_files(config.path), read_source(source, config.path)
    before = dict(_present(there, config.path))
    after: dict[str, bytes | None] = {name: data for name, (data, _) in said.files.items() if before.get(name) != data}
    after |= {name: None for name in before if name not in said.files and _folder_of(name) in said.folders}
    for place in (place_of(drop_in_folder(config.path), name) for name in after):
        if place.is_symlink():
            raise ConfigError(f"{place} is a link, which this command would replace: apply to what it leads to")
    wanted = {name: data for name, data in {**before, **after}.items() if data is not None}
    brought = brought_packages(Path(os.path.abspath(source)), scratch)
    try:
        made = _tried(config, wanted, there, brought)
    except ConfigError as error:
        raise ConfigError([_at_source(one, said, config.path) for one in error.problems]) from None
    used = brought.used_by(made)
    unused = [f"{PACKAGES}/{path.name}" for path, one in brought.offerings.items() if one not in used]
    return Plan({name: before.get(name) for name in after}, after, made, used, (*said.passed_over, *unused))


def read_source(source: Path, config: Path) -> Source:
    """Return what a folder or file holds of the configuration `config`. Raises ConfigError."""
    source = Path(os.path.abspath(source))
    if not os.path.lexists(source):
        raise InvalidArgument(f"there is no {source}: name a file of a configuration, or a folder of such files")
    check_trusted(source, "what is applied", trusted_uids())
    more = config_drop_in_folder(config).name
    if not source.is_dir():
        if source.parent.name == COMPONENTS and source.name.endswith((DROP_IN, APPROVED)) and source.name[0] != ".":
            return Source({source.name: (_read_of_component(source), source)}, frozenset())
        name = f"./{config.name}" if source.name == config.name else f"{more}/{source.name}"
        if not source.name.endswith(ENDING) or source.name.startswith("."):
            raise InvalidArgument(f"{source} is no file of a configuration: its name ends with {ENDING}")
        return Source({name: (_read(source, is_drop_in=name.startswith(more)), source)}, frozenset())
    found: dict[str, tuple[bytes, Path]] = {}
    if os.path.lexists(source / config.name):
        found[f"./{config.name}"] = (_read(source / config.name, is_drop_in=False), source / config.name)
    folders = {name for name in (more, COMPONENTS) if os.path.lexists(source / name)}
    if more in folders:
        for path in _listed(source / more, (ENDING,)):
            found[f"{more}/{path.name}"] = (_read(path, is_drop_in=True), path)
    if COMPONENTS in folders:
        for path in _listed(source / COMPONENTS, (DROP_IN, APPROVED)):
            found[path.name] = (_read_of_component(path), path)
    if not found and not folders:
        raise ConfigError(f"{source} holds nothing of a configuration: no {config.name}, no {more}, no {COMPONENTS}")
    known = {config.name, more, COMPONENTS, PACKAGES}
    others = [path.name for path in sorted(source.iterdir()) if path.name not in known and path.name[0] != "."]
    return Source(found, frozenset(folders), tuple(others))


def _listed(folder: Path, endings: tuple[str, ...]) -> list[Path]:
    """Return the files that count, in their order. Raises ConfigError for others: a typing error would remove one."""
    try:
        found = [folder / name for name in sorted(os.listdir(folder)) if not name.startswith(".")]
    except OSError as error:
        raise ConfigError(f"cannot read {folder}: {error.strerror}") from None
    for path in found:
        if not path.name.endswith(endings):
            raise ConfigError(f"{path} is no drop-in: its name ends with {' or '.join(endings)}")
    return found


def _read_of_component(path: Path) -> bytes:
    """Return a drop-in of a component, or its manifest, which is the package's to the byte, however that ends."""
    return _read(path, is_drop_in=path.name.endswith(DROP_IN), most=MANIFEST_MAX)


def _read(path: Path, *, is_drop_in: bool, most: int = MAX_FILE_BYTES) -> bytes:
    check_trusted(path, "what is applied", trusted_uids())
    data = read_bounded(path, most, "the file")
    if is_drop_in:
        check_written_whole(path, data)
    return data


def _present(there: ConfigFiles, config: Path) -> Iterator[tuple[str, bytes]]:
    yield f"./{config.name}", there.main
    for name, data in there.more.items():
        yield f"{config_drop_in_folder(config).name}/{name}", data
    for name, content in there.components.items():
        if isinstance(content, ConfigError):
            raise content
        yield name, content


def _folder_of(name: str) -> str:
    """Return the folder of drop-ins that a file is in, `.` for the main file."""
    return name.rpartition("/")[0] if "/" in name else COMPONENTS


def _tried(config: Config, wanted: Mapping[str, bytes], there: ConfigFiles, brought: BroughtPackages) -> Config:
    """Return the configuration as it would be. Raises ConfigError for what a start, a seal or a reload refuses."""
    main = f"./{config.path.name}"
    more = {name.rpartition("/")[2]: data for name, data in sorted(wanted.items()) if "/" in name and name != main}
    components = {name: data for name, data in sorted(wanted.items()) if "/" not in name}
    files = ConfigFiles(wanted[main], more, components, there.environment)
    made = parse_files(files, config.path, brought.find)
    new = brought.components(made)
    made = fitting(made, new)
    if made.install_id != config.install_id:
        raise ConfigError(f"{config.path}:1:1: `install` is of another host: leave out the main file, or correct it")
    if made.boot_token != config.boot_token:
        raise ConfigError(f"{config.path}:1:1: boot_token cannot change by this command: edit the file, and seal")
    before = {one.name for one in fitting(config).failed}
    if problems := [text for one in made.failed if one.name not in before for text in one.problems]:
        raise ConfigError(problems)
    if is_held(config.state_dir / "lock") and (keys := fixed_keys(config, made)):
        raise ConfigError(fixed_keys_sentence(keys))
    check_whole(without(made, new), is_written=False)
    return made


def _at_source(sentence: str, source: Source, config: Path) -> str:
    """Return a sentence about a file of the host as one about the file that it is to come from."""
    for name, (_, path) in source.files.items():
        sentence = sentence.replace(f"{place_of(drop_in_folder(config), name)}:", f"{path}:", 1)
    return sentence


def _told(document: Document, arguments: argparse.Namespace) -> int:
    """Print the document, and return the exit code."""
    print(json.dumps(document) if arguments.json else "\n".join(_lines(document)))
    failed = (document["host"] or {}).get("failed")
    if failed:
        say(*(f"{name} does not run with it" for name in failed))
        return EX_UNAVAILABLE
    return EX_CHANGED if document["changed"] and arguments.detailed_exitcode else 0


def _lines(document: Document) -> list[str]:
    found = [f"passed over: {name}" for name in document["passed_over"]]
    if not document["changed"]:
        return [*found, "unchanged: this host is as the configuration says"]
    rows = [f"{one['change']}: {one['file']}" for one in document["files"]]
    rows += [f"{'to be ' * document['dry_run']}installed: {one}" for one in document["packages"]]
    if document["dry_run"]:
        return [*found, *rows, "a dry run: nothing was changed"]
    if document["host"] is None:
        return [*found, *rows, "sealed; the host does not run, and its next start takes it"]
    return [*found, *rows, *reload_lines(document["host"]), "changed: sealed, and taken by the running host"]
