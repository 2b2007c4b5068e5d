"""`tlsrt-supervisor certificate`: what the server's certificate says, and another one of the development CA."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from tlsrt.command_line.hint import command_line
from tlsrt.command_line.table import Document
from tlsrt.config.server_certificate import (
    ServerCertificate,
    days_left,
    read_server_certificate,
    renew_server_certificate,
)
from tlsrt.supervisor.cli.exchange import config_of


def show(arguments: argparse.Namespace) -> Document:
    """Read the certificate that the next start or reload takes."""
    path = config_of(arguments).door.certificate
    return {"certificate": str(path), **_document(read_server_certificate(path))}


def show_lines(answer: Document) -> list[str]:
    left = answer["days_left"]
    ends = f"ends {answer['ends']}, in {left} days" if left >= 0 else f"ended {answer['ends']}: renew it"
    return [
        f"{answer['certificate']}: issued by {answer['issuer']}, {ends}",
        f"it names {', '.join(answer['names']) or 'no host'}",
    ]


def renew(arguments: argparse.Namespace) -> Document:
    """Replace the certificate. A running host takes it with the next reload."""
    config = config_of(arguments, writes=True)
    renewed = renew_server_certificate(config, arguments.name or (), datetime.now(UTC), drop=arguments.drop or ())
    named = ["--config", arguments.config] if arguments.config else []
    words = (["seal"] if renewed.is_seal_needed else []) + ["reload"]
    return {
        "certificate": str(renewed.path), **_document(renewed.certificate),
        "next": [command_line("tlsrt-supervisor", word, *named) for word in words],
    }  # fmt: skip


def renew_lines(answer: Document) -> list[str]:
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
