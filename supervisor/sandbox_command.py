"""`tlsrt-supervisor sandbox ...`: one function `run_VERB` for each verb below it, `(arguments, path) -> exit code`.

They need neither a running supervisor nor root: a profile follows from the configuration and the user who asks.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from tlsrt.config.check import nearest
from tlsrt.config.load import load_config
from tlsrt.config.packages import code_roots
from tlsrt.config.schema import Config
from tlsrt.errors import EX_USAGE
from tlsrt.sandbox.effective import Effective, document, effective
from tlsrt.sandbox.explain import explain, is_allowed
from tlsrt.sandbox.profile import profile_for_authority, profile_for_loop
from tlsrt.supervisor.cli import say
from tlsrt.supervisor.identity import AUTHORITY, own_identity
from tlsrt.supervisor.sandbox_table import findings_text, profile_text


def run_show(arguments: argparse.Namespace, path: Path) -> int:
    """Print the effective profile of one process."""
    config = load_config(path)
    if (wrong := unknown_process(config, arguments.process)) is not None:
        return wrong
    shown = document(effective_of(config, arguments.process))
    print(json.dumps(shown, indent=2) if arguments.json else profile_text(shown))
    return 0


def run_explain(arguments: argparse.Namespace, path: Path) -> int:
    """Print whether a process may do something, and why: 0 if it may once it works, 1 if not, 64 for no question."""
    config = load_config(path)
    if (wrong := unknown_process(config, arguments.process)) is not None:
        return wrong
    what = " ".join(arguments.what)
    try:
        findings = explain(effective_of(config, arguments.process), arguments.what)
    except ValueError as error:
        say(str(error))
        return EX_USAGE
    allowed = is_allowed(findings)
    if arguments.json:
        answers = [asdict(finding) for finding in findings]
        print(
            json.dumps({"process": arguments.process, "what": what, "allowed": allowed, "answers": answers}, indent=2)
        )
    else:
        print(findings_text(arguments.process, what, findings))
    return 0 if allowed else 1


def unknown_process(config: Config, process: str) -> int | None:
    """Say that there is no such process, and return the exit code; None if there is one."""
    known = [*(loop.name for loop in config.loops), AUTHORITY]
    if process in known:
        return None
    say(f"there is no loop {process}{nearest(process, known) or ': the processes are ' + ', '.join(known)}")
    return EX_USAGE


def effective_of(config: Config, process: str) -> Effective:
    """Return a loop or the authority as it would be confined if we started it. Raises ConfigError, SandboxError."""
    identity = own_identity(config)
    code = code_roots(config)
    uid = identity.uid(process)
    if process == AUTHORITY:
        profile = profile_for_authority(config, uid, rootless=identity.rootless, code=code)
    else:
        profile = profile_for_loop(config, config.loop(process), uid, rootless=identity.rootless, code=code)
    return effective(config, profile, code)
