"""The verbs that talk to a running host, as data: one entry a verb, and what it does in a module of its own.

`module` is imported when the verb runs, and has `run(arguments, config) -> int`, the exit code. It asks the supervisor
through `ControlClient(config.run_dir)`; who answers there is said in `Supervisor._add_verbs`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple  # dataclasses would cost `start` ten milliseconds

from tlsrt.text import parse_duration

Add = Callable[[str, Callable[[argparse.Namespace], int], str], argparse.ArgumentParser]


class Option(NamedTuple):
    """One argument of a verb: the words and settings of argparse's `add_argument`."""

    words: tuple[str, ...]
    settings: dict[str, Any]


class HostVerb(NamedTuple):
    """One verb: its name, its module in this folder, its help, its arguments."""

    name: str
    module: str
    text: str
    options: tuple[Option, ...] = ()


def option(*words: str, **settings: Any) -> Option:
    return Option(words, settings)


def json_option(what: str) -> Option:
    return option("--json", action="store_true", help=what)


def whole_number(text: str) -> int:
    """Return the number in an argument, for argparse."""
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def interval(text: str) -> float:
    """Return a number of seconds in an argument, for argparse."""
    try:
        return parse_duration(text, least_s=0.2, most_s=3600.0, has_default_unit=True)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


_INTERVAL = option(
    "--interval", metavar="S", type=interval, default=1.0, help="seconds between two looks (%(default)g)"
)

