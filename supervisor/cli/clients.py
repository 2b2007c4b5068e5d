"""`tlsrt-supervisor client`: enrol clients while the host runs, list, change, renew and revoke them."""

from __future__ import annotations

import argparse
import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tlsrt.config.schema import Config
from tlsrt.errors import EX_UNAVAILABLE, EX_USAGE, ConfigError, TlsrtError
from tlsrt.supervisor.cli.allow_lines import parse_allow
from tlsrt.supervisor.cli.output import say
from tlsrt.supervisor.cli.revoke import milliseconds
from tlsrt.supervisor.control.client import ControlClient
from tlsrt.supervisor.control.session_report import failure, revoked_lines
from tlsrt.text import table

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
_COLUMNS = ("CLIENT", "STATE", "SESSIONS", "HTTP", "CERTIFICATE ENDS", "MAY CALL")
_DAY_MS = 86_400_000
NOTHING = "nothing"  # of --may

Document = dict[str, Any]


def run(arguments: argparse.Namespace, config: Config) -> int:
    """Do what was asked, and print how it went."""
    problem = _problem(arguments)
    if problem:
        say(problem)
        return EX_USAGE
    actions = {"add": _add, "set": _set, "renew": _renew, "list": _list, "revoke": _revoke}
    return actions[arguments.action](arguments, config)


def _problem(arguments: argparse.Namespace) -> str:
    if arguments.action == "list":
        return "client list takes no name and no rights" if arguments.name or arguments.allow else ""
    if arguments.may is not None and arguments.action != "set":
        return "--may belongs to client set: add the client first"
    if not arguments.name:
        return f"say which client: client {arguments.action} NAME"
    if arguments.action == "add" and not arguments.allow:
        return "say what the client may call: --allow 'secondary/store: [get, put]'; may be repeated"
    if arguments.action == "set":
        return _set_problem(arguments)
    if arguments.action != "add" and (arguments.allow or arguments.http):
        return "--allow and --http belong to client add; `client set NAME --allow RULE` changes what a client may call"
    try:
        if arguments.ttl is not None:
            milliseconds(arguments.ttl)
    except ValueError as error:
        return str(error)
    return ""


def _set_problem(arguments: argparse.Namespace) -> str:
    if arguments.http or arguments.ttl is not None or arguments.bundle is not None:
        return "client set takes --allow and --may: --http is given once, and `client renew` takes --ttl and --bundle"
    if not arguments.allow and arguments.may is None:
        return "say what it may do from now on: --allow 'secondary/store: [get, put]' (all of its lines), or --may lock"
    return ""


def _add(arguments: argparse.Namespace, config: Config) -> int:
    rules = [[target, list(methods)] for target, methods in map(parse_allow, arguments.allow)]
    ttl_ms = milliseconds(arguments.ttl or "90d")
    fields: Document = {"name": arguments.name, "rules": rules, "ttl_ms": ttl_ms, "http": arguments.http}
    return _let_in(arguments, config, "client_add", fields)


def _renew(arguments: argparse.Namespace, config: Config) -> int:
    ttl_ms = milliseconds(arguments.ttl) if arguments.ttl else 0
    return _let_in(arguments, config, "client_renew", {"name": arguments.name, "ttl_ms": ttl_ms})


def _set(arguments: argparse.Namespace, config: Config) -> int:
    rules = [[target, list(methods)] for target, methods in map(parse_allow, arguments.allow or [])]
    fields: Document = {"name": arguments.name, "rules": rules}
    if arguments.may is not None:
        words = [word.strip() for word in arguments.may.split(",") if word.strip()]
        fields["may"] = [] if words == [NOTHING] else words
    with ControlClient(config.run_dir) as client:
        answer = client.ask("client_set", **fields)
    if code := failure(answer):
        return code
    if arguments.json:
        print(json.dumps(answer, indent=2))
    else:
        print(f"client {arguments.name} may do that from now on, and nothing else beside the policy")
        print("\n".join(revoked_lines({**answer, "subjects": []})))
    return _unstored(answer)


