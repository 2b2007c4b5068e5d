"""`tlsrt-supervisor revoke`: end sessions, shut components and clients out, or both of everybody."""

from __future__ import annotations

import argparse
import json

from tlsrt.config.schema import Config
from tlsrt.errors import EX_UNAVAILABLE, EX_USAGE
from tlsrt.supervisor.cli.output import say
from tlsrt.supervisor.control.client import ControlClient
from tlsrt.supervisor.control.session_report import failure, revoked_lines
from tlsrt.supervisor.messages.result_codes import LONGEST_MS
from tlsrt.text import parse_duration

_UNWRITTEN = (
    "this works now, but it is not on the disk, so it does not survive a restart; tlsrt tries again until it is, and "
    "`status` says why it cannot"
)


def run(arguments: argparse.Namespace, config: Config) -> int:
    """Revoke, and print who was hit."""
    try:
        for_ms = 0 if arguments.duration is None else milliseconds(arguments.duration)
    except ValueError as error:
        say(str(error))
        return EX_USAGE
    if problem := _problem(arguments):
        say(problem)
        return EX_USAGE
    what = "" if arguments.all else arguments.what
    if arguments.kind in ("session", "token"):
        what = what.lower()
    with ControlClient(config.run_dir) as client:
        answer = client.ask("revoke", kind="all" if arguments.all else arguments.kind, what=what, for_ms=for_ms)
    if code := failure(answer):
        return code
    print(json.dumps(answer, indent=2) if arguments.json else "\n".join(revoked_lines(answer)))
    if not answer["stored"]:
        say(_UNWRITTEN)
        return EX_UNAVAILABLE
    return 0


def milliseconds(text: str) -> int:
    """Return a duration such as 90s in milliseconds; raise ValueError, with its sentence, for others."""
    return round(parse_duration(text, most_s=LONGEST_MS / 1000) * 1000)


def _problem(arguments: argparse.Namespace) -> str:
    if arguments.all:
        extra = arguments.kind is not None or arguments.duration is not None
        return "revoke --all takes nothing else: it ends every session, and shuts nobody out" if extra else ""
    if arguments.kind is None or arguments.what is None:
        return "say what to revoke: session ID, token ID, component LOOP/NAME, client NAME, loop NAME, or --all"
    if arguments.duration is not None and arguments.kind in ("session", "token"):
        return f"a {arguments.kind} ends for good: --for is for a component, a client or a loop"
    return ""
