"""`tlsrt-supervisor reload`, `restart` and `stop`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from tlsrt.command_line.table import Document
from tlsrt.config.programs import end_s_of
from tlsrt.config.schema import Config
from tlsrt.errors import EX_CONFIG, EX_SOFTWARE, EX_UNAVAILABLE
from tlsrt.supervisor.cli.exchange import Host, ask, connect, host_of, say
from tlsrt.supervisor.reload import report

CHANGE_S = 3600.0  # the supervisor answers in time, by the limits of the configuration; this is for one that does not
_LONGEST_S = 120.0  # for a host whose configuration does not load any more
_RESTART_S = 120.0


def restart_s(config: Config, process: str) -> float:
    """Return how long a restart of a process is waited for: its programs may take their `stop_seconds` to end."""
    return _RESTART_S + sum(end_s_of(one.programs) for one in config.components if one.process == process)


def reload(arguments: argparse.Namespace) -> Document:
    """Reload, or say what that would do; what is wrong with the configuration, the supervisor says itself."""
    from tlsrt.supervisor.cli.service.handed_keys import stale_keys
    from tlsrt.supervisor.cli.service.install import unit_here

    verb, host = "reload_plan" if arguments.dry_run else "reload", host_of(arguments, warns=False)
    say(*stale_keys(host.path, unit_here()))
    return ask(host, verb, timeout_s=CHANGE_S, refused=EX_CONFIG)


def reload_lines(answer: Document) -> list[str]:
    return report.plan_lines(answer) if "dry_run" in answer else report.lines(answer)


def failed(answer: Document) -> list[str] | None:
    """The lines say already which loop has failed."""
    return [] if answer.get("failed") else None


def restart_lines(answer: Document) -> list[str]:
    return [_line(loop) for loop in answer["loops"]]


def _stop_loop(host: Host, subject: str) -> int:
    answer = ask(host, "stop_loop", timeout_s=CHANGE_S, loop=subject)
    if not answer["stopped"]:
        say(f"{answer['name']} was started again meanwhile")
        return EX_UNAVAILABLE
    print(f"{answer['name']} is stopped until `tlsrt-supervisor start {answer['name']}`, or the next start of the host")
    if answer["waiting"]:
        print(f"{', '.join(answer['waiting'])} waits for it, and comes back with it")
    return 0


def start_loop(arguments: argparse.Namespace) -> int:
    """Start a loop that was stopped or given up."""
    answer = ask(host_of(arguments), "start_loop", timeout_s=CHANGE_S, loop=arguments.subject)
    print("\n".join(restart_lines(answer)))
    return EX_UNAVAILABLE if answer["failed"] else 0


def _line(loop: Mapping[str, Any]) -> str:
    if loop["took_ms"] is not None:
        return f"{loop['name']}  active  pid {loop['pid']}  in {loop['took_ms']} ms"
    return f"{loop['name']}  {loop['state']}  {loop['reason']}"


def stop(arguments: argparse.Namespace) -> int:
    """Stop one loop, or the host: return when the supervisor has ended, or should have long ago."""
    from tlsrt.supervisor.cli.service.install import starts_again

    host = host_of(arguments)
    if arguments.subject:
        return _stop_loop(host, arguments.subject)
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
    if sentence := starts_again(host.path):
        print(sentence)
    return 0
