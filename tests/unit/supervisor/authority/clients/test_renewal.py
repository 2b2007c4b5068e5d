"""A client's renewal at the authority: for its own key, in its own session, once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate
from fakes.authority_service import FakeAuthorityService
from hosts.authority_host import ADMIN, INSTALL, NONCE, Client
from hosts.enrolment import STORE, add, ask, is_let_in, ready

from tlsrt.channels.session.certificate_renewal import Renewing, due_in_s, retry_in_s
from tlsrt.config import key_schedule, pki
from tlsrt.errors import PeerError
from tlsrt.supervisor.messages.result_codes import ResultCode

BOOT = key_schedule.boot_id(NONCE)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[FakeAuthorityService]:
    folder = os.open(tmp_path, os.O_RDONLY)
    yield ready(FakeAuthorityService(tmp_path, folder))
    os.close(folder)


def der(client: Client) -> bytes:
    return load_pem_x509_certificate(client.issued.certificate_pem).public_bytes(Encoding.DER)


def renewing(stage: FakeAuthorityService, client: Client, session: bytes = b"", key: object = None) -> Renewing:
    """Return a renewal in the session that was granted last."""
    session = session or stage.of("primary", "granted")[-1][4]
    own = load_pem_private_key(client.issued.key_pem, None)
    return Renewing(key or own, der(client), INSTALL, BOOT, session)


def say(stage: FakeAuthorityService, one: Renewing, connection: int = 1, request: bytes = b"") -> tuple[bytes, bytes]:
    """Let Primary pass it on; return certificate and signature, empty for a refusal."""
    stage.hear("primary", "renew", connection, request or one.request, one.signature)  # fmt: skip
    told, certificate, signature = stage.of("primary", "renewed")[-1]
    assert told == connection
    return certificate, signature


def test_a_client_gets_another_certificate_and_ends_the_old_one_by_using_it(stage: FakeAuthorityService) -> None:
    phone = add(stage, "phone")
    assert is_let_in(stage, 1, phone)
    one = renewing(stage, phone)
    answer = say(stage, one)
    issuer = stage.context.keys.newest.issuer.public
    new = Client(pki.Issued(*one.accept_untrusted(issuer, *answer)))
    assert is_let_in(stage, 2, Client(phone.issued)), "the old one is good until then"
    assert is_let_in(stage, 3, new)
    assert not is_let_in(stage, 4, Client(phone.issued))
    with pytest.raises(PeerError, match="renewal_signature"):
        one.accept_untrusted(issuer, answer[0][:-1] + bytes([answer[0][-1] ^ 1]), answer[1])
    other = renewing(stage, phone)
    with pytest.raises(PeerError, match="renewal_signature"):
        other.accept_untrusted(issuer, *answer)


def test_once_in_a_session(stage: FakeAuthorityService) -> None:
    phone = add(stage, "phone")
    assert is_let_in(stage, 1, phone)
    one = renewing(stage, phone)
    assert say(stage, one)[0]
    assert say(stage, one) == say(stage, renewing(stage, phone)) == (b"", b"")
    assert is_let_in(stage, 1, Client(phone.issued)) and say(stage, one) == (b"", b""), "a replay in the next session"


def test_only_who_has_the_key_and_the_session(stage: FakeAuthorityService) -> None:
    phone = add(stage, "phone")
    assert is_let_in(stage, 1, phone)
    good = renewing(stage, phone)
    for bad in (
        renewing(stage, phone, key=generate_private_key(SECP256R1())),  # a captured Primary, with a key of its own
        renewing(stage, phone, session=bytes(16)),
    ):
        assert say(stage, bad) == (b"", b"")
    assert say(stage, good, request=pki.make_request()[0]) == (b"", b""), "another request under a captured signature"
    assert say(stage, good, connection=9) == (b"", b""), "a connection without a session"
    assert len(stage.state.enrolled["phone"].certificates) == 1
    assert say(stage, good)[0]


def test_who_is_not_enrolled_gets_none(stage: FakeAuthorityService) -> None:
    admin = Client(ADMIN)
    assert is_let_in(stage, 1, admin)
    assert say(stage, renewing(stage, admin)) == (b"", b"")
    assert stage.lines[-1].endswith("renewal_of_a_listed_client")
    phone = add(stage, "phone")
    assert is_let_in(stage, 2, phone)
    one = renewing(stage, phone)
    assert ask(stage, "client_revoke", "phone")[0] == ResultCode.DONE
    assert say(stage, one, connection=2) == (b"", b"")


def test_what_the_disk_refuses_changes_nothing(stage: FakeAuthorityService, tmp_path: Path) -> None:
    phone = add(stage, "phone")
    assert is_let_in(stage, 1, phone)
    (tmp_path / "authority.state.new").mkdir()
    assert say(stage, renewing(stage, phone)) == (b"", b"")
    (tmp_path / "authority.state.new").rmdir()
    assert len(stage.state.enrolled["phone"].certificates) == 1


def test_two_processes_may_renew_at_once(stage: FakeAuthorityService) -> None:
    phone = add(stage, "phone", rules=STORE)
    issuer = stage.context.keys.newest.issuer.public
    made: list[Client] = []
    for connection in (1, 2):
        assert is_let_in(stage, connection, Client(phone.issued))
        one = renewing(stage, phone)
        made.append(Client(pki.Issued(*one.accept_untrusted(issuer, *say(stage, one, connection)))))
    assert is_let_in(stage, 3, made[0]), "the first one is good, whoever was later"
    assert not is_let_in(stage, 4, Client(phone.issued))


def test_when_a_certificate_is_renewed() -> None:
    certificate = load_pem_x509_certificate(ADMIN.certificate_pem)
    data = certificate.public_bytes(Encoding.DER)
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    life = (ends - begins).total_seconds()
    for chance, share in ((0.0, 0.61), (0.5, 0.66), (1.0, 0.71)):
        assert share * life < due_in_s(data, begins, chance) < (share + 0.02) * life
    assert due_in_s(data, ends, 0.5) == 0.0
    assert retry_in_s(data, ends - timedelta(days=10)) == pytest.approx(86_400)
    assert retry_in_s(data, datetime.now(UTC) + timedelta(days=4000)) == 60.0
