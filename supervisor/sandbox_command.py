"""`tlsrt-supervisor sandbox ...`: one function `run_VERB` for each verb below it, `(arguments, path) -> exit code`.

They need neither a running supervisor nor root: a profile follows from the configuration and the user who asks.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tlsrt.config.check import nearest
from tlsrt.config.load import load_config
from tlsrt.config.packages import code_roots
from tlsrt.config.schema import Config
from tlsrt.errors import EX_USAGE
from tlsrt.sandbox.profile import Profile, profile_for_authority, profile_for_loop
from tlsrt.supervisor.cli import say
from tlsrt.supervisor.identity import AUTHORITY, own_identity


def run_show(arguments: argparse.Namespace, path: Path) -> int:
    """Print the effective profile of one process."""
    config = load_config(path)
    if (wrong := unknown_process(config, arguments.process)) is not None:
        return wrong
    profile = profile_of(config, arguments.process)
    print(f"{profile.name}: profile {profile.digest().hex()}")
    return 0


def unknown_process(config: Config, process: str) -> int | None:
    """Say that there is no such process, and return the exit code; None if there is one."""
    known = [*(loop.name for loop in config.loops), AUTHORITY]
    if process in known:
        return None
    say(f"there is no loop {process}{nearest(process, known) or ': the processes are ' + ', '.join(known)}")
    return EX_USAGE


def profile_of(config: Config, process: str) -> Profile:
    """Return the profile of a loop or of the authority, as it would be if we started it. Raises ConfigError."""
    identity = own_identity(config)
    code = code_roots(config)
    if process == AUTHORITY:
        return profile_for_authority(config, identity.uid(AUTHORITY), rootless=identity.rootless, code=code)
    loop = config.loop(process)
    return profile_for_loop(config, loop, identity.uid(process), rootless=identity.rootless, code=code)
