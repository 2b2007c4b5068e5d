"""Sealed archives, as components have them, opened for the commands that read a backup."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Generator
from contextlib import contextmanager
from typing import BinaryIO

from tlsrt.config import key_schedule
from tlsrt.errors import ConfigError
from tlsrt.supervisor.archive.sealed_archive import (
    check_whole_untrusted,
    is_sealed,
    open_sealed_untrusted,
    read_sealed_head_untrusted,
)


@contextmanager
def unsealed(file: BinaryIO, name: str, master_keys: Collection[bytes]) -> Generator[tuple[BinaryIO, bool]]:
    """Give a backup to be read, and whether it was sealed: then one of these master keys has opened it.

    What is open lies in a file without a name, in the folder that $TMPDIR names. Raises ConfigError.
    """
    if not is_sealed(file):
        yield file, False
        return
    head = read_sealed_head_untrusted(file, name)
    if not master_keys:
        check_whole_untrusted(file, name)
        raise ConfigError(
            f"{name} is sealed under the master_key of the host {head.install}, which is not at hand: give its keys "
            "with --keys, or name its configuration with --config"
        )
    install, salt = bytes.fromhex(head.install), bytes.fromhex(head.salt)
    keys = [
        key_schedule.host_archive_key(key_schedule.secret_root(key_schedule.extract(install, key)), salt)
        for key in master_keys
    ]
    with tempfile.TemporaryFile(prefix="tlsrt-backup-") as plain:
        try:
            open_sealed_untrusted(file, name, keys, plain)
        except OSError as error:
            raise ConfigError(
                f"cannot open {name} in {tempfile.gettempdir()}: {error.strerror}; name a folder with room in $TMPDIR"
            ) from None
        yield plain, True
