"""`tlsrt enroll`, `renew` and `export`: the certificate of a client."""

from __future__ import annotations

import argparse
import base64
import os
from pathlib import Path

from tlsrt.channels.cli.contexts import chosen
from tlsrt.channels.client.address import parse_address
from tlsrt.channels.client.enroll import ends_of
from tlsrt.channels.client.enroll import enroll as enroll_at
from tlsrt.channels.client.pem_export import BROWSER, curl_line, export_pem
from tlsrt.channels.session.enrolment import parse_code
from tlsrt.command_line.hint import command_line
from tlsrt.command_line.table import Document
from tlsrt.config.bundle import read_bundle
from tlsrt.config.search_path import find_bundle, own_bundle
from tlsrt.errors import ConfigError
from tlsrt.text import printable


def enroll(arguments: argparse.Namespace) -> Document:
    """Enroll with a join code, and write the bundle."""
    path = Path(arguments.bundle or os.environ.get("TLSRT_BUNDLE") or own_bundle())
    code = parse_code(arguments.code)
    bundle = enroll_at(
        *parse_address(arguments.where), code, path, server_name=arguments.server_name, timeout_s=arguments.timeout
    )  # fmt: skip
    return {"client": bundle.name, "bundle": str(path), "default": _default_bundle()}


def enroll_lines(answer: Document) -> list[str]:
    bundle, default = answer["bundle"], answer["default"]
    is_default = default is not None and Path(default).absolute() == Path(bundle).absolute()
    words = [] if is_default else ["--bundle", bundle]
    lines = [
        printable(f"enrolled as {answer['client']}; bundle written to {bundle} (keep it secret)"),
        f"next: {command_line('tlsrt', *words, 'describe')}",
    ]
    if default is not None and not is_default:
        lines.append(printable(f"without --bundle, commands in this folder act by {default}"))
    return lines


def _default_bundle() -> str | None:
    """Return the bundle of a command that names none, from here."""
    try:
        return str(find_bundle(None))
    except ConfigError:
        return None


async def renew(arguments: argparse.Namespace) -> Document:
    """Renew the certificate, and connect once with the new one, which ends the old one."""
    from tlsrt.channels.cli.client import client_of

    async with client_of(arguments) as client:
        await client.renew()
        bundle = client.bundle
    async with client_of(arguments) as client:
        return {"client": client.subject, "ends": ends_of(bundle)}


def renew_lines(answer: Document) -> list[str]:
    return [printable(f"certificate of {answer['client']} renewed: valid until {answer['ends']}")]


def export(arguments: argparse.Namespace) -> Document:
    """Write the PEM files of this client's bundle."""
    named, address = chosen(arguments)
    bundle = read_bundle(find_bundle(named))
    host, port = parse_address(address) if address else (bundle.host, bundle.port)
    password = _new_password() if arguments.p12 else ""
    files = export_pem(bundle, Path(arguments.folder), password)
    answer: Document = {
        "client": bundle.name, **{name: str(path) for name, path in files._asdict().items()},
        "curl": curl_line(files, bundle, host, port),
    }  # fmt: skip
    return answer | {"p12": str(files.key.with_name(BROWSER)), "password": password} if password else answer


def _new_password() -> str:
    """Return 120 random bits, in letters and digits that can be typed on a telephone."""
    text = base64.b32encode(os.urandom(15)).decode().lower()
    return "-".join(text[at : at + 6] for at in range(0, len(text), 6))


def export_lines(answer: Document) -> list[str]:
    lines = [printable(f"key of client {answer['client']} written to {answer['key']} (keep it secret)")]
    if "p12" in answer:
        lines.append(
            printable(
                f"for a browser: import {answer['p12']} with the password {answer['password']}, which is kept nowhere; "
                "then delete that file"
            )
        )
    return [*lines, f"if the host serves HTTP to it:\n\n  {printable(answer['curl'])}"]
