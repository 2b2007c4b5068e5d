"""`rotate --master` for a host whose keys are handed over by systemd: its user cannot read a new one.

The unit is written for both keys before the new one is in force, and without the old one when the host has started with
the new one. So whatever is killed, the next start finds the key that the boot token names; if it was killed at the last
step, `install` writes the unit anew.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tlsrt.config.key_rotation import remove_older, stage, switch, withdraw
from tlsrt.config.schema import Config
from tlsrt.config.service_user import named_user
from tlsrt.errors import EX_UNAVAILABLE, ConfigError
from tlsrt.supervisor.audit.reader import keep_roots
from tlsrt.supervisor.cli.exchange import RequestRefused, say
from tlsrt.supervisor.cli.seal_record import seal_record_of
from tlsrt.supervisor.cli.service import units
from tlsrt.supervisor.cli.service.install import install, run_here, unit_here


def has_credentials(config: Config) -> bool:
    """Say whether a unit of this machine hands master_key over to the host of this configuration."""
    return bool(_user(config)) and config.master_key.path is not None and "\nLoadCredential" in unit_here()


def rotate_service(config: Config) -> int:
    """Replace master_key and restart the service. Raises ConfigError and RequestRefused."""
    user, token = _user(config), config.boot_token
    if units.SERVICE.exists() and not units.is_unedited(unit_here()):
        raise ConfigError(
            f"{units.SERVICE} was edited, so the new key cannot be handed over by it: move your lines to "
            f"{units.DROP_INS}/*.conf, run `install`, then rotate"
        )
    if units.KEYS_SOCKET.exists():
        raise ConfigError(
            "the TPM has sealed master_key: put your copy of the key back, run `install --credentials files`, rotate, "
            "and run `install --credentials tpm2` again"
        )
    staged = stage(config, seal_record_of(config))
    if not _write_unit(config, user):
        withdraw(config, staged)
        _write_unit(config, user)
        raise RequestRefused(["the unit cannot be written for the new key, so nothing was changed"], EX_UNAVAILABLE)
    keep_roots(config, staged.roots)
    switch(staged, token)
    if not run_here(("systemctl", "try-restart", units.SERVICE.name)):
        say(f"the host did not start with {staged.key}, which is in force: see `journalctl -u {units.NAME}`")
        return EX_UNAVAILABLE
    removed = remove_older(config, staged.version)
    is_written = _write_unit(config, user)
    print(f"master_key version {staged.version} is in force: keep a copy of {staged.key} in a safe place")
    for path in removed:
        print(f"removed {path}: it is not in force any more")
    return 0 if is_written else EX_UNAVAILABLE


def _user(config: Config) -> str:
    return named_user(unit_here(), config.path)


def _write_unit(config: Config, user: str) -> bool:
    """Install again, for the keys that are there now."""
    arguments = argparse.Namespace(
        config=str(config.path), user=user, root=Path("/"), now=False, dry_run=False, credentials=None
    )
    return install(arguments) == 0
