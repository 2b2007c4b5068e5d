"""`tlsrt-supervisor client`: enrol, list, change, renew and revoke clients of a running host."""

from __future__ import annotations

import argparse
import os
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tlsrt.channels.client.address import parse_address
from tlsrt.command_line.fitted import fitted_table
from tlsrt.command_line.table import Document
from tlsrt.config.access import PolicyRule
from tlsrt.config.policy_methods import unknown_methods
from tlsrt.config.schema import Config
from tlsrt.config.server_certificate import check_name, reachable_names, read_server_certificate
from tlsrt.errors import ConfigError, InvalidArgument, TlsrtError
from tlsrt.supervisor.cli.exchange import ask, config_of, say
from tlsrt.supervisor.cli.sessions import closed_lines, duration_ms

_COLUMNS = ("CLIENT", "STATE", "SESSIONS", "HTTP", "CERTIFICATE ENDS", "MAY CALL")
NOTHING = "nothing"  # of --may
ONLY_HERE = (
    "this host is reached from its own machine only; for others: `tlsrt-supervisor certificate renew --name NAME`, "
    "and door.host: 0.0.0.0"
)

_RULE_MAX = 8192
_WORD = r"(?:\*|[A-Za-z_][A-Za-z0-9_]{0,63})"
_QUOTED = rf"(?:{_WORD}|\"{_WORD}\"|'{_WORD}')"
_SIDE = r"(?:\*|[a-z][a-z0-9_]{0,30})"
_RULE = re.compile(
    rf"\s*({_SIDE}/{_SIDE})\s*:\s*(?:({_QUOTED})|\[\s*({_QUOTED}(?:\s*,\s*{_QUOTED})*)\s*,?\s*\])\s*"
)  # fmt: skip

Rule = tuple[str, tuple[str, ...]]  # target, methods


def parse_allow(text: str) -> Rule:
    """Return target and methods of a policy line, `secondary/store: [get, put]`; raise ConfigError."""
    match = _RULE.fullmatch(text) if len(text) <= _RULE_MAX else None
    if match is None:
        raise ConfigError(
            f"--allow {text[:80]!r} is no rule: write 'secondary/store: [get, put]', or 'secondary/store: *'"
        )
    words = (match[2] or match[3]).split(",")
    return match[1], tuple(word.strip().strip("\"'") for word in words)


def add(arguments: argparse.Namespace) -> Document:
    """Enrol a client: with a join code, or with a bundle."""
    if not arguments.allow:
        raise InvalidArgument("say what the client may call: --allow 'secondary/store: [get, put]'; may be repeated")
    fields: Document = {
        "name": arguments.name, "rules": rules_of(arguments), "ttl_ms": duration_ms(arguments.ttl or "90d"),
        "http": arguments.http,
    }  # fmt: skip
    warn_of_methods(arguments, config_of(arguments))
    return _certified(arguments, "client_add", fields)


def renew(arguments: argparse.Namespace) -> Document:
    """Give a client another certificate."""
    ttl_ms = duration_ms(arguments.ttl) if arguments.ttl else 0
    return _certified(arguments, "client_renew", {"name": arguments.name, "ttl_ms": ttl_ms})


def set_rights(arguments: argparse.Namespace) -> Document:
    """Replace the rights of an enrolled client."""
    if not arguments.allow and arguments.may is None:
        raise InvalidArgument(
            "say what it may do from now on: --allow 'secondary/store: [get, put]' (all of its lines), or --may lock"
        )
    fields: Document = {"name": arguments.name, "rules": rules_of(arguments)}
    if arguments.may is not None:
        words = [word.strip() for word in arguments.may.split(",") if word.strip()]
        fields["may"] = [] if words == [NOTHING] else words
    config = config_of(arguments)
    warn_of_methods(arguments, config)
    return {"client": arguments.name, **ask(config, "client_set", **fields)}


