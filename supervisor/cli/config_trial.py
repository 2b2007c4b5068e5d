"""The trial of a configuration: everything that a start or a seal would refuse, all of it at once, nothing changed.

`start` and `seal` end with the first step that fails. Here each step is tried for itself, and what it finds has the
place of the key that it is about. Only a file that does not read, or whose keys are wrong, ends the trial.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from tlsrt.config import key_schedule
from tlsrt.config.boot_token import MAX_TOKEN_BYTES, BootToken, check_boot_token, parse_boot_token_untrusted
from tlsrt.config.code_permissions import impassable_for_others
from tlsrt.config.component_options import check_classes, unknown_options
from tlsrt.config.declared_calls import check_calls
from tlsrt.config.differences import listed
from tlsrt.config.document import ConfigFiles, read_files
from tlsrt.config.files import open_regular, read_bounded
from tlsrt.config.host_paths import named_paths, uids_for
from tlsrt.config.http_package import check_http
from tlsrt.config.init import key_in_force
from tlsrt.config.key_places import KeyPlaces, Place, placed
from tlsrt.config.load import parse_files
from tlsrt.config.measure import measure
from tlsrt.config.packages import code_of
from tlsrt.config.policy_methods import unknown_methods
from tlsrt.config.processes import is_part
from tlsrt.config.schema import Config
from tlsrt.config.setting import Where
from tlsrt.config.trusted_path import check_trusted
from tlsrt.errors import ConfigError, SandboxError
from tlsrt.sandbox.profile.profile_files import ProfileFiles
from tlsrt.supervisor.authority.clients.ca import read_ca_key
from tlsrt.supervisor.authority.door.files import DoorFiles, read_door_files
from tlsrt.supervisor.cli.sandbox import effective_of
from tlsrt.supervisor.cli.seal_record import seal_record_of
from tlsrt.supervisor.launch.child_programs import check_code
from tlsrt.supervisor.launch.fitting import fitting
from tlsrt.supervisor.launch.host_files import ConfiguredFiles
from tlsrt.supervisor.process.instance_lock import is_held
from tlsrt.supervisor.process.listeners import try_tcp
from tlsrt.supervisor.process.scheduling import check_scheduling
from tlsrt.supervisor.process.uids import AUTHORITY, own_identity

CHANGES_MAX = 50  # files that differ from the boot token, of which each is named
_T = TypeVar("_T")


class Finding(NamedTuple):
    """One sentence about a configuration; a fault keeps the host, or a component, from running."""

    place: Place
    sentence: str
    is_fault: bool = True


class Trial:
    """One configuration under trial; `findings` fills up."""

    def __init__(self, path: Path, wall_ms: int) -> None:
        self.path = Path(os.path.abspath(path))
        self._wall_ms = wall_ms
        self._places = KeyPlaces(str(self.path), ConfigFiles(b""))
        self._found: dict[Finding, None] = {}
        self.notes: list[str] = []

    @property
    def findings(self) -> Sequence[Finding]:
        """Return what was found, faults first, each once, in the order of places."""
        return sorted(self._found, key=lambda one: (not one.is_fault, one.place))

    def run(self) -> None:
        """Try everything. Raises nothing for a configuration that is wrong."""
        config = self._try((), self._read)
        if config is None:
            return
        for step in (
            self._paths, self._components, self._profiles, self._code, self._seal, self._door, self._ports,
        ):  # fmt: skip
            step(config)

    # Steps

    def _read(self) -> Config:
        files = read_files(self.path)
        self._places = KeyPlaces(str(self.path), files)
        return fitting(parse_files(files, self.path))

    def _paths(self, config: Config) -> None:
        for path, what, where in named_paths(config):
            self._try(where, partial(check_trusted, path, what, uids_for(config, path)))
        identity = self._try((), partial(own_identity, config))
        if identity is not None and not identity.rootless and "mount_namespace" in config.sandbox.waive:
            self._say(("sandbox", "waive"), impassable_for_others([config.state_dir, config.run_dir]))
        self._try(("scheduling",), partial(check_scheduling, config.scheduling))

    def _components(self, config: Config) -> None:
        for one in config.failed:
            for text in one.problems:
                place, sentence = placed(text, self._places.of(("components", one.name)))
                self._found[Finding(place, f"component {one.name} does not run: {sentence}")] = None
        self._say(("components",), unknown_options(config))
        self._try(("components",), partial(check_classes, config))
        self._try(("door", "http"), partial(check_http, config))
        self._say((), config.remarks, is_fault=False)
        self._say((), self._try((), partial(check_calls, config)) or (), is_fault=False)
        for rule in config.policy:
            line = ("policy", f"{rule.source} -> {rule.target}")
            self._say(line, unknown_methods(config, [rule]), is_fault=False)

    def _profiles(self, config: Config) -> None:
        files = ProfileFiles()
        for process in (AUTHORITY, *(loop.name for loop in config.loops)):
            self._try(_place_of(config, process), partial(effective_of, config, process, files))

    def _code(self, config: Config) -> None:
        is_strict = config.measure == "strict"
        problems = self._try(
            ("components",), lambda: check_code(config, code_of(config), own_identity(config))
        )  # fmt: skip
        self._say(("measure",), problems or (), is_fault=is_strict)

    def _seal(self, config: Config) -> None:
        where, key = ("boot_token",), None
        if config.master_key.provider == "file" or "CREDENTIALS_DIRECTORY" in os.environ:
            key = self._try(("master_key",), partial(key_in_force, config))
        else:
            self.notes.append("master_key is a credential of the service, so neither it nor the token's MAC was tried")
        token = self._try(where, partial(_token_of, config.boot_token))
        if token is None:
            return
        if key is not None:
            mac_key = key_schedule.boot_mac_key(key_schedule.extract(config.install_id, key[0]))
            known = seal_record_of(config).seal
            self._try(where, partial(check_boot_token, mac_key, token, token.entries, known))
        measured = self._try(("components",), partial(measure, config))
        changed = listed(token.entries, measured) if measured is not None else []
        more = [f"{len(changed) - CHANGES_MAX} more files"] if len(changed) > CHANGES_MAX else []
        lines = [f"not as it was sealed: {line}" for line in [*changed[:CHANGES_MAX], *more]]
        self._say(where, lines, is_fault=config.measure == "strict")
        if changed:
            self.notes.append("if you intended what is not as it was sealed, run `tlsrt-supervisor seal`")

    def _door(self, config: Config) -> None:
        door = config.door
        named = [(door.certificate, "certificate", "the door's certificate"), (door.key, "key", "the door's key"),
                 (door.client_ca, "client_ca", "the client CA"), (door.crl, "crl", "the revocation list")]  # fmt: skip
        is_whole = True
        for path, key, what in named:
            if path is not None and self._try(("door", key), partial(_opened, path, what)) is None:
                is_whole = False
        ca_key = self._try(("door", "client_ca_key"), ConfiguredFiles(config).open_ca_key)
        files = None
        if is_whole:
            files = self._try(("door", "certificate"), partial(_door_files, config))
        if files is not None:
            self._try(("door", "certificate"), partial(files.check_time, self._wall_ms))
            self._say(("door", "certificate"), files.warnings(self._wall_ms), is_fault=False)
            if ca_key is not None:
                self._try(("door", "client_ca_key"), partial(read_ca_key, ca_key, files.authorities))
            files.close()
        if ca_key is not None:
            os.close(ca_key)

    def _ports(self, config: Config) -> None:
        if is_held(config.state_dir / "lock"):
            self.notes.append("the host runs, so its ports were not tried")
            return
        door, endpoint = config.door, config.deception.endpoint
        wanted: list[tuple[str, int, str, Where]] = [(door.host, door.port, "door", ("door", "port"))]
        if endpoint is not None:
            wanted.append((endpoint.host, endpoint.port, "deception.endpoint", ("deception", "endpoint", "port")))
        for host, port, name, where in wanted:
            self._try(where, partial(try_tcp, host, port, name))
        for one in config.listeners:
            asked, name = one.asked, f"{one.address} ({one.asked.name})"
            if asked.protocol == "tcp":
                place, _ = placed(f"{asked.where}: -", self._places.of(("components", one.address)))
                self._try_at(place, partial(try_tcp, asked.host, asked.port, name))

    # Collecting

    def _try(self, where: Where, step: Callable[[], _T]) -> _T | None:
        return self._try_at(self._places.of(where), step)

    def _try_at(self, place: Place, step: Callable[[], _T]) -> _T | None:
        """Return the result of a step; None if it was refused, and what it said is noted."""
        try:
            return step()
        except ConfigError as error:
            self._note(place, error.problems)
        except SandboxError as error:
            self._note(place, [str(error)])
        except OSError as error:
            self._note(place, [f"cannot read {error.filename or 'the host'}: {error.strerror}"])
        return None

    def _say(self, where: Where, sentences: Iterable[str], *, is_fault: bool = True) -> None:
        self._note(self._places.of(where), sentences, is_fault=is_fault)

    def _note(self, place: Place, sentences: Iterable[str], *, is_fault: bool = True) -> None:
        for sentence in sentences:
            otherwise = self._places.named_by(sentence) or place
            self._found[Finding(*placed(sentence, otherwise), is_fault)] = None


def _place_of(config: Config, process: str) -> Where:
    """Return the key that a process is there for."""
    hosted = config.components_of(process)
    return ("components", hosted[0].address) if is_part(process) and hosted else ("loops", process)


def _token_of(path: Path) -> BootToken:
    if not os.path.lexists(path):
        raise ConfigError(f"there is no boot token at {path}: run `tlsrt-supervisor seal`")
    return parse_boot_token_untrusted(read_bounded(path, MAX_TOKEN_BYTES, "the boot token"))


def _opened(path: Path, what: str) -> bool:
    os.close(open_regular(path, what))
    return True


def _door_files(config: Config) -> DoorFiles:
    descriptors = ConfiguredFiles(config).open_door_files()
    try:
        return read_door_files(*descriptors)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
