"""Exchange with the running supervisor: send a request, report a refusal, show the answer."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from tlsrt.command_line import run
from tlsrt.command_line.fitted import is_wide
from tlsrt.command_line.table import ANSWER_S, Command, Document, Verb
from tlsrt.errors import EX_UNAVAILABLE, EX_USAGE, ConfigError, TlsrtError

if TYPE_CHECKING:
    from tlsrt.config.schema import Config
    from tlsrt.supervisor.control.client import ControlClient

PROGRAM = "tlsrt-supervisor"
# What the authority answers: with a slow disk it succeeds late, so the command waits longer than the supervisor does.
LATE = frozenset({
    "revoke", "restore", "release", "lock", "client_add", "client_renew", "client_revoke", "client_set",
})  # fmt: skip
LATE_S = 75.0
say = partial(run.say, PROGRAM)


class Host(Protocol):
    """A host, as far as its supervisor is to be found: its configuration, for example."""

    @property
    def path(self) -> Path:
        """The file of the configuration."""

    @property
    def run_dir(self) -> Path:
        """The folder of the control socket."""


class HostPlace(NamedTuple):
    """A `Host` of a configuration that does not load."""

    path: Path
    run_dir: Path


class RequestRefused(TlsrtError):
    """The host did not do what was asked; `sentences` say why."""

    def __init__(self, sentences: Sequence[str], exit_code: int) -> None:
        super().__init__("\n".join(sentences))
        self.exit_code = exit_code


def config_path(arguments: argparse.Namespace) -> Path:
    """Return the path of the configuration. Raises ConfigError if there is none."""
    from tlsrt.config.search_path import find_config

    return Path(os.path.abspath(find_config(arguments.config)))


def config_of(arguments: argparse.Namespace, *, writes: bool = False) -> Config:
    """Return the configuration. Raises ConfigError, also for one that another user could exchange.

    Root may ask a host of another user, who is trusted with that host; what `writes` is for that user alone.
    """
    from tlsrt.config.load import load_config

    return load_config(trusted_path(arguments, writes=writes))


def trusted_path(arguments: argparse.Namespace, *, writes: bool) -> Path:
    """Return the path of the configuration. Raises ConfigError for one that another user could exchange."""
    from tlsrt.config.trusted_path import check_trusted, host_uids, trusted_uids

    path = config_path(arguments)
    check_trusted(path, "the configuration", trusted_uids() if writes else host_uids(path))
    return path


def host_of(arguments: argparse.Namespace, *, warns: bool = True) -> Host:
    """Return where a host answers. If one runs, a mistake in its configuration does not keep it from being asked.

    Raises ConfigError.
    """
    from tlsrt.config.load import load_config, run_dir_of
    from tlsrt.supervisor.process.unix_path import CONTROL_SOCKET

    path = trusted_path(arguments, writes=False)
    try:
        return load_config(path)
    except ConfigError as error:
        place = HostPlace(path, run_dir_of(path))
        if not os.path.lexists(place.run_dir / CONTROL_SOCKET):
            raise
        if warns:
            say(f"warning: {error.problems[0]} (so the host is asked that runs in {place.run_dir})")
        return place


def connect(config: Host) -> ControlClient:
    """Connect to the supervisor of a host. Raises NotRunning, ControlRefused."""
    from tlsrt.config.service_user import service_uids
    from tlsrt.config.trusted_path import host_uids
    from tlsrt.supervisor.control.client import ControlClient

    return ControlClient(config.run_dir, host_uids(config.path) | service_uids(config.path))


def ask(config: Host, verb: str, *, timeout_s: float = ANSWER_S, refused: int = EX_USAGE, **fields: object) -> Document:
    """Return the answer of the supervisor; raise RequestRefused.

    Its exit code is `refused`, or EX_UNAVAILABLE for an answer that says so.
    """
    with connect(config) as client:
        answer = client.ask(verb, timeout_s=max(timeout_s, LATE_S) if verb in LATE else timeout_s, **fields)
    for key, code in (("refused", refused), ("unavailable", EX_UNAVAILABLE)):
        if key in answer:
            found = answer[key]
            raise RequestRefused([found] if isinstance(found, str) else found, code)
    return answer


def perform(command: Command, verb: Verb, arguments: argparse.Namespace) -> int:
    """Do what a verb of the table says, and return the exit code."""
    if verb.request is None:
        answer = run.function(command, verb.run)(arguments)
        if isinstance(answer, int):
            return answer
    else:
        answer = _carry_out(command, verb, arguments)
    run.show(command, verb, answer, json.dumps if arguments.json else None, is_wide=is_wide(arguments))
    return _unmet(command, verb, answer)


def _carry_out(command: Command, verb: Verb, arguments: argparse.Namespace) -> Document:
    request = verb.request
    assert request is not None
    if isinstance(request.fields, str):
        fields = run.function(command, request.fields)(arguments)
    else:
        fields = {name: getattr(arguments, name) for name in request.fields}
    host = host_of(arguments, warns=request.verb != "reload")  # which says it itself
    return ask(host, request.verb, timeout_s=request.timeout_s, refused=request.refused, **fields)


def _unmet(command: Command, verb: Verb, answer: Document) -> int:
    if not verb.unmet:
        return 0
    sentences = run.function(command, verb.unmet)(answer)
    if sentences is None:
        return 0
    say(*sentences)
    return EX_UNAVAILABLE
