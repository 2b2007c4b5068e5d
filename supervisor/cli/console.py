"""`tlsrt-supervisor console`: a link that makes one browser a client of this host."""

from __future__ import annotations

import argparse
import hashlib
import json
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
from tlsrt.supervisor.cli.console_roles import missing_services, rules_of_role
from tlsrt.supervisor.cli.console_switch import require_switched_on, switched_on
from tlsrt.supervisor.cli.console_wait import last_event, wait_for_use
from tlsrt.supervisor.cli.exchange import config_of
from tlsrt.supervisor.cli.qr_code import BYTES_MAX, qr_code, terminal_lines
from tlsrt.supervisor.cli.sessions import duration_ms

_NAME_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"


def console(arguments: argparse.Namespace) -> Document | int:
    """Make a link with a join code for a new client, the browser that opens it first; or check the page."""
    role = arguments.role or ("" if arguments.allow else "viewer")
    config = config_of(arguments)
    if arguments.check:
        require_switched_on(config)
    else:
        config = switched_on(arguments, missing_services(role, config) if role else [])
    certificate = "" if config.acme.names else _fingerprint(config)
    if arguments.check:
        return check_page(arguments, _addresses(config, arguments.address)[0], read_page(), certificate)
    if config.door.client_ca_key is None:
        raise ConfigError("this host enrols no clients, so no browser can become one: set door.client_ca_key")
    name = arguments.name or "browser_" + "".join(secrets.choice(_NAME_LETTERS) for _ in range(6))
    arguments.name = name
    rules: list[list[Any]] = [*(rules_of_role(role, config) if role else []), *rules_of(arguments)]
    warn_of_methods(arguments, config)
    door, others = _addresses(config, arguments.address)
    files = read_page()
    page = digest_of(files)
    fields: Document = {
        "name": name, "rules": rules, "ttl_ms": duration_ms(arguments.ttl or "90d"), "http": False, "page": page
    }  # fmt: skip
    waits = arguments.wait or (sys.stdin.isatty() and sys.stdout.isatty() and not arguments.json)
    since = last_event(config) if waits else 0
    code, ends = join_code(config, "client_add", fields)
    answer: Document = {
        "client": name, "link": f"https://{door}/#{code}", "door": door, "others": others, "ends_ms": ends,
        "allow": _joined_rules(rules), "certificate": certificate,
        "page": page, "files": {file: hashlib.sha256(body).hexdigest() for file, body in files.items()},
        "missing": missing_services(role, config) if role else [],
    }  # fmt: skip
    if not waits:
        return answer
    print(json.dumps(answer) if arguments.json else "\n".join(console_lines(answer)), flush=True)
    return wait_for_use(config, name, ends, since, is_json=arguments.json)


def _joined_rules(rules: list[list[Any]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for target, methods in rules:
        known = found.setdefault(target, [])
        known += [method for method in methods if method not in known]
    return found


def console_lines(answer: Document) -> list[str]:
    """Return the link, as text and as a picture, and what to compare."""
    until = f"{datetime.fromtimestamp(answer['ends_ms'] / 1000, UTC):%H:%M:%S} UTC"
    rights = "; ".join(f"{target}: {', '.join(methods)}" for target, methods in answer["allow"].items())
    others = answer["others"]
    away = [f"for all of its screens, first: `tlsrt-supervisor component add {one}`" for one in answer["missing"]]
    return [
        f"in the browser, once, within 10 minutes (until {until}):\n",
        f"  {answer['link']}\n",
        *_picture(answer["link"]),
        *([f"this host is also at {' or '.join(others)}"] if others else []),
        *([ONLY_HERE] if not others and is_here(answer["door"]) else []),
        f"the first browser that opens it becomes client {answer['client']}, which may call {rights}",
        *away,
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
