"""The files of a configuration that the authority boots with: opened by the supervisor, and never read by it."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager

from tlsrt.config.boot_token import HEAD_BYTES, key_version_of
from tlsrt.config.credentials import instead_of
from tlsrt.config.files import open_regular
from tlsrt.config.key_providers import open_ca_key, open_master_key
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError


class ConfiguredFiles:
    """The `HostFiles` of one configuration."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def open_boot_files(self, token: int) -> list[int]:
        """Open master key and boot token.

        Only the first lines of the boot token are read, which say the version of the key. `token` is the one of this
        life, or -1 for the one on the disk.
        """
        config = self._config
        with _closed_on_error() as opened:
            opened.append(open_regular(config.boot_token, "the boot token") if token < 0 else os.dup(token))
            version = key_version_of(os.pread(opened[0], HEAD_BYTES, 0))
            opened.insert(0, open_master_key(config.master_key, {0, os.geteuid()}, version))
        return opened

    def open_door_files(self) -> list[int]:
        """Open certificate, key, client CA and revocation lists (or nothing) of the door."""
        door = self._config.door
        with _closed_on_error() as opened:
            opened.append(open_regular(door.certificate, "the door's certificate"))
            opened.append(open_regular(instead_of(door.key), "the door's key"))
            opened.append(open_regular(door.client_ca, "the client CA"))
            opened.append(open_regular(door.crl, "the revocation list") if door.crl is not None else _open_nothing())
        return opened

    def open_ca_key(self) -> int:
        """Open the key that clients are enrolled with; nothing if there is none."""
        key = self._config.door.client_ca_key
        return _open_nothing() if key is None else open_ca_key(key, {0, os.geteuid()})


def _open_nothing() -> int:
    return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)


@contextmanager
def _closed_on_error() -> Generator[list[int]]:
    opened: list[int] = []
    try:
        yield opened
    except ConfigError:
        for descriptor in opened:
            os.close(descriptor)
        raise
