"""Changes of a host's drop-ins as a transaction: written, sealed and taken by the running host, or as before."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tlsrt.command_line.table import Document
from tlsrt.config import files
from tlsrt.config.drop_ins import drop_in_file, drop_in_files, drop_in_folder, installed_manifest
from tlsrt.config.files import as_config_error, open_folder, owner_of, read_bounded, sync_folder
from tlsrt.config.load import load_config, parse_config, read_config
from tlsrt.config.manifest import MANIFEST_MAX
from tlsrt.config.schema import Config
from tlsrt.errors import EX_CONFIG, ConfigError
from tlsrt.sandbox.profile.profile_files import ProfileFiles
from tlsrt.sandbox.profile.requested import check_requests
from tlsrt.supervisor.cli.exchange import RequestRefused, ask
from tlsrt.supervisor.cli.setup import check_whole, renew_boot_token
from tlsrt.supervisor.control.client import NotRunning
from tlsrt.supervisor.launch.fitting import fitting

Content = Mapping[str, bytes | None]  # name of a file in the folder of drop-ins -> what it shall hold; None: no file
_RELOAD_S = 3600.0  # the supervisor answers in time; this is for one that does not


def change_drop_ins(config: Config, content: Content, address: str) -> Document | None:
    """Write these files, seal the host, and let it take them if it runs; return the answer of its reload.

    Where any of it is refused, all is as before. Raises ConfigError, and RequestRefused for a refused reload.
    """
    folder = drop_in_folder(config.path)
    with _alone(folder, config):
        before = {name: _present(folder / name) for name in content}
        try:
            _write(folder, content, config)
            taken = _taken(config.path, address, content)
            renew_boot_token(taken)
        except BaseException:
            _write(folder, before, config)
            raise
        try:
            return ask(taken, "reload", timeout_s=_RELOAD_S, refused=EX_CONFIG)
        except NotRunning:
            return None
        except RequestRefused:
            _write(folder, before, config)
            renew_boot_token(load_config(config.path))
            raise


def rehearse(config: Config, content: Content, address: str, manifest: bytes) -> None:
    """Refuse what would be refused once the package is installed, while it is not. Raises ConfigError."""
    present = dict(drop_in_files(config.path))
    present |= {name: data for name, data in content.items() if data is not None}

    def find(package: str, name: str, asked_by: Path | str) -> tuple[Path, bytes]:
        if asked_by == drop_in_file(config.path, address):
            return Path(package, name), manifest
        return installed_manifest(package, name, asked_by)

    made = parse_config(read_config(config.path), config.path, present, find)
    _refuse_failed(made, address)
    component = next(one for one in made.components if one.address == address)
    check_requests(made, made.loop(component.process), ProfileFiles(), ())


def _refuse_failed(config: Config, address: str) -> None:
    problems = next((one.problems for one in config.failed if one.name == address), ())
    if problems:
        raise ConfigError(problems)


def _taken(path: Path, address: str, content: Content) -> Config:
    """Return the configuration with these files. Raises ConfigError for what this component cannot have."""
    config = fitting(load_config(path))
    _refuse_failed(config, address)
    if any(data is not None for data in content.values()):
        check_whole(config)
    return config


def _present(path: Path) -> bytes | None:
    return read_bounded(path, MANIFEST_MAX, "the file") if os.path.lexists(path) else None


def _write(folder: Path, content: Content, config: Config) -> None:
    owner = owner_of(config.path)
    for name, data in content.items():
        path = folder / name
        if data is None:
            with as_config_error("remove", path), suppress(FileNotFoundError):
                os.unlink(path)
        else:
            files.replace(path, data, 0o644, owner)
    sync_folder(folder)


@contextmanager
def _alone(folder: Path, config: Config) -> Generator[None]:
    """Make the folder, and exclude another change of it for the time of a block. Raises ConfigError if one runs."""
    with as_config_error("make the folder", folder):
        with suppress(FileExistsError):
            os.mkdir(folder, 0o755)
            os.chown(folder, *owner_of(config.path))
        descriptor = open_folder(folder)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise ConfigError(f"another `component` command works in {folder} now: wait for its end") from None
    finally:
        os.close(descriptor)