HOST_VERBS = (
    HostVerb(
        "status",
        "status",
        "show every loop of the running supervisor",
        (
            json_option("the same as one JSON document; with --follow, one a line"),
            option("--follow", "-f", action="store_true", help="again and again, with what every process uses"),
            _INTERVAL,
        ),
    ),
    HostVerb(
        "top",
        "top",
        "the same as status --follow, until `q` or Ctrl-C",
        (json_option("one JSON document a line"), _INTERVAL),
    ),
    HostVerb(
        "events",
        "events",
        "print what happened on this host, and with --follow what happens",
        (
            option("--follow", "-f", action="store_true", help="go on with every new event, until Ctrl-C"),
            option(
                "--since", metavar="SEQ", type=whole_number, default=0, help="only those after the event of that number"
            ),
            option(
                "--kind",
                action="append",
                choices=("lifecycle", "session", "security", "health"),
                help="only events of this kind; may be repeated",
            ),
            json_option("one JSON object a line"),
            option("--kinds", action="store_true", help="print which events there are, and what they say"),
        ),
    ),
    HostVerb(
        "reload",
        "reload",
        "take changed profiles and policy while tlsrt runs, or nothing",
        (json_option("the report as one JSON document"),),
    ),
    HostVerb(
        "sessions",
        "sessions",
        "show every session of the running host, and who is revoked",
        (json_option("everything about them, as one JSON document"),),
    ),
    HostVerb(
        "revoke",
        "revoke",
        "end sessions, and shut out components and clients; every verifier refuses them within 100 ms",
        (
            option(
                "kind",
                nargs="?",
                choices=("session", "token", "component", "client", "loop"),
                help="a session or token ends, and its holder may open another session; the others are shut out",
            ),
            option("what", nargs="?", metavar="WHAT", help="the begin of an id of `sessions`, LOOP/NAME, or a name"),
            option("--all", action="store_true", help="end every session and move to a new epoch; nobody is shut out"),
            option(
                "--for", dest="duration", metavar="TIME", help="shut out for 90s, 15m, 2h or 7d, not until `restore`"
            ),
            json_option("the report as one JSON document"),
        ),
    ),
    HostVerb(
        "restore",
        "restore",
        "let a revoked component, client or loop in again",
        (
            option("kind", choices=("component", "client", "loop"), help="what was revoked"),
            option("what", metavar="NAME", help="LOOP/NAME, or a name"),
            json_option("the report as one JSON document"),
        ),
    ),
    HostVerb(
        "client",
        "clients",
        "enrol a client while tlsrt runs, list clients, change what one may do, renew its certificate, or revoke one",
        (
            option("action", choices=("add", "list", "set", "renew", "revoke"), help="what to do"),
            option("name", nargs="?", metavar="NAME", help="the client"),
            option(
                "--allow",
                metavar="RULE",
                action="append",
                help="what it may call: 'secondary/store: [get, put]'; repeat; with set, instead of what it might",
            ),
            option(
                "--may",
                metavar="WORDS",
                help="with set, what it may do to the whole host: lock, unlock, lock,unlock or nothing",
            ),
            option("--ttl", metavar="TIME", help="life of its certificate: 12h, 90d (default), at most 397d"),
            option("--http", action="store_true", help="it may use HTTP; Primary then holds its keys"),
            option("--bundle", metavar="FILE", type=Path, help="write a bundle (new file, mode 0600), not a join code"),
            json_option("the answer as one JSON document"),
        ),
    ),
    HostVerb(
        "lock",
        "lock",
        "lock the host: nobody has a session, and the door says so, until `unlock`; it survives a restart",
        (
            option("--reason", metavar="TEXT", default="", help="why, for `status` and events; no client sees it"),
            json_option("the report as one JSON document"),
        ),
    ),
    HostVerb(
        "unlock",
        "unlock",
        "end the lock: a new epoch, a fresh Primary; clients come back by themselves",
        (json_option("the report as one JSON document"),),
    ),
    HostVerb(
        "honeypot",
        "honeypot",
        "list the decoys of this host, plant canaries, or prove that a touch is heard",
        (
            option("action", choices=("list", "plant", "test"), help="what to do"),
            option("kind", nargs="?", choices=("token", "client", "file"), help="what to plant"),
            option("path", nargs="?", metavar="FILE", type=Path, help="a new file, of mode 0600"),
            option("--number", metavar="N", type=whole_number, default=0, help="which one of 16 (0)"),
            option("--name", metavar="NAME", default="operator", help="the canary client's name (%(default)s)"),
            json_option("the answer as one JSON document"),
        ),
    ),
    HostVerb(
        "anomalies",
        "anomalies",
        "show who did what he may not, with which score, and what is done about it",
        (
            json_option("the same as one JSON document; with --follow, one event a line"),
            option("--follow", "-f", action="store_true", help="offences and steps as they come, until Ctrl-C"),
        ),
    ),
    HostVerb(
        "quarantine",
        "quarantine",
        "list whom something is done about, or release one before the time is over",
        (
            option("what", choices=("list", "release"), help="what to do"),
            option("name", nargs="?", metavar="NAME", help="LOOP/NAME, a client, a loop or an address"),
            json_option("the same as one JSON document"),
        ),
    ),
    HostVerb(
        "rotate",
        "rotate",
        "change the epoch now, and with it every key of the loops; with --master also master_key",
        (
            option("--master", action="store_true", help="make another master_key, also for a host that does not run"),
            json_option("the report as one JSON document"),
        ),
    ),
    HostVerb(
        "restart",
        "restart",
        "restart one loop, drained, or start one again that was given up",
        (
            option("loop", metavar="LOOP", help="the loop; its group's strategy says who restarts with it"),
            json_option("the answer as one JSON document"),
        ),
    ),
    HostVerb(
        "stop",
        "stop",
        "stop the running supervisor in order, and wait until it has ended",
    ),
)


def add_host_verbs(add: Add, config_path: Callable[[argparse.Namespace], Path]) -> None:
    """Add the parser of every verb; `config_path` finds the configuration that names the run folder."""
    for verb in HOST_VERBS:
        parser = add(verb.name, _runner(verb, config_path), verb.text)
        for each in verb.options:
            parser.add_argument(*each.words, **each.settings)


def _runner(verb: HostVerb, config_path: Callable[[argparse.Namespace], Path]) -> Callable[[argparse.Namespace], int]:
    def run(arguments: argparse.Namespace) -> int:
        from tlsrt.config.load import load_config

        module = import_module(f"tlsrt.supervisor.cli.{verb.module}")
        return int(module.run(arguments, load_config(config_path(arguments))))

    return run
