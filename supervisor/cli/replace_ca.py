"""`tlsrt-supervisor certificate replace-ca`: a new CA for a host whose CA key is lost or stolen.

The files are one change with a journal, as those of `component` and `apply`: written, sealed and taken by the running
host, or as before. A command that is killed is completed or undone by the next one, or by the next start.
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from tlsrt.command_line.hint import command_line
from tlsrt.command_line.table import Document
from tlsrt.config.ca_replacement import Replacement, ca_key_of, is_key_whole, replaced
from tlsrt.config.schema import Config
from tlsrt.errors import EX_FAILED, ConfigError, InvalidArgument
from tlsrt.supervisor.cli.approval import is_approved
from tlsrt.supervisor.cli.clients import list_clients
from tlsrt.supervisor.cli.component.addition import begin
from tlsrt.supervisor.cli.component.journal import whole_config
from tlsrt.supervisor.cli.exchange import RequestRefused
from tlsrt.supervisor.control.client import NotRunning

_WHAT = "the CA"
_MEASURED = {"client-ca", "certificate-names", "bytecode"}
_PLAN = {
    Replacement.BOTH: (
        "A new CA enrols clients from now on. Clients that know the former one go on,",
        "and the door's certificate stays: the new CA vouches for it.",
    ),
    Replacement.DISTRUST: (
        "A new CA takes the place of the former one, which is believed no more: every",
        "client is refused from now on, until it has a new bundle.",
    ),
    Replacement.FINISH: (
        "The former CA is believed no more, and the new one issues the certificate of",
        "the door: clients with a bundle from before are refused from now on.",
    ),
}


def replace_ca(arguments: argparse.Namespace) -> Document:
    """Replace the CA, or finish that."""
    if arguments.distrust and arguments.finish:
        raise InvalidArgument("say --distrust or --finish, not both")
    how = Replacement.FINISH if arguments.finish else Replacement.DISTRUST if arguments.distrust else Replacement.BOTH
    config = whole_config(arguments)
    key = str(ca_key_of(config))
    if how is Replacement.BOTH and is_key_whole(config) and not arguments.yes:
        raise ConfigError(
            f"{key} is there and fits, so nothing is lost; say --distrust if it may be stolen, or --yes to replace it "
            "all the same"
        )
    clients = _enrolled(arguments)
    with begin(config, _MEASURED.__contains__, what=_WHAT, private=(key,)) as change:
        files = {str(path): data for path, data in replaced(config, how, datetime.now(UTC)).items()}
        before = {name: change.present(name) for name in files if name != key}
        if not is_approved([_PLAN[how]], arguments, "Do it?"):
            raise RequestRefused([], EX_FAILED)
        if any(change.present(name) != data for name, data in before.items()):
            raise ConfigError("a certificate was changed meanwhile, so nothing was written: run this again")
        change.check_sealed()
        answer = change.take(files)
    return {
        "format": 1, "ca": str(config.door.client_ca), "way": how.value, "host": answer, "clients": clients,
        "listed": [one.name for one in config.clients],
        "next": _next(config, arguments, how, is_running=answer is not None),
    }  # fmt: skip


def lines(answer: Document) -> list[str]:
    """Return what was done, who needs what, and what to do next."""
    enrolled, listed = answer["clients"], answer["listed"]
    found = [f"wrote {answer['ca']}, and sealed it" + (": the host serves with it" if answer["host"] else "")]
    who = "each client that was enrolled before (see `client list`)" if enrolled is None else ", ".join(enrolled)
    if answer["way"] == Replacement.FINISH.value:
        return [*found, *answer["next"]]
    if who:
        found += ["each of these needs a new bundle, by `tlsrt-supervisor client renew NAME`:", f"  {who}"]
    if listed:
        found += ["these are listed in the configuration and cannot be renewed: add others in", "their place"]
        found += [f"  {', '.join(listed)}"]
    return [*found, *answer["next"]]


def _enrolled(arguments: argparse.Namespace) -> list[str] | None:
    """Return the names of clients that were enrolled; None for a host that does not run."""
    try:
        return [str(one["name"]) for one in list_clients(arguments)["clients"] if not one["is_listed"]]
    except NotRunning:
        return None


def _next(config: Config, arguments: argparse.Namespace, how: Replacement, *, is_running: bool) -> list[str]:
    from tlsrt.supervisor.cli.service.install import unit_here
    from tlsrt.supervisor.cli.service.units import NAME, runs

    named = ["--config", arguments.config] if arguments.config else []
    if how is Replacement.FINISH:
        return [] if is_running else [f"next: {command_line('tlsrt-supervisor', 'start', *named)}"]
    if runs(unit_here(), config.path):
        begun = f"systemctl restart {NAME}"
    elif is_running:
        begun = "stop the host and start it: it reads the new key then"
    else:
        begun = command_line("tlsrt-supervisor", "start", *named)
    found = [f"next: {begun}"]
    if how is Replacement.BOTH:
        last = command_line("tlsrt-supervisor", "certificate", "replace-ca", "--finish", *named)
        found += ["once each client has a new bundle:", f"  {last}"]
    return found
