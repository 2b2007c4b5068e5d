"""What a client is told when a certificate is refused for its time. All times are fixed."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta

import pytest

from tlsrt.channels.client.connection import error_of
from tlsrt.config import pki
from tlsrt.errors import ConfigError, Rejected

MADE = datetime(2026, 5, 6, 12, tzinfo=UTC)
INSTALL = bytes(16)
CA = pki.make_ca(INSTALL, MADE)
CLIENT = pki.issue_client(CA, INSTALL, "admin", MADE)
OWN = ssl.PEM_cert_to_DER_cert(CLIENT.certificate_pem.decode())
ALERT = "tlsv1_alert_bad_certificate"


@pytest.mark.parametrize("issued", [CA, CLIENT, pki.issue_server(CA, INSTALL, "localhost", MADE)])
def test_each_certificate_begins_before_it_is_made(issued: pki.Issued) -> None:
    """For a client or a host whose clock is a little behind."""
    assert pki._load(issued.certificate_pem).not_valid_before_utc == MADE - timedelta(minutes=5)


def refused(now: datetime) -> str:
    error = error_of("", f"tls_{ALERT}", "bad certificate", "there:1", OWN, now)
    assert isinstance(error, Rejected) and "does not accept this bundle's certificate (bad certificate)" in str(error)
    return str(error).partition("(bad certificate)")[2]


def test_a_certificate_of_ours_that_was_refused_for_its_time_says_whose_clock_to_check() -> None:
    behind = refused(MADE - timedelta(minutes=6))
    assert "has not begun yet by the clock of this machine, 2026-05-06 11:54:00 UTC, but does at" in behind
    assert behind.endswith("11:55:00 UTC: check the clocks of this machine and of the server")
    assert refused(MADE).endswith("at 2026-05-06 11:55:00 UTC, check the clock of the server")
    assert refused(MADE + timedelta(days=90)) == ""
    assert "ended at 2027-06-07 12:00:00 UTC: get a new bundle" in refused(MADE + timedelta(days=400))


def test_a_certificate_of_the_server_that_has_not_begun_is_no_other_server() -> None:
    detail = "certificate is not yet valid"
    error = error_of("", "tls_certificate_is_not_yet_valid", detail, "there:1", OWN, MADE)
    assert isinstance(error, ConfigError) and "cannot prove" not in str(error)
    assert str(error) == (
        "the certificate of the server at there:1 has not begun yet by the clock of this machine, "
        "2026-05-06 12:00:00 UTC: check this clock; if it is right, that of the server"
    )
    other = error_of("", "tls_unable_to_get_local_issuer_certificate", "unable to get issuer", "there:1", OWN, MADE)
    assert "cannot prove that it is the one in the bundle" in str(other)
