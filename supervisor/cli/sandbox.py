"""`tlsrt-supervisor sandbox ...`: one function `run_VERB` for each verb below it, `(arguments, path) -> exit code`.

They need neither a running supervisor nor root: a profile follows from the configuration and the user who asks.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict
from pathlib import Path

from tlsrt.config.load import load_config
from tlsrt.config.packages import code_roots
from tlsrt.config.schema import Config
from tlsrt.config.search_path import find_config
from tlsrt.config.validation import nearest
from tlsrt.errors import EX_UNAVAILABLE, EX_USAGE, ConfigError
from tlsrt.sandbox.profile.profile import profile_for_authority, profile_for_loop
from tlsrt.sandbox.report.effective import Effective, document, effective
from tlsrt.sandbox.report.explain import explain, is_allowed
from tlsrt.supervisor.cli.main import folded
from tlsrt.supervisor.cli.output import say
from tlsrt.supervisor.cli.sandbox_text import findings_text, profile_text
from tlsrt.supervisor.process.uids import AUTHORITY, own_identity

CHECK_PROGRAM = (
    "from tlsrt.supervisor.launch.launcher import inner; from tlsrt.supervisor.cli.sandbox import inside_check; "
    "inner(inside_check)"
)


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


def run_check(arguments: argparse.Namespace, path: str | None) -> int:
    """Try every layer where the supervisor would run: the launcher brings us there, and `inside_check` answers."""
    from tlsrt.supervisor.launch.launcher import launch

    try:
        found = ["--config", os.path.abspath(find_config(path))]
    except ConfigError:  # none is needed
        found = []
    return launch([*found, *(["--json"] if arguments.json else [])], program=CHECK_PROGRAM)


def inside_check(arguments: list[str]) -> int:
    """In the launcher's namespaces: check, print, and return 0 if nothing is missing, else 69."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--death-pipe", type=int)
    parser.add_argument("--no-pid-namespace")
    parser.add_argument("--config", type=Path)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)

    def run() -> int:
        from tlsrt.supervisor.launch.host_check import check_host, report

        config = load_config(asked.config) if asked.config is not None else None
        found = check_host(config, asked.no_pid_namespace)
        print(json.dumps(found.document(), indent=2) if asked.json else "\n".join(report(found)))
        return EX_UNAVAILABLE if found.missing else 0

    return folded(run)


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
