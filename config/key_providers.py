"""Where master_key comes from, and what is refused as one.

The supervisor opens the key and never reads it; the authority reads the descriptor with pread, since its offset is
shared with the next authority.
"""

from __future__ import annotations

import errno
import hmac
import os
import stat
from collections.abc import Callable
from pathlib import Path

from tlsrt.config.credentials import VARIABLE, instead_of, is_granted
from tlsrt.config.files import open_regular
from tlsrt.config.issuer_chain import VERSION_MAX
from tlsrt.config.schema import KeySource
from tlsrt.config.tpm_keys import ENDING, MAX_SEALED_BYTES, open_sealed_key, sealed_place
from tlsrt.errors import ConfigError

CA_KEY = "the client CA's key"
_CA_KEY_LOST = "put your copy back, or make another CA: `tlsrt-supervisor certificate replace-ca`"
MIN_KEY_BYTES = 32
MAX_KEY_BYTES = 4096
MIN_DISTINCT_BYTES = 8  # 32 random bytes have fewer with a chance below 2**-120


def open_master_key(source: KeySource, allowed_uids: set[int], version: int = 1) -> int:
    """Return a read-only descriptor of the key, after checks by fstat(2); reads no byte.

    `version` is the one that the boot token names. Raises ConfigError with one sentence when it is missing, not a
    regular file, a link, owned by a uid that is not in `allowed_uids`, or open to group or others.
    """
    path = key_path(source, version)
    path = instead_of(path) if source.provider == "file" else path
    descriptor = _open(path)
    try:
        _check(descriptor, path, allowed_uids)
        os.set_blocking(descriptor, True)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read_for_command(source: KeySource, version: int = 1) -> bytes:
    """Return the key for a command: from its file, else as the TPM has sealed it, which root may ask.

    A host that runs never comes here: its supervisor reads no key. Raises ConfigError.
    """
    path = key_path(source, version) if source.provider == "file" else None
    if path is not None and not os.path.lexists(instead_of(path)) and os.path.lexists(sealed_place(path)):
        return _unsealed(path)
    descriptor = open_master_key(source, {0, os.geteuid()}, version)
    try:
        return read_master_key(descriptor)
    finally:
        os.close(descriptor)


def open_ca_key(path: Path, allowed_uids: set[int]) -> int:
    """Return a read-only descriptor of the client CA's key, with the same checks; reads no byte."""
    path = instead_of(path)
    if not os.path.lexists(path):
        raise ConfigError(f"{CA_KEY} is not at {path}: {_CA_KEY_LOST}")
    descriptor = open_regular(path, CA_KEY, follow=False)
    try:
        status = os.fstat(descriptor)
        is_credential = path.parent == Path(os.environ.get(VARIABLE, "")) and is_granted(descriptor, status)
        mode = 0 if is_credential else stat.S_IMODE(status.st_mode)
        if status.st_uid not in allowed_uids and not is_credential:
            who = " or ".join(map(str, sorted(allowed_uids)))
            raise ConfigError(f"{CA_KEY} {path} belongs to uid {status.st_uid}, not to uid {who}: chown it")
        if mode & 0o077:
            raise ConfigError(f"{CA_KEY} {path} has mode {mode:04o}, open to group or others: chmod 0600 it")
        if status.st_size == 0:
            raise ConfigError(f"{CA_KEY} {path} is empty: {_CA_KEY_LOST}")
        os.set_blocking(descriptor, True)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read_master_key(descriptor: int) -> bytes:
    """Return the raw bytes of the key, 32 to 4096. Raises ConfigError."""
    try:
        key = os.pread(descriptor, MAX_KEY_BYTES + 1, 0)
    except OSError as error:
        raise ConfigError(f"cannot read master_key: {error.strerror}") from None
    _check_length(len(key))
    return key


def check_master_key(key: bytes | memoryview, boot_token: bytes) -> None:
    """Refuse a key that is no secret; `boot_token` is the content of that file. Raises ConfigError."""
    _check_length(len(key))
    distinct = len(set(key))
    if distinct == 1:
        raise ConfigError("master_key is one byte repeated: replace it by 32 random bytes")
    if distinct < MIN_DISTINCT_BYTES:
        raise ConfigError(f"master_key has only {distinct} different bytes: replace it by 32 random bytes")
    if any(hmac.compare_digest(key, known) for known in _boot_token_forms(boot_token)):
        raise ConfigError("master_key is the boot token, which is no secret: replace it by 32 random bytes")


