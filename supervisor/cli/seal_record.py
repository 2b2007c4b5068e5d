"""What the authority's state file says of seal and keys, for the commands that make the next boot token."""

from __future__ import annotations

import os

from tlsrt.config.files import open_folder
from tlsrt.config.issuer_chain import NO_SEAL_RECORD, SealRecord
from tlsrt.config.schema import Config
from tlsrt.supervisor.authority.model.state import StateFile


def seal_record_of(config: Config) -> SealRecord:
    """Return what the authority's state says of seal and keys: nothing if there is none or we may not read it."""
    try:
        folder = open_folder(config.state_dir / "authority")
    except OSError:
        return NO_SEAL_RECORD
    try:
        state = StateFile(folder).load()
    finally:
        os.close(folder)
    return SealRecord(state.seal, state.key_version, state.succession)
