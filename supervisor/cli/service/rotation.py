"""`rotate --master` for a host whose keys are handed over by systemd: its user cannot read a new one.

The unit is written for both keys before the new one is in force, and without the old one when the host has started with
the new one. So whatever is killed, the next start finds the key that the boot token names; if it was killed at the last
step, `install` writes the unit anew.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from contextlib import nullcontext, redirect_stdout
from pathlib import Path

from tlsrt.config.key_rotation import remove_older, stage, switch, withdraw
from tlsrt.config.schema import Config
from tlsrt.config.service_user import named_user
from tlsrt.errors import EX_UNAVAILABLE, ConfigError
from tlsrt.supervisor.audit.reader import keep_roots
from tlsrt.supervisor.cli.exchange import RequestRefused, say
from tlsrt.supervisor.cli.seal_record import seal_record_of
from tlsrt.supervisor.cli.service import units
from tlsrt.supervisor.cli.service.install import run_here, unit_here, write_service
from tlsrt.supervisor.cli.service.started_units import is_active_here
from tlsrt.supervisor.process.instance_lock import is_held


def has_credentials(config: Config) -> bool:
    """Say whether a unit of this machine hands master_key over to the host of this configuration."""
    return bool(_user(config)) and config.master_key.path is not None and "\nLoadCredential" in unit_here()


def rotate_service(config: Config, arguments: argparse.Namespace) -> int:
    """Replace master_key and restart the service. Raises ConfigError and RequestRefused."""
    with redirect_stdout(sys.stderr) if arguments.json else nullcontext():
        version = _rotated(config)
    if version and arguments.json:
        print(json.dumps({"epoch": None, "key_version": version}, indent=2))
    return 0 if version else EX_UNAVAILABLE


def _rotated(config: Config) -> int:
    """Return the new version; 0 if the service is not as it has to be, which was said."""
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
    _check_runs(config)
    staged = stage(config, seal_record_of(config))
    if not _write_unit(config, user):
        withdraw(config, staged)
        _write_unit(config, user)
        raise RequestRefused(["the unit cannot be written for the new key, so nothing was changed"], EX_UNAVAILABLE)
    keep_roots(config, staged.roots)
    switch(staged, token)
    if not run_here(("systemctl", "try-restart", units.SERVICE.name)):
        say(f"the host did not start with {staged.key}, which is in force: see `journalctl -u {units.NAME}`")
        return 0
    removed = remove_older(config, staged.version)
    is_written = _write_unit(config, user)
    print(f"master_key version {staged.version} is in force: keep a copy of {staged.key} in a safe place")
    for path in removed:
        print(f"removed {path}: it is not in force any more")
    return staged.version if is_written else 0


def _check_runs(config: Config) -> None:
    """Refuse beside a host that systemd has not started: nothing would restart it with the new key."""
    if not is_held(config.state_dir / "lock"):
        return
    try:
        is_active = is_active_here(units.SERVICE.name)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RequestRefused([f"systemctl: {error}; nothing was changed"], EX_UNAVAILABLE) from None
    if not is_active:
        raise RequestRefused(
            [
                f"a host runs here that {units.SERVICE.name} has not started, so nothing was changed: stop it with "
                "`tlsrt-supervisor stop`, then rotate"
            ],
            EX_UNAVAILABLE,
        )


def _user(config: Config) -> str:
    return named_user(unit_here(), config.path)


def _write_unit(config: Config, user: str) -> bool:
    """Write the unit again, for the keys that are there now."""
    arguments = argparse.Namespace(
        config=str(config.path), user=user, root=Path("/"), now=False, dry_run=False, credentials=None
    )
    return write_service(arguments)