def set_lines(answer: Document) -> list[str]:
    return [f"client {answer['client']}: rights updated", *closed_lines(answer)]


def revoke(arguments: argparse.Namespace) -> Document:
    """Revoke a client and its certificates."""
    return {"client": arguments.name, **ask(config_of(arguments), "client_revoke", name=arguments.name)}


def revoke_lines(answer: Document) -> list[str]:
    return [f"client {answer['client']}: revoked, its certificates are not accepted any more", *closed_lines(answer)]


def added_lines(answer: Document) -> list[str]:
    """Return how to use the join code, or the bundle that was written."""
    name = answer["client"]
    if "bundle" in answer:
        path = Path(answer["bundle"])
        return [
            f"bundle of client {name} written to {path}, valid until {answer['ends']} (keep it secret)",
            "move it to the client's machine over a secure channel",
            f"then, there: tlsrt --bundle {path.name} call LOOP/COMPONENT METHOD",
        ]
    until = f"{datetime.fromtimestamp(answer['ends_ms'] / 1000, UTC):%H:%M:%S} UTC"
    others = answer["others"]
    return [
        f"on the client's machine, once, within 10 minutes (until {until}):\n",
        f"  tlsrt enroll {answer['door']} {answer['code']}\n",
        *([f"it may also reach this host at {' or '.join(others)}"] if others else []),
        *([ONLY_HERE] if not others and is_here(answer["door"]) else []),
        f"the first use of this code enrols {name}; `client revoke {name}` cancels it",
    ]


def addresses_of(config: Config, wanted: str | None) -> list[str]:
    """Return HOST:PORT by which clients reach the door, the best first, or only the one that is wanted.

    Raises ConfigError for one that the server's certificate does not name: no client would believe it.
    """
    names = read_server_certificate(config.door.certificate).names
    if wanted is None:
        return [_joined(name, config.door.port) for name in reachable_names(names, config.door.host)]
    host, port = parse_address(wanted if re.search(r"[^:]:[0-9]+$", wanted) else _joined(wanted, config.door.port))
    if check_name(host) not in names:
        raise ConfigError(
            f"the server's certificate does not name {host}, so no client would believe it: first "
            f"`tlsrt-supervisor certificate renew --name {host}`"
        )
    return [_joined(check_name(host), port)]


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_here(door: str) -> bool:
    """Tell whether a door is reached from its own machine only."""
    return parse_address(door)[0] in ("127.0.0.1", "::1")


def rules_of(arguments: argparse.Namespace) -> list[list[Any]]:
    """Return the policy lines that were given with --allow, as they are sent."""
    return [[target, list(methods)] for target, methods in map(parse_allow, arguments.allow or [])]


def warn_of_methods(arguments: argparse.Namespace, config: Config) -> None:
    """Warn of methods that no component has."""
    rules = [PolicyRule(f"client/{arguments.name}", target, tuple(methods)) for target, methods in rules_of(arguments)]
    say(*(f"warning: {sentence}" for sentence in unknown_methods(config, rules)))


def _certified(arguments: argparse.Namespace, verb: str, fields: Document) -> Document:
    config = config_of(arguments)
    first, *others = addresses_of(config, arguments.address)
    if arguments.bundle is not None:
        return _bundled(arguments, config, verb, fields, first)
    code, ends = join_code(config, verb, fields)
    return {"client": arguments.name, "door": first, "others": others, "code": code, "ends_ms": ends}