def _let_in(arguments: argparse.Namespace, config: Config, verb: str, fields: Document) -> int:
    if arguments.bundle is not None:
        return _bundled(arguments, config, verb, fields)
    with ControlClient(config.run_dir) as client:
        answer = client.ask(verb, **fields, request="")
    if code := failure(answer):
        return code
    _, text, ends = answer["rows"][0]
    if arguments.json:
        print(json.dumps({"client": arguments.name, "code": text, "ends_ms": ends}, indent=2))
        return 0
    host = _EVERYWHERE.get(config.door.host, config.door.host)
    where = f"[{host}]:{config.door.port}" if ":" in host else f"{host}:{config.door.port}"
    until = f"{datetime.fromtimestamp(ends / 1000, UTC):%H:%M:%S} UTC"
    print(f"on the client's machine, once, within 10 minutes (until {until}):\n\n  tlsrt enroll {where} {text}\n")
    print(f"whoever uses this code first is {arguments.name}; `client revoke {arguments.name}` ends both")
    return 0


def _bundled(arguments: argparse.Namespace, config: Config, verb: str, fields: Document) -> int:
    """Make the key here, have it certified, and write the bundle: only the request crosses the socket."""
    from tlsrt.config import pki  # x509 is slow to import

    path: Path = arguments.bundle
    if os.path.lexists(path):
        raise ConfigError(f"{path} exists, and a bundle never overwrites: name another file")
    if not path.parent.is_dir():
        raise ConfigError(f"there is no folder {path.parent}: make it, or name another file")
    request, key = pki.make_request()
    with ControlClient(config.run_dir) as client:
        answer = client.ask(verb, **fields, request=request.hex())
    if code := failure(answer):
        return code
    try:
        ends = _write(path, arguments.name, config, answer["rows"][0], key)
    except TlsrtError:
        say(f"the bundle was not written, so its certificate is of no use: `client revoke {arguments.name}` ends it")
        raise
    if arguments.json:
        print(json.dumps({"client": arguments.name, "bundle": str(path), "ends": ends}, indent=2))
    else:
        print(f"wrote {path}: the bundle of client {arguments.name}, good until {ends}")
        print("move it to the client's machine by a safe way: whoever has it is this client")
        print(f"then, there: tlsrt --bundle {path.name} call LOOP/COMPONENT METHOD")
    return 0


def _write(path: Path, name: str, config: Config, row: list[Any], key: bytes) -> str:
    from cryptography.x509 import load_pem_x509_certificate

    from tlsrt.config import pki
    from tlsrt.config.bundle import VERSION, Bundle, write_bundle

    _, certificate, ca, issuer, version = row
    reach = _EVERYWHERE.get(config.door.host, config.door.host)
    pem = pki.pem_of(bytes.fromhex(certificate))
    bundle = Bundle(
        VERSION, config.install_id, name, reach, config.door.port, reach, pki.pem_of(bytes.fromhex(ca)), pem, key,
        bytes.fromhex(issuer), version,
    )  # fmt: skip
    write_bundle(path, bundle)
    return f"{load_pem_x509_certificate(pem).not_valid_after_utc:%Y-%m-%d %H:%M} UTC"


def _revoke(arguments: argparse.Namespace, config: Config) -> int:
    with ControlClient(config.run_dir) as client:
        answer = client.ask("client_revoke", name=arguments.name)
    if code := failure(answer):
        return code
    if arguments.json:
        print(json.dumps(answer, indent=2))
    else:
        print(f"client {arguments.name} is revoked: its certificates are of no use any more")
        print("\n".join(revoked_lines({**answer, "subjects": []})))
    return _unstored(answer)


def _unstored(answer: Document) -> int:
    if not answer["stored"]:
        say("this works now, but it is not on the disk; tlsrt tries again until it is, and `status` says why it cannot")
        return EX_UNAVAILABLE
    return 0


def _list(arguments: argparse.Namespace, config: Config) -> int:
    clients: list[Document] = []
    after, is_more = "", True
    while is_more:
        with ControlClient(config.run_dir) as client:
            answer = client.ask("client_list", after=after)
        if code := failure(answer):
            return code
        clients += [_client(row) for row in answer["rows"] if row[0] != "more"]
        is_more = ["more"] in answer["rows"] and bool(clients)
        after = clients[-1]["name"] if clients else ""
    now = time.time_ns() // 1_000_000
    print(json.dumps({"clients": clients}, indent=2) if arguments.json else client_table(clients, now))
    return 0


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


def client_table(clients: list[Document], now: int) -> str:
    """Return the clients as people read them, without a last newline; `now` is wall time in ms."""
    rows = [_COLUMNS, *(_row(client, now) for client in clients)]
    return "\n".join(table(rows))


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
