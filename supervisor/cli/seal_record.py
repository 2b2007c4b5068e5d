"""What the authority's state file says of seal and keys, for the commands that make the next boot token."""

from __future__ import annotations

import os

from tlsrt.config.files import as_config_error, open_folder
from tlsrt.config.issuer_chain import NO_SEAL_RECORD, SealRecord
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError
from tlsrt.supervisor.audit.files import AuditFolder
from tlsrt.supervisor.authority.boot import known_of
from tlsrt.supervisor.authority.model.state import StateFile


def known_state_of(config: Config) -> int:
    """Return the number of the state that the audit log knows. Raises ConfigError if there is no log, or no word."""
    path = config.state_dir / "authority"
    with as_config_error("open", path):
        folder = open_folder(path)
        try:
            audit = AuditFolder.if_there(folder)
            known = known_of(audit) if audit is not None else None
            if audit is not None:
                audit.close()
        finally:
            os.close(folder)
    if known is None:
        raise ConfigError(f"there is no audit log in {path}, so any state is taken: leave out --accept-older-state")
    return max(1, known.state)


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
