"""`tlsrt-supervisor certificate`: which certificates the server has, what they name, and others in their place.

There are two at most. That of the door's files is issued by the development CA, or put there by an operator; that of
`acme` is ordered while the host runs. `add`, `remove` and `renew` are about the latter where a CA is configured.
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import Any

from tlsrt.command_line.hint import command_line
from tlsrt.command_line.table import Document
from tlsrt.config.schema import Config
from tlsrt.config.server_certificate import (
    ServerCertificate,
    days_left,
    read_server_certificate,
    renew_server_certificate,
)
from tlsrt.supervisor.cli.exchange import ask, config_of
from tlsrt.supervisor.control.client import NotRunning

_NAMES_SHOWN = 3
ORDER_S = 720.0  # the host gives an order up before that


def show(arguments: argparse.Namespace) -> Document:
    """Read the certificate that the next start or reload takes, and ask the host for the other one."""
    config = config_of(arguments)
    door = config.door
    kind = "files of an operator" if door.client_ca_key is None else "the development CA"
    document: Document = {
        "certificate": str(door.certificate), **_document(read_server_certificate(door.certificate)), "kind": kind,
        "acme": None,
    }  # fmt: skip
    try:
        document["acme"] = ask(config, "certificates")["acme"]
    except NotRunning:
        if config.acme.origin is not None:
            document["acme"] = {"directory": config.acme.directory, "state": "not running"}
    return document


def show_lines(answer: Document) -> list[str]:
    left = answer["days_left"]
    ends = f"ends {answer['ends']}, in {left} days" if left >= 0 else f"ended {answer['ends']}: renew it"
    lines = [
        f"{answer['certificate']}: issued by {answer['issuer']}, {ends}",
        f"it names {', '.join(answer['names']) or 'no host'}",
    ]
    acme = answer["acme"]
    if acme is None:
        return lines
    return [*lines, "shown to clients of tlsrt, and to all who ask for another name than those below", *_acme(acme)]


def _acme(acme: dict[str, Any]) -> list[str]:
    if acme["state"] == "not running":
        return [f"acme {acme['directory']}: the host does not run, so nothing is known of its certificate"]
    lines = [f"acme {acme['directory']}: {'an order runs' if acme['state'] == 'ordering' else 'no order runs'}"]
    if acme["names"]:
        lines = [
            f"acme: issued by {acme['issuer']}, {_since(acme['begins'])}, ends {_at(acme['ends'])}, "
            f"renewed about {_at(acme['renews'])}",
            f"it names {', '.join(acme['names'])}; shown to clients over HTTP that ask for one of them",
        ]
    missing = [name for name in acme["wanted"] if name not in acme["names"]]
    lines += [f"ordered and not issued yet: {', '.join(missing)}"] if missing else []
    if acme["failure"]:
        lines.append(f"{acme['failures']} failed in a row, again at {_at(acme['again'])}: {acme['failure']}")
    return lines


def status_lines(acme: Document | None) -> list[str]:
    """Return the line of a status about the certificate of a CA."""
    if acme is None:
        return []
    if not acme["names"]:
        failed = f", failed {acme['failures']} times, again at {_at(acme['again'])}" if acme["failures"] else ""
        return [f"acme: no certificate yet of {', '.join(acme['wanted']) or 'any name'}{failed}"]
    late = f"; {acme['failures']} orders failed: {acme['failure']}" if acme["failure"] else ""
    named = ", ".join(acme["names"][:_NAMES_SHOWN]) + (" and more" if len(acme["names"]) > _NAMES_SHOWN else "")
    return [f"acme: {named}, ends {_at(acme['ends'])}, renewed about {_at(acme['renews'])}{late}"]


def add(arguments: argparse.Namespace) -> Document:
    """Have the certificate name one host more."""
    config = _writing(arguments)
    if _is_own(arguments, config):
        return _reissue(arguments, config, [arguments.host], ())
    return ask(config, "certificate_name", timeout_s=ORDER_S, name=arguments.host, is_added=True)


def remove(arguments: argparse.Namespace) -> Document:
    """Have the certificate name one host less."""
    config = _writing(arguments)
    if _is_own(arguments, config):
        return _reissue(arguments, config, (), [arguments.host])
    return ask(config, "certificate_name", timeout_s=ORDER_S, name=arguments.host, is_added=False)


def renew(arguments: argparse.Namespace) -> Document:
    """Replace the certificate. A running host takes one of the development CA with the next reload."""
    config = _writing(arguments)
    names, drop = arguments.name or (), arguments.drop or ()
    if _is_own(arguments, config) or names or drop:
        return _reissue(arguments, config, names, drop)
    return ask(config, "certificate_order", timeout_s=ORDER_S)


def _writing(arguments: argparse.Namespace) -> Config:
    return config_of(arguments, writes=True)


def _is_own(arguments: argparse.Namespace, config: Config) -> bool:
    return bool(arguments.own) or config.acme.origin is None


def _reissue(arguments: argparse.Namespace, config: Config, names: Any, drop: Any) -> Document:
    renewed = renew_server_certificate(config, names, datetime.now(UTC), drop=drop)
    named = ["--config", arguments.config] if arguments.config else []
    words = (["seal"] if renewed.is_seal_needed else []) + ["reload"]
    return {
        "certificate": str(renewed.path), **_document(renewed.certificate),
        "next": [command_line("tlsrt-supervisor", word, *named) for word in words],
    }  # fmt: skip


def renew_lines(answer: Document) -> list[str]:
    if "acme" in answer:
        return ["issued, and the door serves with it", *_acme(answer["acme"])]
    *seal, reload = answer["next"]
    before = f"{seal[0]} (it names other hosts than before), and " if seal else ""
    return [
        f"wrote {answer['certificate']}: names {', '.join(answer['names'])}; valid until {answer['ends']}",
        f"next: {before}{reload} if the host runs",
    ]


def _document(certificate: ServerCertificate) -> Document:
    return {
        "names": list(certificate.names), "issuer": certificate.issuer,
        "begins": f"{certificate.begins:%Y-%m-%d %H:%M} UTC", "ends": f"{certificate.ends:%Y-%m-%d %H:%M} UTC",
        "days_left": days_left(certificate, datetime.now(UTC)),
    }  # fmt: skip


def _at(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


def _since(seconds: int) -> str:
    days = (datetime.now(UTC) - datetime.fromtimestamp(seconds, UTC)).days
    return f"{days} day{'s' * (days != 1)} old"
