"""Changes of a host's drop-ins as a transaction: written, sealed and taken by the running host, or as before.

What is sealed on the way is what the change brings and nothing else: a host that differs from its boot token is refused
before anything is installed, and so is a package whose installation has changed something else.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from tlsrt.command_line.table import Document
from tlsrt.config import files
from tlsrt.config.bytecode import forget_bytecode
from tlsrt.config.document import read_files
from tlsrt.config.drop_ins import JOURNAL, PREFIX, drop_in_file, drop_in_folder, installed_manifest
from tlsrt.config.files import as_config_error, open_folder, owner_of, read_bounded
from tlsrt.config.import_path import NEEDED, USED
from tlsrt.config.init import changed_names, sealed_bytecode
from tlsrt.config.isolation import PREFIX as ISOLATED
from tlsrt.config.load import load_config, parse_files
from tlsrt.config.schema import Config
from tlsrt.errors import EX_CONFIG, ConfigError, SandboxError, TlsrtError
from tlsrt.supervisor.cli.component.isolation import sweep
from tlsrt.supervisor.cli.component.journal import (
    Content,
    Journal,
    clear_left,
    place_of,
    token_digest,
    write_content,
    write_journal,
)
from tlsrt.supervisor.cli.exchange import RequestRefused, ask
from tlsrt.supervisor.cli.setup import check_whole, renew_boot_token
from tlsrt.supervisor.control.client import ControlRefused, NotRunning
from tlsrt.supervisor.launch.fitting import check_fits, fitting
from tlsrt.text import printable

EDITED = "a file of the configuration was changed meanwhile, so nothing was written: run this again"
_RELOAD_S = 3600.0  # the supervisor answers in time; this is for one that does not
_BYTES_MAX = _FILE_MAX = 1 << 20
_TLSRTS = tuple(f"dep/{name}" for name in (*NEEDED, *USED))  # what no package of a component may bring


def is_components(name: str) -> bool:
    """Tell whether a measured name is of an added component, or of what it needs."""
    kinds = (PREFIX, ISOLATED, "component/", "dep/", "program/", "version/", "bytecode")
    return name.startswith(kinds) and not any(name == one or name.startswith((f"{one}/", f"{one}.")) for one in _TLSRTS)


def check_sealed(config: Config) -> None:
    """Refuse a host that differs from its boot token, if it is strict about that. Raises ConfigError."""
    config = fitting(config)
    if config.measure == "strict" and changed_names(config):
        raise ConfigError(
            "this host is not what was sealed, and this command would seal that too: look at `tlsrt-supervisor "
            "seal --diff`, and run `tlsrt-supervisor seal` if you intended it"
        )


class Installation(Protocol):
    """Packages that are installed for a change alone: by none of these names is one there before."""

    @property
    def names(self) -> Sequence[str]: ...

    def install(self) -> None:
        """Install all of them. Raises ConfigError; `remove` is called then."""

    def remove(self) -> Sequence[str]:
        """Remove those that are there; return the names of those that could not be removed."""


class Change:
    """One change of the drop-ins of a host, which no other command changes meanwhile; see `begin`."""

    def __init__(self, config: Config, accepts: Callable[[str], bool], what: str, private: tuple[str, ...]) -> None:
        self._accepts = accepts
        self._what = what
        self._private = private
        self._path = config.path
        self._folder = drop_in_folder(config.path)
        self._owner = owner_of(config.path)
        self._token = config.boot_token
        self._failed = {one.name for one in fitting(config).failed}

    def check_sealed(self) -> None:
        """Refuse a host that differs from its boot token, as this change would seal that too. Raises ConfigError."""
        check_sealed(load_config(self._path))

    def present(self, name: str) -> bytes | None:
        """Return what a file of the folder holds now. Raises ConfigError."""
        path = place_of(self._folder, name)
        return read_bounded(path, _FILE_MAX, "the file") if os.path.lexists(path) else None

    def take(self, content: Content, installation: Installation | None = None) -> Document | None:
        """Install, write these files, seal, and let the host take them if it runs; return the answer of its reload.

        Where any of it is refused, files and boot token are as before, and what was installed for it is removed. Raises
        ConfigError, SandboxError, RequestRefused and ControlRefused.
        """
        journal, token = self._written_down(content, installation)
        if installation is not None:
            self._install(installation, journal.before)
        asked = False
        try:
            write_content(self._folder, content, self._owner, self._private)
            taken = self._taken(is_more=installation is not None or any(data is not None for data in content.values()))
            renew_boot_token(taken)
            journal = replace(journal, token_after=token_digest(self._token))
            write_journal(self._folder, journal, self._owner)
            asked = True
            answer = ask(taken, "reload", timeout_s=_RELOAD_S, refused=EX_CONFIG)
        except NotRunning:
            answer = None
        except (TlsrtError, OSError, KeyboardInterrupt) as error:
            # Without a clear no the host may have taken it: no answer in time, or one that cannot be read.
            is_refused = isinstance(error, (ConfigError, SandboxError, RequestRefused))
            self._undo_for(error, journal, token, installation, is_taken=asked and not is_refused)
            raise
        files.remove(self._folder / JOURNAL)
        return answer

    def _written_down(self, content: Content, installation: Installation | None) -> tuple[Journal, bytes | None]:
        """Write the journal of a change; return it, and the boot token as it is. Raises ConfigError."""
        before = {name: self.present(name) for name in content}
        token = read_bounded(self._token, _BYTES_MAX, "the boot token") if os.path.lexists(self._token) else None
        installed = tuple(installation.names) if installation is not None else ()
        journal = Journal(
            before, content, token_digest(self._token), token=str(self._token), installed=installed,
            private=self._private, what=self._what,
        )  # fmt: skip
        write_journal(self._folder, journal, self._owner)
        return journal, token

    def _install(self, installation: Installation, before: Content) -> None:
        """Install, and refuse what another one has edited meanwhile: nothing was written or sealed yet."""
        try:
            installation.install()
            if any(self.present(name) != data for name, data in before.items()):
                raise ConfigError(EDITED)
        except BaseException as error:
            with _without_signals():
                left = installation.remove()
                files.remove(self._folder / JOURNAL)
            if left:
                raise ConfigError([*_told(error), _stays(left)]) from error
            raise

    def _undo_for(
        self, error: BaseException, journal: Journal, token: bytes | None, installation: Installation | None, *,
        is_taken: bool,
    ) -> None:  # fmt: skip
        """Undo a change for an error; one that cannot be undone now is told with it, as its record stays.

        With `is_taken` the host may have taken the change.
        """
        try:
            left = self._undo(journal, token, installation)
        except (ConfigError, OSError) as failed:
            found = f"and it could not be undone now: {failed}; the next command or start undoes or completes it"
            raise ConfigError([*_told(error), found]) from error
        if is_taken:  # with signals: nothing is half done any more, and this may wait long
            with suppress(NotRunning, RequestRefused, ControlRefused):
                ask(load_config(self._path), "reload", timeout_s=_RELOAD_S, refused=EX_CONFIG)
        if left:
            raise ConfigError([*_told(error), _stays(left)]) from error

    def _undo(self, journal: Journal, token: bytes | None, installation: Installation | None) -> Sequence[str]:
        """Put back the files, and seal the host as it was: also a refused reload has seen the number of the new token.

        What was installed by another step stays, and is sealed without running: no manifest of it is approved.
        Where more differs, the old boot token is put back, and a start says what it is. Returns what stays installed.
        """
        with _without_signals():
            write_journal(self._folder, replace(journal, is_undone=True), self._owner)  # killed, it is gone on with
            write_content(self._folder, journal.before, self._owner, self._private)
            # Before the seal: with it in the boot token, a strict host would not start.
            left = installation.remove() if installation is not None else ()
            config = fitting(load_config(self._path))
            try:
                if config.measure == "strict":
                    _refuse_others(config, self._accepts)
                renew_boot_token(config)
            except ConfigError:
                if token is not None and token_digest(self._token) != hashlib.sha256(token).hexdigest():
                    files.replace(self._token, token, files.token_mode(self._token), owner_of(self._token))
                forget_bytecode(config, sealed_bytecode(config))
            files.remove(self._folder / JOURNAL)
        return left

    def _taken(self, *, is_more: bool) -> Config:
        """Return the configuration as it is now, which `is_more` than before. Raises ConfigError if it cannot be."""
        config = fitting(load_config(self._path))
        _refuse_failed(config, self._failed)
        if config.measure == "strict":
            _refuse_others(config, self._accepts)
        if is_more:
            check_whole(config)
        return config


@contextmanager
def begin(
    config: Config, accepts: Callable[[str], bool] = is_components, *, what: str = "", private: tuple[str, ...] = ()
) -> Generator[Change]:  # fmt: skip
    """Make the folder of drop-ins, and exclude another change of it for the time of a block. Raises ConfigError.

    `accepts` tells of a measured name whether it may differ by the change, and be sealed by it. `what` is changed, for
    people, where it is no component and not the configuration; the files that are `private` hold a key.
    SIGTERM ends the block as Ctrl-C does. What the block runs inherits the lock: it is held until that has ended, too.
    """
    folder = drop_in_folder(config.path)
    with as_config_error("make the folder", folder):
        with suppress(FileExistsError):
            os.mkdir(folder, 0o755)
            os.chown(folder, *owner_of(config.path))
        descriptor = open_folder(folder)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    is_ours = False
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"{_who_works(descriptor)} works in {folder} now: wait for its end") from None
        if not files.is_at(descriptor, folder):
            raise ConfigError("another `component` command has ended just now: try again")
        is_ours = True
        if os.path.lexists(folder / JOURNAL):
            raise ConfigError("another `component` command was interrupted just now: try again")
        os.set_inheritable(descriptor, True)
        clear_left(folder)  # what a command that was ended has left
        sweep(config.path)
        try:
            yield Change(config, accepts, what, private)
        finally:
            if not os.path.lexists(folder / JOURNAL):  # else the next command needs both folders
                sweep(config.path)
    finally:
        signal.signal(signal.SIGTERM, before)
        if is_ours:  # and locked yet: another may begin with it once it is not
            with suppress(OSError):  # it holds something
                os.rmdir(folder)
        os.close(descriptor)


@contextmanager
def _without_signals() -> Generator[None]:
    """Hold back Ctrl-C and SIGTERM for the time of a block."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _told(error: BaseException) -> Sequence[str]:
    return error.problems if isinstance(error, ConfigError) else [str(error) or "interrupted"]


