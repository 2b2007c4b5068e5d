"""Revocation lists: who is refused by them, and which are refused themselves."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.x509 import load_pem_x509_certificate
from fakes.revocation_lists import make_crl
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.config import pki
from tlsrt.errors import ConfigError, PeerError
from tlsrt.supervisor.authority.model.crl import parse_revocation_lists

NOW = datetime.now(UTC)
INSTALL = bytes(16)
CA, OTHER_CA = pki.make_ca(INSTALL, NOW), pki.make_ca(bytes([1]) * 16, NOW)
GOOD, BAD = (pki.issue_client(CA, INSTALL, name, NOW) for name in ("good", "bad"))
AUTHORITIES = [load_pem_x509_certificate(CA.certificate_pem)]
WALL = int(time.time() * 1000)
DAY_MS = 86_400_000


def test_who_is_on_the_list_is_refused() -> None:
    lists = parse_revocation_lists(make_crl(CA, [BAD.certificate_pem]), AUTHORITIES)
    lists.check(load_pem_x509_certificate(GOOD.certificate_pem), WALL)
    with pytest.raises(PeerError, match="certificate_revoked"):
        lists.check(load_pem_x509_certificate(BAD.certificate_pem), WALL)


def test_a_list_that_has_ended_refuses_everybody() -> None:
    lists = parse_revocation_lists(make_crl(CA, lasts=timedelta(days=2)), AUTHORITIES)
    with pytest.raises(PeerError, match="crl_stale"):
        lists.check(load_pem_x509_certificate(GOOD.certificate_pem), WALL + 3 * DAY_MS)
    with pytest.raises(ConfigError, match="ended on"):
        lists.check_time(WALL + 3 * DAY_MS)


def test_a_client_of_another_ca_has_no_list() -> None:
    other = pki.issue_client(OTHER_CA, INSTALL, "other", NOW)
    with pytest.raises(PeerError, match="crl_missing"):
        parse_revocation_lists(make_crl(CA), AUTHORITIES).check(load_pem_x509_certificate(other.certificate_pem), WALL)


def test_the_end_is_said_well_before() -> None:
    lists = parse_revocation_lists(make_crl(CA, lasts=timedelta(days=40)), AUTHORITIES)
    assert lists.warnings(WALL) == lists.warnings(WALL + 29 * DAY_MS) == []
    assert "then every client is refused" in lists.warnings(WALL + 31 * DAY_MS)[0]
    assert "every client is refused" in lists.warnings(WALL + 41 * DAY_MS)[0]
    short = parse_revocation_lists(make_crl(CA, lasts=timedelta(hours=30)), AUTHORITIES)
    assert short.warnings(WALL) == [] and len(short.warnings(WALL + DAY_MS // 2)) == 1


def test_several_lists_in_one_file() -> None:
    both = [*AUTHORITIES, load_pem_x509_certificate(OTHER_CA.certificate_pem)]
    lists = parse_revocation_lists(make_crl(OTHER_CA) + b"\n" + make_crl(CA, [BAD.certificate_pem]), both)
    with pytest.raises(PeerError, match="certificate_revoked"):
        lists.check(load_pem_x509_certificate(BAD.certificate_pem), WALL)


def test_which_lists_are_refused() -> None:
    forged = pki.Issued(CA.certificate_pem, OTHER_CA.key_pem)
    for data, says in (
        (b"no list", "holds no certificate revocation list"),
        (make_crl(OTHER_CA), "has no list of the client CA"),
        (make_crl(forged), "is not signed by"),
    ):
        with pytest.raises(ConfigError, match=says):
            parse_revocation_lists(data, AUTHORITIES)


@given(st.binary(max_size=300))
def test_any_bytes_are_lists_or_the_one_error(data: bytes) -> None:
    with pytest.raises(ConfigError):
        parse_revocation_lists(data, AUTHORITIES)
