"""Clients that are enrolled on a stage: the operator's requests, and who is let in."""

from __future__ import annotations

import time
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from fakes.authority_service import PRIMARY, SECONDARY, THIRD, FakeAuthorityService

from hosts.authority_host import Client
from tlsrt.channels.session.enrolment import JoinCode, parse_code
from tlsrt.config import pki
from tlsrt.supervisor.messages.result_codes import ResultCode
from tlsrt.supervisor.messages.sealed_code import open_code

DAY = 86_400_000
STORE = [["secondary/store", ["get"]]]


def ready(stage: FakeAuthorityService) -> FakeAuthorityService:
    stage.wall = time.time_ns() // 1_000_000
    stage.join(PRIMARY, SECONDARY, THIRD)
    return stage


def ask(stage: FakeAuthorityService, name: str, *fields: object) -> tuple[int, list[Any]]:
    """Return the code and the rows of the answer."""
    before = len(stage.told)
    stage.ask(name, 7, *fields)
    answers = [told for told in stage.told[before:] if told[0] == "answer"]
    assert len(answers) == 1 and answers[0][1] == 7
    return answers[0][2], answers[0][4]


def code_from(stage: FakeAuthorityService, name: str, *fields: object) -> tuple[JoinCode, int]:
    """Return the join code that a request of the operator makes for a client, and when it ends."""
    private = X25519PrivateKey.generate()
    page = [""] if name == "client_add" else []
    code, rows = ask(stage, name, *fields, b"", private.public_key().public_bytes_raw(), *page)
    assert code == ResultCode.DONE and rows[0][0] == "code", rows
    return parse_code(open_code(rows[0][1], str(fields[0]), private)), rows[0][2]


def add(stage: FakeAuthorityService, name: str, http: bool = False, ttl_ms: int = DAY, rules: object = STORE) -> Client:
    request, key = pki.make_request()
    code, rows = ask(stage, "client_add", name, rules, ttl_ms, int(http), request, b"", "")
    assert code == ResultCode.DONE, rows
    return Client(pki.Issued(pki.pem_of(rows[0][1]), key))


def renew(stage: FakeAuthorityService, name: str) -> Client:
    request, key = pki.make_request()
    code, rows = ask(stage, "client_renew", name, 0, request, b"")
    assert code == ResultCode.DONE, rows
    return Client(pki.Issued(pki.pem_of(rows[0][1]), key))


def is_let_in(stage: FakeAuthorityService, connection: int, client: Client) -> bool:
    names = [name for _, name, _ in stage.open(connection, client)]
    assert ("granted" in names) != ("refused" in names)
    return "granted" in names
