"""What the authority does with `client add`, `renew`, `revoke` and `list`: with certificates, without processes."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any

import pytest
from fakes.authority_service import PRIMARY, SECONDARY, THIRD, FakeAuthorityService
from hosts.authority_host import INSTALL, Client
from hosts.enrolment import DAY, STORE, add, ask, is_let_in, ready, renew

from tlsrt.config import pki
from tlsrt.config.door import DoorConfig
from tlsrt.supervisor.authority.clients.admin import NO_HTTP
from tlsrt.supervisor.authority.model.state import StateFile
from tlsrt.supervisor.messages.result_codes import ResultCode


def rights(stage: FakeAuthorityService, connection: int, client: Client) -> dict[str, tuple[str, ...]]:
    granted = [fields for _, name, fields in stage.open(connection, client) if name == "granted"]
    content = client.read(stage.context.keys.newest.issuer.public, granted[-1])
    assert content.subject.startswith("client/")
    return {right.target: tuple(right.methods) for right in content.rights}


def test_an_enrolled_client_gets_its_rights_at_once_and_no_more(stage: FakeAuthorityService) -> None:
    phone = add(stage, "phone")
    assert rights(stage, 1, phone) == {"secondary/store": ("describe", "get")}
    assert [row[1:5] for row in ask(stage, "client_list", "")[1]] == [
        ["admin", False, 0, 0], ["phone", False, 1, stage.wall],
    ]  # fmt: skip


def test_it_is_on_the_disk_before_it_is_answered(stage: FakeAuthorityService, folder: int, tmp_path: Path) -> None:
    phone = add(stage, "phone")
    assert StateFile(folder).load().enrolled.keys() == {"phone"}
    again = FakeAuthorityService(_other(tmp_path), folder, state=StateFile(folder).load())
    again.wall = stage.wall
    again.join(PRIMARY, SECONDARY, THIRD)
    assert is_let_in(again, 1, phone)


def _other(tmp_path: Path) -> Path:
    other = tmp_path / "other"
    other.mkdir()
    return other


def test_what_the_disk_refuses_has_not_happened(stage: FakeAuthorityService, folder: int, tmp_path: Path) -> None:
    os.mkdir("authority.state.new", dir_fd=folder)  # so that nothing can be written there
    request, _ = pki.make_request()
    code, rows = ask(stage, "client_add", "phone", STORE, DAY, 0, request, b"", "")
    assert code == ResultCode.UNCHANGED and "nothing has changed" in rows[0]
    os.rmdir("authority.state.new", dir_fd=folder)
    assert is_let_in(stage, 1, add(stage, "phone"))


def test_revoked_is_out_at_once_and_for_good(stage: FakeAuthorityService) -> None:
    phone = add(stage, "phone")
    assert is_let_in(stage, 1, phone)
    session = stage.of("primary", "granted")[-1][4]
    code, rows = ask(stage, "client_revoke", "phone")
    assert code == ResultCode.DONE and ["count", 1] in rows
    assert ("primary", "ended", (session,)) in stage.said
    told = [fields[2] for _, name, fields in stage.said if name == "revoked"]
    assert session in told, "every verifier refuses the session"
    assert not is_let_in(stage, 2, Client(phone.issued))
    assert not is_let_in(stage, 3, Client(phone.issued)), "and stays out"
    assert is_let_in(stage, 4, add(stage, "phone")), "the name may be given to another key"
    assert not is_let_in(stage, 5, Client(phone.issued))
    assert ask(stage, "client_revoke", "nobody")[0] == ResultCode.REFUSED


def test_the_old_certificate_ends_when_the_new_one_is_used(stage: FakeAuthorityService) -> None:
    old = add(stage, "phone")
    assert is_let_in(stage, 1, old)
    old_session = stage.of("primary", "granted")[-1][4]
    lost = renew(stage, "phone")  # its bundle never reached the client
    new = renew(stage, "phone")
    assert is_let_in(stage, 2, Client(old.issued)), "an answer that was lost locks nobody out"
    assert not is_let_in(stage, 3, lost)
    assert is_let_in(stage, 4, new)
    ended = [fields[0] for _, name, fields in stage.said if name == "ended"]
    assert len(set(ended)) == 2 and old_session in ended, "what was opened with the old one has ended"
    assert not is_let_in(stage, 5, Client(old.issued))


def test_a_certificate_is_of_no_use_after_its_end(stage: FakeAuthorityService) -> None:
    phone = add(stage, "phone", ttl_ms=60_000)
    stage.wall += 61_000
    assert not is_let_in(stage, 1, phone)
    assert stage.lines[-1].endswith("certificate_time")


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (("admin", STORE, DAY, 0), "the configuration lists a client admin"),
        (("Phone", STORE, DAY, 0), "is no client name"),
        (("phone", [["secondary/shop", ["get"]]], DAY, 0), "there is no component secondary/shop"),
        (("phone", [], DAY, 0), "give a client 1 to 64 rules"),
        (("phone", STORE, 1, 0), "from 60s to 397d"),
        (("phone", STORE, 400 * DAY, 0), "from 60s to 397d"),
        (("phone", [["*/*", [f"m{n:060}" for n in range(200)]]], DAY, 0), "too much for one token"),
    ],
)
def test_what_makes_no_client_is_refused_in_one_sentence(
    stage: FakeAuthorityService, fields: tuple[Any, ...], sentence: str
) -> None:
    code, rows = ask(stage, "client_add", *fields, pki.make_request()[0], b"", "")
    assert code == ResultCode.REFUSED and sentence in rows[0]
    assert not stage.state.enrolled


def test_a_request_without_its_key_is_refused(stage: FakeAuthorityService) -> None:
    request = pki.make_request()[0]
    broken = request[:-1] + bytes([request[-1] ^ 1])
    for bad in (broken, request[:40], b"\x30" * 3000):
        assert ask(stage, "client_add", "phone", STORE, DAY, 0, bad, b"", "")[0] == ResultCode.REFUSED


def test_a_host_without_http_enrols_nobody_for_it(stage: FakeAuthorityService) -> None:
    code, rows = ask(stage, "client_add", "browser", STORE, DAY, 1, pki.make_request()[0], b"", "")
    assert code == ResultCode.REFUSED and rows == [NO_HTTP]


def test_who_may_use_http_is_said_once_and_kept(tmp_path: Path, folder: int) -> None:
    door = DoorConfig("127.0.0.1", 0, Path("c"), Path("k"), Path("a"), http=True)
    stage = ready(FakeAuthorityService(tmp_path, folder, door=door))
    browser, phone = add(stage, "browser", http=True), add(stage, "phone")
    for connection, client, word in ((1, browser, "delegated"), (2, phone, "refused")):
        der = ssl.PEM_cert_to_DER_cert(client.issued.certificate_pem.decode())
        before = len(stage.said)
        stage.hear("primary", "delegate", connection, der)
        assert word in [name for _, name, _ in stage.said[before:]]


def test_pages_are_bounded_and_the_list_is_whole(stage: FakeAuthorityService) -> None:
    request, _ = pki.make_request()
    rules = [["secondary/store", [f"m{n:050}" for n in range(60)]]]
    for number in range(12):
        assert ask(stage, "client_add", f"c{number:02}", rules, DAY, 0, request, b"", "")[0] == ResultCode.DONE
    found: list[str] = []
    pages = 0
    while True:
        rows = ask(stage, "client_list", found[-1] if found else "")[1]
        pages += 1
        found += [row[1] for row in rows if row[0] != "more"]
        if ["more"] not in rows:
            break
    assert found == ["admin", *(f"c{n:02}" for n in range(12))] and pages > 1


def test_the_certificate_says_who_it_is() -> None:
    assert pki.client_uri(INSTALL, "phone") == f"spiffe://tlsrt.{INSTALL.hex()}/client/phone"
