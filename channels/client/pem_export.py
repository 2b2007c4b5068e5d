"""A client's certificate, key and CA as files, for curl, browsers and whatever else speaks TLS and reads no bundle."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path
from typing import NamedTuple

from tlsrt.config.bundle import Bundle
from tlsrt.config.files import as_config_error, sync_folder, write_new
from tlsrt.errors import ConfigError

CA, CERTIFICATE, KEY, BROWSER = "ca.pem", "certificate.pem", "key.pem", "client.p12"
_PATH = "/v1/openapi.json"  # there for every client that may use HTTP, whatever its rights


class PemFiles(NamedTuple):
    """Where they are: absolute paths."""

    ca: Path
    certificate: Path
    key: Path


def export_pem(bundle: Bundle, folder: Path, password: str = "") -> PemFiles:
    """Write the three files into a new folder (0700; the key 0600): all of them, or nothing. Raises ConfigError.

    With a password, key and certificate are in a fourth file, too, encrypted under it, as browsers take them (0600).

    They are written into a folder beside it that then gets the name (rename(2)), so that half of them are never found.
    """
    folder = Path(os.path.abspath(folder))
    if os.path.lexists(folder):
        raise ConfigError(f"there is something at {folder} already: name a folder that does not exist yet")
    browser = _pkcs12(bundle, password) if password else b""
    beside = folder.with_name(f".{folder.name}.{os.getpid()}-{os.urandom(4).hex()}.new")
    with as_config_error("make", folder):
        os.mkdir(beside, 0o700)
    try:
        write_new(beside / KEY, bundle.key_pem, 0o600)
        write_new(beside / CERTIFICATE, bundle.certificate_pem, 0o644)
        write_new(beside / CA, bundle.ca_pem, 0o644)
        if browser:
            write_new(beside / BROWSER, browser, 0o600)
        sync_folder(beside)
        with as_config_error("make", folder):
            os.rename(beside, folder)  # fails if another process was quicker, unless its folder is empty
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    sync_folder(folder.parent)
    return PemFiles(folder / CA, folder / CERTIFICATE, folder / KEY)


def _pkcs12(bundle: Bundle, password: str) -> bytes:
    """Return key and certificates as PKCS #12 (RFC 7292), encrypted by AES-256 (PBES2), in the client's name.

    The CA is not in it: an import of this file is not to become trust in the host.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, load_pem_private_key, pkcs12

    key = load_pem_private_key(bundle.key_pem, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError("browsers take no key of this kind: enroll this client anew, for a key of ECDSA P-256")
    certificate, *chain = x509.load_pem_x509_certificates(bundle.certificate_pem)
    name = bundle.name.encode()
    return pkcs12.serialize_key_and_certificates(
        name, key, certificate, chain or None, BestAvailableEncryption(password.encode())
    )


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
