"""`tlsrt-supervisor console`: a link that makes one browser a client of this host."""

from __future__ import annotations

import argparse
import hashlib
import secrets
import ssl
import sys
from datetime import UTC, datetime
from typing import Any

from tlsrt.command_line.table import Document
from tlsrt.config.console_page import digest_of, read_page
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError
from tlsrt.supervisor.cli.clients import ONLY_HERE, addresses_of, is_here, join_code, rules_of, warn_of_methods
from tlsrt.supervisor.cli.console_check import check_page
from tlsrt.supervisor.cli.exchange import config_of
from tlsrt.supervisor.cli.qr_code import BYTES_MAX, qr_code, terminal_lines
from tlsrt.supervisor.cli.sessions import duration_ms

_NAME_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"
# What a browser may call without --allow: it sees the host, and changes nothing.
_LOOK = (
    ("primary/kernel", ("*",)),
    ("primary/hardware", ("*",)),
    ("primary/events", ("recent", "subscribe", "lifecycle", "session", "security", "health", "program")),
)
_STATUS = "third/status"  # likewise, where it was added


def console(arguments: argparse.Namespace) -> Document | int:
    """Make a link with a join code for a new client, the browser that opens it first; or check the page."""
    config = config_of(arguments)
    _require_switched_on(config)
    certificate = "" if config.acme.names else _fingerprint(config)
    if arguments.check:
        return check_page(arguments, _addresses(config, arguments.address)[0], read_page(), certificate)
    name = arguments.name or "browser_" + "".join(secrets.choice(_NAME_LETTERS) for _ in range(6))
    arguments.name = name
    has_status = any(f"{one.loop}/{one.name}" == _STATUS for one in config.components)
    look = (*_LOOK, (_STATUS, ("*",))) if has_status else _LOOK
    rules: list[list[Any]] = rules_of(arguments) or [[target, list(methods)] for target, methods in look]
    warn_of_methods(arguments, config)
    door, others = _addresses(config, arguments.address)
    fields: Document = {"name": name, "rules": rules, "ttl_ms": duration_ms(arguments.ttl or "90d"), "http": False}
    files = read_page()
    code, ends = join_code(config, "client_add", fields)
    return {
        "client": name, "link": f"https://{door}/#{code}", "door": door, "others": others, "ends_ms": ends,
        "allow": dict(rules), "certificate": certificate,
        "page": digest_of(files), "files": {file: hashlib.sha256(body).hexdigest() for file, body in files.items()},
    }  # fmt: skip


def console_lines(answer: Document) -> list[str]:
    """Return the link, as text and as a picture, and what to compare."""
    until = f"{datetime.fromtimestamp(answer['ends_ms'] / 1000, UTC):%H:%M:%S} UTC"
    rights = "; ".join(f"{target}: {', '.join(methods)}" for target, methods in answer["allow"].items())
    others = answer["others"]
    needs_status = f"for its screens of health and processes, first: `tlsrt-supervisor component add {_STATUS}`"
    return [
        f"in the browser, once, within 10 minutes (until {until}):\n",
        f"  {answer['link']}\n",
        *_picture(answer["link"]),
        *([f"this host is also at {' or '.join(others)}"] if others else []),
        *([ONLY_HERE] if not others and is_here(answer["door"]) else []),
        f"the first browser that opens it becomes client {answer['client']}, which may call {rights}",
        *([] if _STATUS in answer["allow"] else [needs_status]),
        f"`tlsrt-supervisor client revoke {answer['client']}` cancels the link, and later closes the page",
        *_comparing(answer),
    ]


def _comparing(answer: Document) -> list[str]:
    fingerprint = answer["certificate"]
    shown = [
        "the browser will warn of the certificate, as this host's own CA has issued it: go on only if it shows this "
        "SHA-256 fingerprint:",
        f"  {fingerprint}",
    ]
    return [
        *(shown if fingerprint else []),
        f"the files of the page have the hash {answer['page']} (`tlsrt-supervisor console --check`)",
    ]


def _picture(link: str) -> list[str]:
    """Return the link as a QR code, at a terminal that can show one."""
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    if not sys.stdout.isatty() or encoding != "utf8" or len(link.encode()) > BYTES_MAX:
        return []
    return ["\n".join(terminal_lines(qr_code(link.encode()))), ""]


def _require_switched_on(config: Config) -> None:
    if not config.door.console:
        raise ConfigError(
            f"the console is off: write `console: true` below `door:` in {config.path}, then `tlsrt-supervisor seal` "
            "and `reload`"
        )
    if config.door.client_ca_key is None:
        raise ConfigError("this host enrols no clients, so no browser can become one: set door.client_ca_key")


def _addresses(config: Config, wanted: str | None) -> tuple[str, list[str]]:
    """Return by what a browser reaches the door, the best first: a name that the CA of ACME has certified is."""
    if wanted is None and config.acme.names:
        first, *others = (f"{name}:{config.door.port}" for name in config.acme.names if not name.startswith("*"))
        return first, others
    first, *others = addresses_of(config, wanted)
    return first, others


def _fingerprint(config: Config) -> str:
    """Return the SHA-256 of the server's certificate, as browsers show it."""
    try:
        text = config.door.certificate.read_text("ascii")
        start = text.index("-----BEGIN CERTIFICATE-----")
        end = text.index("-----END CERTIFICATE-----") + len("-----END CERTIFICATE-----")
        der = ssl.PEM_cert_to_DER_cert(text[start:end])
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read the server certificate {config.door.certificate}: {error}") from error
    return ":".join(f"{byte:02X}" for byte in hashlib.sha256(der).digest())
