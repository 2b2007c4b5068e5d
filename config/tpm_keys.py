"""A key file that only this machine's TPM opens, and only while its registers (PCRs) are as they were.

    tlsrt-tpm2-key 1\\n {"pcrs": "sha256:7", "public": HEX, "private": HEX, "nonce": HEX, "data": HEX}

The TPM seals 32 bytes, which seal the key and its name (ChaCha20-Poly1305), as a TPM takes 128 bytes at most. The
commands of tpm2-tools do it, and find the TPM by $TPM2TOOLS_TCTI, else at /dev/tpmrm0. systemd's own sealing is not
used: a systemd that was built without it (Debian 13) says nothing, and encrypts with a constant.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import tempfile
from pathlib import Path

from tlsrt.errors import ConfigError

ENDING = ".tpm2"
PCRS = "sha256:7"  # which keys may sign what boots
MAX_SEALED_BYTES = 64 * 1024
_HEAD = b"tlsrt-tpm2-key 1\n"
_FIELDS = ("public", "private", "nonce", "data")
_PCRS = re.compile(r"sha256:(?:[0-9]|1[0-9]|2[0-3])(?:,(?:[0-9]|1[0-9]|2[0-3])){0,23}")
_DEVICE = "device:/dev/tpmrm0"
_VARIABLE = "TPM2TOOLS_TCTI"
_TOLD_S = 60.0
_OBJECT = ("-a", "fixedtpm|fixedparent|noda")  # no use without the policy, and on no other TPM


def sealed_place(key: Path) -> Path:
    """Return where the sealed form of a key file lies."""
    return key.with_name(key.name + ENDING)


def seal_key(key: bytes, name: str, pcrs: str = PCRS) -> bytes:
    """Return what `open_sealed_key` opens on this machine only. Raises ConfigError."""
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    if not _PCRS.fullmatch(pcrs):
        raise ConfigError(f"{pcrs!r} names no PCRs, as sha256:7 or sha256:7,11 does")
    secret, nonce = secrets.token_bytes(32), secrets.token_bytes(12)
    with _Tools() as tools:
        tools.primary()
        tools.run("pcrread", "-Q", "-o", "pcrs", pcrs)
        tools.run("createpolicy", "-Q", "--policy-pcr", "-l", pcrs, "-f", "pcrs", "-L", "policy")
        words = ("-C", "primary", "-L", "policy", "-i", "-", "-u", "public", "-r", "private")
        tools.run("create", "-Q", *words, *_OBJECT, data=secret)
        public, private = tools.read("public"), tools.read("private")
    data = ChaCha20Poly1305(secret).encrypt(nonce, key, _bound(name, pcrs))
    values = dict(zip(_FIELDS, (public, private, nonce, data), strict=True))
    return (
        _HEAD + json.dumps({"pcrs": pcrs, **{field: value.hex() for field, value in values.items()}}).encode() + b"\n"
    )


def open_sealed_key(sealed: bytes, name: str) -> bytes:
    """Return the key. Raises ConfigError if this TPM does not open it, or it was sealed under another name."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    pcrs, values = _parsed(sealed, name)
    with _Tools() as tools:
        tools.primary()
        for field in ("public", "private"):
            tools.write(field, values[field])
        try:
            tools.run("load", "-Q", "-C", "primary", "-u", "public", "-r", "private", "-c", "key")
        except ConfigError as error:
            raise ConfigError(f"{name} was sealed by another TPM, or was changed: {error}") from None
        try:
            secret = tools.run("unseal", "-c", "key", "-p", f"pcr:{pcrs}")
        except ConfigError as error:
            raise ConfigError(
                f"the TPM does not open {name}: {pcrs} are not as they were when it was sealed, so this machine has "
                f"booted otherwise; find out why, or seal your copy of the key again ({error})"
            ) from None
    try:
        return ChaCha20Poly1305(secret).decrypt(values["nonce"], values["data"], _bound(name, pcrs))
    except (InvalidTag, ValueError):
        raise ConfigError(
            f"{name} was changed, or sealed under another name: seal your copy of the key again"
        ) from None


def _bound(name: str, pcrs: str) -> bytes:
    return b"tlsrt/tpm2-key/v1\0" + f"{name}\0{pcrs}".encode()


def _parsed(sealed: bytes, name: str) -> tuple[str, dict[str, bytes]]:
    try:
        if not sealed.startswith(_HEAD):
            raise ValueError
        tree = json.loads(sealed[len(_HEAD) :])
        values = {field: bytes.fromhex(tree[field]) for field in _FIELDS}
        if not _PCRS.fullmatch(tree["pcrs"]):
            raise ValueError
        return tree["pcrs"], values
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"{name} is no key that `install --credentials tpm2` has sealed") from None


class _Tools:
    """The commands of tpm2-tools in a folder of their own, which holds no secret: `tpm2_create` and its like."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="tlsrt-tpm.")
        self._environment = {**os.environ, _VARIABLE: os.environ.get(_VARIABLE, _DEVICE), "TSS2_LOG": "all+NONE"}

    def __enter__(self) -> _Tools:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._folder.cleanup()

    def primary(self) -> None:
        """Have the TPM derive the key that it seals with: the same each time, until its owner clears it."""
        self.run("createprimary", "-Q", "-C", "o", "-g", "sha256", "-G", "ecc", "-c", "primary")

    def run(self, command: str, *words: str, data: bytes = b"") -> bytes:
        """Run one, and free the slots that it has taken, where no resource manager does. Raises ConfigError."""
        try:
            done = self._run(f"tpm2_{command}", *words, data=data)
            for kind in ("-t", "-l"):
                self._run("tpm2_flushcontext", "-Q", kind)
        except FileNotFoundError:
            raise ConfigError(
                "there is no tpm2_create here: install tpm2-tools (Debian: and libtss2-tcti-device0)"
            ) from None
        except subprocess.TimeoutExpired:
            raise ConfigError(f"the TPM did not answer within {_TOLD_S:g} s") from None
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["it says nothing"]
            raise ConfigError(f"tpm2_{command} failed: {said[-1][:200]}")
        return done.stdout

    def _run(self, *words: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*words], input=data, capture_output=True, timeout=_TOLD_S, cwd=self._folder.name, env=self._environment,
            check=False,
        )  # fmt: skip

    def read(self, name: str) -> bytes:
        return Path(self._folder.name, name).read_bytes()

    def write(self, name: str, data: bytes) -> None:
        Path(self._folder.name, name).write_bytes(data)
