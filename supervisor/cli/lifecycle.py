"""`tlsrt-supervisor reload`, `restart` and `stop`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from tlsrt.command_line.table import Document
from tlsrt.config.programs import end_s_of
from tlsrt.config.schema import Config
from tlsrt.errors import EX_SOFTWARE
from tlsrt.supervisor.cli.exchange import connect, host_of, say
from tlsrt.supervisor.reload.report import lines as reload_lines

__all__ = ["failed", "reload_lines", "restart_lines", "stop"]

_LONGEST_S = 120.0  # for a host whose configuration does not load any more


def failed(answer: Document) -> list[str] | None:
    """The lines say already which loop has failed."""
    return [] if answer["failed"] else None


def restart_lines(answer: Document) -> list[str]:
    return [_line(loop) for loop in answer["loops"]]


def _line(loop: Mapping[str, Any]) -> str:
    if loop["took_ms"] is not None:
        return f"{loop['name']}  active  pid {loop['pid']}  in {loop['took_ms']} ms"
    return f"{loop['name']}  {loop['state']}  {loop['reason']}"


def stop(arguments: argparse.Namespace) -> int:
    """Stop, and return when the supervisor has ended, or should have long ago."""
    host = host_of(arguments)
    longest_s = _LONGEST_S
    if isinstance(host, Config):
        longest_s = (len(host.loops) + 2) * host.limits.stop_timeout_s + 5
        longest_s += sum(end_s_of(one.programs) for one in host.components)
    with connect(host) as client:
        pid = client.ask("stop")["pid"]
        has_ended = client.wait_for_end(longest_s)
    if not has_ended:
        say(f"pid {pid} has not ended in {longest_s:g} s: kill it with `kill -9 {pid}`, and every loop ends with it")
        return EX_SOFTWARE
    print(f"tlsrt (pid {pid}) has stopped")
    return 0