def key_path(source: KeySource, version: int) -> Path:
    """Return where a version of the key lies: `master.key`, after a rotation `master.key.2`. Raises ConfigError."""
    if source.provider == "file":
        assert source.path is not None
        return source.path if version == 1 else source.path.with_name(f"{source.path.name}.{version}")
    name = source.name or ""
    if version != 1:
        raise ConfigError(
            f"the boot token belongs to master_key version {version}, and the credential {name} has no versions: "
            "run `tlsrt-supervisor seal` if you replaced the key on purpose"
        )
    if not name or "/" in name or "\0" in name or name in (".", ".."):
        raise ConfigError(f"master_key names the credential {name!r}, which is no credential name")
    folder = os.environ.get(VARIABLE, "")
    if not folder.startswith("/"):
        raise ConfigError(
            "there is no master_key, so nothing starts: $CREDENTIALS_DIRECTORY is not set, "
            f"start under systemd with LoadCredential={name}:FILE"
        )
    return Path(folder, name)


def key_paths(source: KeySource) -> list[Path]:
    """Return where versions of the key may lie: its first place, and all that are there. Nothing for a credential."""
    if source.path is None:
        return []
    return [source.path, *(key_path(source, version) for version in _later_versions(source.path))]


def newest_version(source: KeySource) -> int:
    """Return the highest version of which there is a file: for a host that knows none. 1 for a credential."""
    return max(_later_versions(source.path), default=1) if source.path is not None else 1


def _later_versions(path: Path) -> list[int]:
    prefix = path.name + "."
    try:
        names = {name.removesuffix(ENDING) for name in os.listdir(path.parent)}
    except OSError:
        return []
    endings = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
    numbers = [int(end) for end in endings if end.isascii() and end.isdigit() and len(end) <= len(str(VERSION_MAX))]
    return sorted({number for number in numbers if 1 < number <= VERSION_MAX and f"{prefix}{number}" in names})


def _unsealed(path: Path) -> bytes:
    sealed = open_regular(sealed_place(path), "the sealed master_key", follow=False)
    with open(sealed, "rb") as file:
        if os.fstat(sealed).st_uid != 0:
            raise ConfigError(f"{sealed_place(path)} does not belong to root: chown it")
        key = open_sealed_key(file.read(MAX_SEALED_BYTES), path.name)
    _check_length(len(key))
    return key


def _open(path: Path) -> int:
    # O_NONBLOCK: a fifo must not hang the start; it is refused after fstat
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        raise ConfigError(
            f"there is no master_key at {path}, so nothing starts: restore the file from your backup"
        ) from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ConfigError(f"master_key {path} is a symbolic link: name the file itself") from None
        raise ConfigError(f"cannot open master_key {path}: {error.strerror}") from None


def _check(descriptor: int, path: Path, allowed_uids: set[int]) -> None:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"master_key {path} is not a regular file")
    is_credential = path.parent == Path(os.environ.get(VARIABLE, "")) and is_granted(descriptor, status)
    if status.st_uid not in allowed_uids and not is_credential:
        who = " or ".join(map(str, sorted(allowed_uids)))
        raise ConfigError(f"master_key {path} belongs to uid {status.st_uid}, not to uid {who}: chown it")
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077 and not is_credential:
        raise ConfigError(f"master_key {path} has mode {mode:04o}, open to group or others: chmod 0600 it")


def _check_length(length: int) -> None:
    if length < MIN_KEY_BYTES:
        raise ConfigError(f"master_key has {length} bytes, fewer than {MIN_KEY_BYTES}: replace it by 32 random bytes")
    if length > MAX_KEY_BYTES:
        raise ConfigError(f"master_key has more than {MAX_KEY_BYTES} bytes: replace it by 32 random bytes")


def _boot_token_forms(boot_token: bytes) -> list[bytes]:
    """The token's content and its MAC, in the shapes that someone might copy into a key file."""
    forms = [boot_token, boot_token.strip()]
    for line in boot_token.split(b"\n")[:8]:
        if line.startswith(b"mac "):
            digits = line[4:].strip()
            cases: tuple[Callable[[bytes], bytes], ...] = (bytes.lower, bytes.upper)
            forms += [case(digits) + end for case in cases for end in (b"", b"\n", b"\r\n")] + [line, line + b"\n"]
            try:
                forms.append(bytes.fromhex(digits.decode("ascii")))
            except ValueError:
                pass
    return forms
