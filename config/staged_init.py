"""The steps of an `init` that make it whole or not there, whenever it is ended: the next one completes or repeats it.

    DIR/.init.new     what is being written; of one that was ended nothing is used
    DIR/.init         all of it, on the disk; from then on it is moved to its places, the configuration last

Nothing starts from a folder without its configuration, so nothing uses keys of an `init` that is not done.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from tlsrt.config.files import as_config_error, open_folder, sync_folder
from tlsrt.config.remove_tree import remove_tree
from tlsrt.config.trusted_path import check_trusted, trusted_uids
from tlsrt.errors import ConfigError

CONFIGURATION = "tlsrt.yaml"
NEW, MADE = ".init.new", ".init"


@contextmanager
def folder_of(directory: Path) -> Generator[None]:
    """Give the folder of a host to one `init`; one that is made here goes again after an error. Raises ConfigError."""
    if os.path.lexists(directory) and not directory.is_dir():
        raise ConfigError(f"{directory} exists and is not a folder: choose another place")
    with as_config_error("make the folder", directory.parent):
        directory.parent.mkdir(parents=True, exist_ok=True)
    is_new = False
    with as_config_error("make the folder", directory), suppress(FileExistsError):
        os.mkdir(directory, 0o700)
        is_new = True
    descriptor = -1
    try:
        with as_config_error("open", directory):
            descriptor = open_folder(directory)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"another `init` writes in {directory} now: wait for its end") from None
        yield
    except BaseException:
        if is_new:
            with suppress(OSError):  # the first error is the one to report
                os.rmdir(directory)
        raise
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    if is_new:
        sync_folder(directory.parent)


@contextmanager
def staging(directory: Path) -> Generator[Path]:
    """Give a new folder to write in; what is in it takes its places at the end. Raises ConfigError."""
    folder = directory / NEW
    with as_config_error("write", folder):
        os.mkdir(folder, 0o700)
    try:
        yield folder
        sync_folder(folder)
        with as_config_error("write", directory / MADE):
            os.rename(folder, directory / MADE)
    except BaseException:
        with suppress(OSError):
            remove_tree(folder)
        raise
    sync_folder(directory)
    _move(directory)


def complete(directory: Path) -> bool:
    """Complete what an `init` that was ended has made, or remove what it had begun; tell whether it is completed.

    Raises ConfigError for what another user could have put there, and for a place that is taken.
    """
    for name in (NEW, MADE):
        if os.path.lexists(directory / name):
            check_trusted(directory / name, "what an `init` has left", trusted_uids())
    if os.path.lexists(directory / NEW):
        with as_config_error("remove", directory / NEW):
            remove_tree(directory / NEW)
    if not os.path.lexists(directory / MADE):
        return False
    _move(directory)
    return True


def _move(directory: Path) -> None:
    made = directory / MADE
    with as_config_error("read", made):
        names = sorted(os.listdir(made), key=lambda name: (name == CONFIGURATION, name))
    if taken := next((name for name in names if os.path.lexists(directory / name)), None):
        raise ConfigError(
            f"{directory / taken} is there, and so is what an `init` that was ended has made for its place, {made}: "
            "remove one of both, and run `init` again"
        )
    for name in names:
        if name == CONFIGURATION:
            sync_folder(directory)  # all the others have lasted by then
        with as_config_error("write", directory / name):
            os.rename(made / name, directory / name)
    with as_config_error("remove", made):
        os.rmdir(made)
    sync_folder(directory)
