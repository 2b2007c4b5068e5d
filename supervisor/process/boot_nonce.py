"""The boot nonce: made once per life of the supervisor, and kept where no fork inherits its bytes.

Session keys of a life derive from master_key and this nonce, so recorded traffic stays shut when master_key leaks
later. The supervisor holds a sealed memory file that its children do not keep and that is mapped nowhere; the bytes
that it was made from are wiped. Only the authority reads it, by pread(2).
"""

from __future__ import annotations

import os
import secrets

from tlsrt.config.key_schedule import boot_id
from tlsrt.errors import ConfigError
from tlsrt.supervisor.process.memfd import sealed_memory
from tlsrt.supervisor.process.secret_memory import wipe

NONCE_BYTES = 32
NAME = "boot-nonce"


def new_boot_nonce() -> tuple[int, bytes]:
    """Return the descriptor of a new nonce, and its boot id. Raises OSError."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    try:
        return sealed_memory(nonce, NAME), boot_id(nonce)
    finally:
        wipe(nonce)


def read_boot_nonce(descriptor: int) -> bytes:
    """Return the nonce, in the authority; the descriptor is closed. Raises ConfigError."""
    try:
        nonce = os.pread(descriptor, NONCE_BYTES + 1, 0)
    except OSError as error:
        raise ConfigError(f"cannot read the boot nonce: {error.strerror}: start again") from None
    finally:
        os.close(descriptor)
    if len(nonce) != NONCE_BYTES:
        raise ConfigError(f"the boot nonce has {len(nonce)} bytes instead of {NONCE_BYTES}: start with our launcher")
    return nonce
