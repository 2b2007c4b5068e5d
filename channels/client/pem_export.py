"""A client's certificate, key and CA as PEM files, for curl and whatever else speaks TLS and reads no bundle."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path
from typing import NamedTuple

from tlsrt.config.bundle import Bundle
from tlsrt.config.files import as_config_error, sync_folder, write_new
from tlsrt.errors import ConfigError

CA, CERTIFICATE, KEY = "ca.pem", "certificate.pem", "key.pem"
_PATH = "/v1/openapi.json"  # there for every client that may use HTTP, whatever its rights


class PemFiles(NamedTuple):
    """Where they are: absolute paths."""

    ca: Path
    certificate: Path
    key: Path


def export_pem(bundle: Bundle, folder: Path) -> PemFiles:
    """Write the three files into a new folder (0700; the key 0600): all of them, or nothing. Raises ConfigError.

    They are written into a folder beside it that then gets the name (rename(2)), so that half of them are never found.
    """
    folder = Path(os.path.abspath(folder))
    if os.path.lexists(folder):
        raise ConfigError(f"there is something at {folder} already: name a folder that does not exist yet")
    beside = folder.with_name(f".{folder.name}.{os.getpid()}-{os.urandom(4).hex()}.new")
    with as_config_error("make", folder):
        os.mkdir(beside, 0o700)
    try:
        write_new(beside / KEY, bundle.key_pem, 0o600)
        write_new(beside / CERTIFICATE, bundle.certificate_pem, 0o644)
        write_new(beside / CA, bundle.ca_pem, 0o644)
        sync_folder(beside)
        with as_config_error("make", folder):
            os.rename(beside, folder)  # fails if another process was quicker, unless its folder is empty
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    sync_folder(folder.parent)
    return PemFiles(folder / CA, folder / CERTIFICATE, folder / KEY)


def curl_line(files: PemFiles, bundle: Bundle, host: str, port: int) -> str:
    """Return the command that asks a host by curl what this client may call, as a shell reads it.

    Whom the host's certificate names is what the URL says; where it is, if that is somewhere else, `--connect-to`.
    """
    words = ["curl", "--cacert", str(files.ca), "--cert", str(files.certificate), "--key", str(files.key)]
    if host != bundle.server_name:
        words += ["--connect-to", f"::{_bracketed(host)}:{port}"]
    return shlex.join([*words, f"https://{_bracketed(bundle.server_name)}:{port}{_PATH}"])


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
