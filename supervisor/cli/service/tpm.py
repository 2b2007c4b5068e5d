"""`install --credentials tpm2`: master_key sealed by the TPM, and the service that opens it for systemd.

systemd connects to a socket for a credential, and says in its own address which one it wants, systemd.exec(5). So a key
is opened as root, by a process of its own, for systemd alone, and the host's user never sees what it is sealed with.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tlsrt.config.files import read_bounded, replace
from tlsrt.config.key_providers import MAX_KEY_BYTES, key_paths
from tlsrt.config.tpm_keys import MAX_SEALED_BYTES, PCRS, open_sealed_key, seal_key, sealed_place
from tlsrt.errors import EX_NOPERM, ConfigError
from tlsrt.supervisor.cli.exchange import RequestRefused, config_of
from tlsrt.supervisor.cli.service import units

if TYPE_CHECKING:
    from tlsrt.config.schema import Config

TPM2, PLAIN = "tpm2", "files"
_ASKING = re.compile(rb"\0[^/]*/unit/([^/]+)/([^/]+)")


def sealed_names(config: Config, arguments: argparse.Namespace) -> tuple[str, ...]:
    """Return the names of credentials that the TPM seals: as it was asked for, else as it is installed."""
    asked, path = getattr(arguments, "credentials", None), config.master_key.path
    if path is None:
        if asked == TPM2:
            raise ConfigError("master_key is a credential already: have your unit load it as you want it sealed")
        return ()
    if asked == TPM2 and arguments.user == units.ROOT:
        raise ConfigError("root reads its keys itself, and none is sealed for it: the TPM seals for `--user NAME`")
    if asked is None:
        asked = TPM2 if os.path.lexists(units.KEYS_SOCKET) else PLAIN
    is_sealed = asked == TPM2 and arguments.user != units.ROOT
    return tuple(path.name for path in key_paths(config.master_key)) if is_sealed else ()


def seal_keys(credentials: Iterable[tuple[str, Path]], names: Iterable[str], pcrs: str | None) -> list[str]:
    """Seal the key files of these names, which stay until the operator moves them. Raises ConfigError."""
    lines: list[str] = []
    for name, path in credentials:
        if name not in names:
            continue
        if not os.path.lexists(path):
            raise ConfigError(
                f"there is no {path} to seal: put your copy of the key there, and move it away afterwards"
            )
        key = read_bounded(path, MAX_KEY_BYTES, "the key", follow=False)
        sealed = seal_key(key, name, pcrs or PCRS)
        if open_sealed_key(sealed, name) != key:
            raise ConfigError(f"the TPM does not give back what it has sealed of {path}: nothing was changed")
        replace(sealed_place(path), sealed, 0o600)
        lines.append(
            f"sealed {path} by the TPM ({pcrs or PCRS}): move the file to a safe place elsewhere once the host runs"
        )
    return lines


def unseal_key(arguments: argparse.Namespace) -> int:
    """Write the key that systemd asks for into the connection that is standard input. Raises ConfigError."""
    config = config_of(arguments, writes=True)
    try:
        with socket.socket(fileno=os.dup(0)) as connection:
            found = _ASKING.fullmatch(_bytes(connection.getpeername()))
            uid = _uid_of(connection)
            wanted = found[2].decode("utf-8", "replace") if found is not None else ""
            path = next((one for one in key_paths(config.master_key) if one.name == wanted), None)
            if uid != 0 or path is None:
                raise RequestRefused(["this is asked by systemd alone, for a key that it hands to the host"], EX_NOPERM)
            sealed = read_bounded(sealed_place(path), MAX_SEALED_BYTES, "the sealed key", follow=False)
            connection.sendall(open_sealed_key(sealed, path.name))
    except OSError as error:
        raise ConfigError(f"standard input is no connection of systemd: {error.strerror}") from None
    return 0


def _bytes(address: object) -> bytes:
    return address if isinstance(address, bytes) else str(address).encode()


def _uid_of(connection: socket.socket) -> int:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int.from_bytes(credentials[4:8], "little")