def join_code(config: Config, verb: str, fields: Document) -> tuple[str, int]:
    """Return a join code, which only we and the authority read, and until when it is good (wall, ms)."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    from tlsrt.supervisor.messages.sealed_code import open_code

    private = X25519PrivateKey.generate()
    _, sealed, ends = ask(config, verb, **fields, code_key=private.public_key().public_bytes_raw().hex())["rows"][0]
    return open_code(bytes.fromhex(sealed), fields["name"], private), ends


def _bundled(arguments: argparse.Namespace, config: Config, verb: str, fields: Document, door: str) -> Document:
    """Make a key, have it certified, and write the bundle; the key does not cross the socket."""
    from tlsrt.config import pki  # x509 is slow to import

    path: Path = arguments.bundle
    if os.path.lexists(path):
        raise ConfigError(f"{path} exists, and a bundle never overwrites: name another file")
    if not path.parent.is_dir():
        raise ConfigError(f"there is no folder {path.parent}: make it, or name another file")
    request, key = pki.make_request()
    answer = ask(config, verb, **fields, request=request.hex())
    try:
        ends = _write(path, arguments.name, config, answer["rows"][0], key, parse_address(door))
    except TlsrtError:
        say(f"the bundle was not written, so its certificate is of no use: `client revoke {arguments.name}` ends it")
        raise
    return {"client": arguments.name, "bundle": str(path), "ends": ends}


def _write(path: Path, name: str, config: Config, row: list[Any], key: bytes, door: tuple[str, int]) -> str:
    from cryptography.x509 import load_pem_x509_certificate

    from tlsrt.config import pki
    from tlsrt.config.bundle import VERSION, Bundle, write_bundle

    _, certificate, ca, issuer, version = row
    host, port = door
    pem = pki.pem_of(bytes.fromhex(certificate))
    bundle = Bundle(
        VERSION, config.install_id, name, host, port, host, pki.pem_of(bytes.fromhex(ca)), pem, key,
        bytes.fromhex(issuer), version,
    )  # fmt: skip
    write_bundle(path, bundle)
    return f"{load_pem_x509_certificate(pem).not_valid_after_utc:%Y-%m-%d %H:%M} UTC"


def list_clients(arguments: argparse.Namespace) -> Document:
    """Ask for all clients, a page after the other."""
    config = config_of(arguments)
    clients: list[Document] = []
    after, is_more = "", True
    while is_more:
        rows = ask(config, "client_list", after=after)["rows"]
        clients += [_client(row) for row in rows if row[0] != "more"]
        is_more = ["more"] in rows and bool(clients)
        after = clients[-1]["name"] if clients else ""
    return {"clients": clients}


def _client(row: list[Any]) -> Document:
    kind, name, http, sessions, first, *more = row
    document: Document = {
        "name": name, "http": http, "sessions": sessions, "first_open_ms": first or None, "is_listed": kind == "listed"
    }  # fmt: skip
    if kind == "listed":
        return {**document, "fingerprint": more[0]}
    rules, ttl_ms, added, certificates, revoked, may = more
    shown = [dict(zip(("serial", "fingerprint", "ends_ms"), each, strict=True)) for each in certificates]
    return {
        **document, "allow": dict(rules), "ttl_ms": ttl_ms, "added_ms": added,
        "certificates": shown, "revoked_ms": revoked or None, "may": may,
    }  # fmt: skip


def client_lines(answer: Document) -> list[str]:
    now = time.time_ns() // 1_000_000
    return fitted_table(
        [_COLUMNS, *(_row(client, now) for client in answer["clients"])], least=("HTTP", "SESSIONS"), cut="MAY CALL"
    )


def _row(client: Document, now: int) -> tuple[str, ...]:
    http = "yes" if client["http"] else "no"
    name, sessions = client["name"], str(client["sessions"])
    if client["is_listed"]:
        return name, "listed", sessions, http, "-", "see policy"
    ends = max((each["ends_ms"] for each in client["certificates"]), default=0)
    state = "revoked" if client["revoked_ms"] else "waiting" if not ends else "enrolled" if ends > now else "expired"
    allow = "; ".join(f"{target}: {', '.join(methods)}" for target, methods in client["allow"].items())
    if client["may"]:
        allow += f"; the host: {', '.join(client['may'])}"
    date = f"{datetime.fromtimestamp(ends / 1000, UTC):%Y-%m-%d %H:%M}" if ends else "-"
    return name, state, sessions, http, date, allow
