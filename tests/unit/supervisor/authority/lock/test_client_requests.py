"""Lock and unlock by clients in the authority, with time in the hand of the test and a Primary that may be captured."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from fakes.authority_service import PRIMARY, THIRD, FakeAuthorityService
from hosts.authority_host import ADMIN, INSTALL, NONCE

from tlsrt.channels.session.lock_statement import lock_statement, sign_statement, unlock_statement
from tlsrt.config import key_schedule, pki
from tlsrt.config.access import ClientConfig
from tlsrt.errors import PeerError
from tlsrt.supervisor.authority.clients.challenges import CHALLENGE_MS
from tlsrt.supervisor.authority.lock.client_requests import TRIES, TRIES_S
from tlsrt.supervisor.authority.model.state import StateFile

BOOT = key_schedule.boot_id(NONCE)
KEY = load_pem_private_key(ADMIN.key_pem, None)


def stage_of(folder: Path, store: int, *may: str, http: bool = False) -> FakeAuthorityService:
    client = ClientConfig("admin", pki.fingerprint(ADMIN.certificate_pem), http=http, may=may)
    stage = FakeAuthorityService(folder, store, clients=(client,))
    stage.join(PRIMARY, THIRD)
    return stage


@pytest.fixture
def stage(tmp_path: Path, store: int) -> FakeAuthorityService:
    return stage_of(tmp_path, store, "lock", "unlock")


@pytest.fixture
def locked(stage: FakeAuthorityService) -> FakeAuthorityService:
    return lock(stage)


def lock(stage: FakeAuthorityService) -> FakeAuthorityService:
    """Lock, and bring the Primary of the locked door."""
    stage.lock.engage("a test", "a detector", stage.moment)
    bring_primary(stage, 9)
    return stage


def bring_primary(stage: FakeAuthorityService, incarnation: int) -> None:
    stage.ask("spawned", "primary", incarnation)
    stage.hear("primary", "join")
    stage.ask("attested", "primary", incarnation, stage.state.epoch)


def der() -> bytes:
    return ssl.PEM_cert_to_DER_cert(ADMIN.certificate_pem.decode())


def challenge(stage: FakeAuthorityService, connection: int = 1) -> bytes:
    stage.hear("primary", "challenge", connection)
    found: bytes = stage.of("primary", "challenged")[-1][1]
    return found


def unlock(stage: FakeAuthorityService, given: bytes, connection: int = 1, **changes: bytes) -> tuple[Any, ...]:
    """Say as Primary what a client has signed; return what the client is told."""
    record = stage.state.lock
    fields = {
        "install": INSTALL, "boot": BOOT, "lock": record.lock if record else bytes(16), "challenge": given
    } | changes  # fmt: skip
    signature = sign_statement(KEY, unlock_statement(**fields))
    stage.hear("primary", "unlock", connection, der(), signature)
    return stage.of("primary", "answered")[-1]


def ask_to_lock(stage: FakeAuthorityService, reason: str = "by night", connection: int = 1) -> bytes:
    """Say as Primary what a client has signed; return the signature."""
    statement = lock_statement(INSTALL, BOOT, challenge(stage, connection), reason)
    signature = sign_statement(KEY, statement)
    stage.hear("primary", "lock", connection, der(), reason, signature)
    return signature


def test_a_client_that_may_unlocks(locked: FakeAuthorityService, store: int) -> None:
    assert unlock(locked, challenge(locked)) == (1, "unlocked")
    assert not locked.lock.is_locked and StateFile(store).load().lock is None
    assert not locked.provisioner.may_read("primary"), "the one that has carried it gets nothing any more"


def test_a_client_that_may_locks(stage: FakeAuthorityService) -> None:
    ask_to_lock(stage)
    record = stage.state.lock
    assert record is not None and (record.reason, record.by) == ("by night", "client/admin")


@pytest.mark.parametrize(
    "changes", [{"install": b"x" * 16}, {"boot": b"x" * 16}, {"lock": b"x" * 16}, {"challenge": b"x" * 32}]
)
def test_every_field_counts(locked: FakeAuthorityService, changes: dict[str, bytes]) -> None:
    assert unlock(locked, challenge(locked), 1, **changes) == (1, "rejected")
    assert locked.lock.is_locked


def test_a_challenge_is_good_once_for_its_connection_and_for_ten_seconds(locked: FakeAuthorityService) -> None:
    given = challenge(locked, 1)
    assert unlock(locked, given, connection=2) == (2, "rejected")
    given = challenge(locked, 1)
    locked.now += CHALLENGE_MS
    assert unlock(locked, given) == (1, "rejected")
    assert unlock(locked, given) == (1, "rejected"), "and is gone"
    assert locked.lock.is_locked
    assert "challenge_unknown" in locked.lines[-1] and "challenge_expired" in locked.lines[-2]


def test_a_signature_for_a_lock_is_none_for_the_next_one(locked: FakeAuthorityService) -> None:
    before = locked.state.lock
    assert before is not None
    assert unlock(locked, challenge(locked)) == (1, "unlocked")
    bring_primary(locked, 10)
    lock(locked)
    assert unlock(locked, challenge(locked), lock=before.lock) == (1, "rejected")
    assert locked.lock.is_locked


@pytest.mark.parametrize("may", [(), ("lock",)])
def test_a_client_that_may_not(tmp_path: Path, store: int, may: tuple[str, ...]) -> None:
    stage = lock(stage_of(tmp_path, store, *may))
    assert unlock(stage, challenge(stage)) == (1, "rejected")
    assert "may_not_unlock" in stage.lines[-1] and stage.lock.is_locked


def test_a_client_that_may_not_lock(tmp_path: Path, store: int) -> None:
    stage = stage_of(tmp_path, store, "unlock")
    ask_to_lock(stage)
    assert stage.of("primary", "answered") == [(1, "rejected")] and not stage.lock.is_locked


def test_a_client_for_http_never_may(tmp_path: Path, store: int) -> None:
    """The configuration refuses it; were it let through, it would still be worth nothing."""
    stage = lock(stage_of(tmp_path, store, "lock", "unlock", http=True))
    assert unlock(stage, challenge(stage)) == (1, "rejected")


def test_a_client_that_is_shut_out(locked: FakeAuthorityService) -> None:
    locked.revocations.revoke_subjects(["client/admin"], 0, locked.moment)
    assert unlock(locked, challenge(locked)) == (1, "rejected")
    assert "revoked" in locked.lines[-1]


def test_a_certificate_that_has_ended(locked: FakeAuthorityService) -> None:
    given = challenge(locked)
    locked.wall += 100 * 365 * 24 * 3_600_000
    assert unlock(locked, given) == (1, "rejected")
    assert "certificate" in locked.lines[-1]


def test_a_lock_cannot_be_said_again(stage: FakeAuthorityService) -> None:
    """A captured Primary that kept what a client has signed has nothing in hand for later."""
    signature = ask_to_lock(stage)
    stage.lock.unlock(b"", "operator", stage.moment, lambda problem: None)
    bring_primary(stage, 10)
    stage.hear("primary", "lock", 1, der(), "by night", signature)
    challenge(stage, 1)
    stage.hear("primary", "lock", 1, der(), "by night", signature)
    assert not stage.lock.is_locked
    assert [word for _, word in stage.of("primary", "answered")] == ["rejected", "rejected"]


def test_another_reason_than_was_signed_is_refused(stage: FakeAuthorityService) -> None:
    statement = lock_statement(INSTALL, BOOT, challenge(stage), "by night")
    fields = [1, der(), "for fun", sign_statement(KEY, statement)]
    stage.hear("primary", "lock", *fields)
    assert not stage.lock.is_locked


def test_only_primary_carries_them(locked: FakeAuthorityService) -> None:
    for name, fields in (("unlock", [1, der(), b"s"]), ("lock", [1, der(), "", b"s"])):
        with pytest.raises(PeerError, match="not_primary"):
            locked.hear("third", name, *fields)


def test_so_many_tries_are_looked_at_and_no_more(locked: FakeAuthorityService) -> None:
    words = [unlock(locked, challenge(locked), lock=b"x" * 16)[1] for _ in range(TRIES + 5)]
    assert words == ["rejected"] * TRIES + ["busy"] * 5
    assert unlock(locked, challenge(locked)) == (1, "busy")
    locked.now += int(1000 / TRIES_S) + 1
    assert unlock(locked, challenge(locked)) == (1, "unlocked")


def test_a_disk_that_refuses_is_another_word(locked: FakeAuthorityService, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", refuse)
    assert unlock(locked, challenge(locked)) == (1, "unchanged")
    assert locked.lock.is_locked


def test_garbage_is_refused(locked: FakeAuthorityService) -> None:
    for certificate in (b"", b"x", der()[:-1], der() + b"x"):
        challenge(locked)
        fields = [1, certificate, b"s" * 70]
        locked.hear("primary", "unlock", *fields)
        assert locked.of("primary", "answered")[-1] == (1, "rejected")
    assert locked.lock.is_locked
