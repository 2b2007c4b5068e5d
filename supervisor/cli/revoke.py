"""`tlsrt-supervisor revoke`: end sessions, shut components and clients out, or both of everybody."""

from __future__ import annotations

import argparse
import json
import re

from tlsrt.config.schema import Config
from tlsrt.errors import EX_UNAVAILABLE, EX_USAGE
from tlsrt.supervisor.cli.output import say
from tlsrt.supervisor.control.client import ControlClient
from tlsrt.supervisor.control.session_report import failure, revoked_lines
from tlsrt.supervisor.messages.result_codes import LONGEST_MS

_UNITS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_UNWRITTEN = (
    "this works now, but it is not on the disk, so it does not survive a restart; tlsrt tries again until it is, and "
    "`status` says why it cannot"
)


def run(arguments: argparse.Namespace, config: Config) -> int:
    """Revoke, and print who was hit."""
    problem = _problem(arguments)
    if problem:
        say(problem)
        return EX_USAGE
    for_ms = 0 if arguments.duration is None else (parse_duration(arguments.duration) or 0)
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


def parse_duration(text: str) -> int | None:
    """Return ms of "90s", "15m", "2h" or "7d"; None for what is none, or longer than ten years."""
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    milliseconds = int(match[1]) * _UNITS[match[2]] if match else 0
    return milliseconds if 0 < milliseconds <= LONGEST_MS else None


def _problem(arguments: argparse.Namespace) -> str:
    if arguments.all:
        extra = arguments.kind is not None or arguments.duration is not None
        return "revoke --all takes nothing else: it ends every session, and shuts nobody out" if extra else ""
    if arguments.kind is None or arguments.what is None:
        return "say what to revoke: session ID, token ID, component LOOP/NAME, client NAME, loop NAME, or --all"
    if arguments.duration is None:
        return ""
    if arguments.kind in ("session", "token"):
        return f"a {arguments.kind} ends for good: --for is for a component, a client or a loop"
    if parse_duration(arguments.duration) is None:
        return f'"{arguments.duration}" is no time: write 90s, 15m, 2h or 7d'
    return ""