def _stays(left: Sequence[str]) -> str:
    return f"and {', '.join(left)} could not be uninstalled, and may not be whole: remove it with pip, and apply again"


def _who_works(folder: int) -> str:
    """Return who holds the lock of a folder, proc_locks(5)."""
    inode = f":{os.fstat(folder).st_ino}"
    with suppress(OSError, IndexError, ValueError):
        lines = Path("/proc/locks").read_text().splitlines()
        pid = next(int(line.split()[4]) for line in lines if " FLOCK " in line and line.split()[5].endswith(inode))
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
        at = words.index("component") if "component" in words else -1
        named = " ".join(words[at : at + 2]) if at >= 0 else words[words.index("apply")]
        return f"`{printable(named, 40)}`, process {pid},"
    return "another `component` command, or what one that was ended has started,"


def rehearse(config: Config, content: Content, manifests: Mapping[str, bytes]) -> Config:
    """Return the configuration as it would be with the package installed, while it is not. Raises ConfigError.

    `manifests` are those of the components that change, by address.
    """
    files_read = read_files(config.path)
    present = dict(files_read.components)
    present |= {name: data for name, data in content.items() if data is not None}
    by_file = {drop_in_file(config.path, address): manifest for address, manifest in manifests.items()}

    def find(package: str, name: str, asked_by: Path | str, place: Path | None) -> tuple[Path, bytes]:
        if isinstance(asked_by, Path) and asked_by in by_file:
            return Path(package, name), by_file[asked_by]
        return installed_manifest(package, name, asked_by, place)

    made = parse_files(replace(files_read, components=present), config.path, find)
    _refuse_failed(made, {one.name for one in config.failed} - manifests.keys())
    for address in manifests:
        check_fits(made, address)
    return made


def _refuse_failed(config: Config, before: set[str]) -> None:
    """Refuse a configuration in which more components fail than before."""
    problems = [sentence for one in config.failed if one.name not in before for sentence in one.problems]
    if problems:
        raise ConfigError(problems)


def _refuse_others(config: Config, accepts: Callable[[str], bool]) -> None:
    """Refuse a host that differs from its boot token by more than a change brings. Raises ConfigError."""
    found = [name for name in changed_names(config) or () if not accepts(name)]
    if found:
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        raise ConfigError(
            f"the installation has changed {', '.join(found[:3])}{more}, which is not of this change, so nothing was "
            "sealed: look at `tlsrt-supervisor seal --diff`, and put it back"
        )
