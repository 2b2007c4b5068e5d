"""Whose session Primary may hold: of clients that were enrolled for HTTP, and of nobody else, whatever it claims."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from fakes.authority_service import PRIMARY, SECONDARY, FakeAuthorityService
from hosts.authority_host import ADMIN

from tlsrt.channels.session.grant import parse_grant_untrusted
from tlsrt.config import pki
from tlsrt.config.access import ClientConfig
from tlsrt.errors import PeerError


def stage_of(folder: Path, store: int, *, http: bool) -> FakeAuthorityService:
    stage = FakeAuthorityService(
        folder, store, clients=(ClientConfig("admin", pki.fingerprint(ADMIN.certificate_pem), http),)
    )
    stage.join(PRIMARY, SECONDARY)
    stage.said.clear()
    return stage


def certificate() -> bytes:
    return ssl.PEM_cert_to_DER_cert(ADMIN.certificate_pem.decode())


def delegate(stage: FakeAuthorityService, data: bytes, loop: str = "primary") -> None:
    stage.hear(loop, "delegate", 7, data)


def test_a_client_that_was_enrolled_for_http_is_delegated(tmp_path: Path, store: int) -> None:
    stage = stage_of(tmp_path, store, http=True)
    delegate(stage, certificate())
    [(connection, data)] = stage.of("primary", "delegated")
    content = parse_grant_untrusted(data)
    assert (connection, content.subject) == (7, "client/admin") and content.rights
    assert stage.state.first_opens["client/admin"] == stage.wall


def test_every_later_grant_is_delegated_too(tmp_path: Path, store: int) -> None:
    stage = stage_of(tmp_path, store, http=True)
    delegate(stage, certificate())
    stage.pass_time(200_000)  # more than half of a token's life
    first, second = (parse_grant_untrusted(data) for _, data in stage.of("primary", "delegated")[:2])
    assert second.session == first.session and second.token_expires > first.token_expires
    assert not stage.of("primary", "granted")


def test_one_that_was_not_is_refused_and_nothing_is_said_of_its_keys(tmp_path: Path, store: int) -> None:
    stage = stage_of(tmp_path, store, http=False)
    delegate(stage, certificate())
    assert stage.said == [("primary", "refused", (7, "rejected"))]
    assert "not_enrolled_for_http" in stage.lines[-1]


@pytest.mark.parametrize("data", [b"", b"\x30\x03", b"\x30" * 60_000])
def test_what_is_no_certificate_is_refused(tmp_path: Path, store: int, data: bytes) -> None:
    stage = stage_of(tmp_path, store, http=True)
    delegate(stage, data)
    assert stage.of("primary", "refused") == [(7, "rejected")]


def test_a_revoked_client_is_delegated_no_more(tmp_path: Path, store: int) -> None:
    stage = stage_of(tmp_path, store, http=True)
    stage.revocations.revoke_subjects(["client/admin"], 0, stage.moment)
    delegate(stage, certificate())
    assert not stage.of("primary", "delegated") and stage.of("primary", "refused")


def test_only_primary_may_ask(tmp_path: Path, store: int) -> None:
    stage = stage_of(tmp_path, store, http=True)
    with pytest.raises(PeerError, match="not_primary"):
        delegate(stage, certificate(), loop="secondary")


def test_the_configuration_says_no_unless_it_says_yes() -> None:
    assert ClientConfig("web", bytes(32)).http is False
