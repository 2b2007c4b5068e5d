"""Names of the server: which are names, by which a client reaches a door, and another certificate with more of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tlsrt.config import pki
from tlsrt.config.init import initialise
from tlsrt.config.load import load_config
from tlsrt.config.schema import Config
from tlsrt.config.server_certificate import (
    check_name,
    days_left,
    reachable_names,
    read_server_certificate,
    renew_server_certificate,
)
from tlsrt.errors import ConfigError

NOW = datetime.now(UTC)
LOCAL = ("localhost", "127.0.0.1", "::1")
SOME = (*LOCAL, "10.1.1.1", "kettle.local", "fd00::1")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    folder = tmp_path / "var"
    initialise(folder, host="0.0.0.0", port=7443, now=NOW, names=["Kettle.local.", "10.1.1.1"])
    return load_config(folder / "tlsrt.yaml")


@pytest.mark.parametrize(
    ("host", "names"),
    [
        ("0.0.0.0", ["kettle.local", "10.1.1.1", "fd00::1", "127.0.0.1"]),
        ("::", ["kettle.local", "10.1.1.1", "fd00::1", "::1"]),
        ("10.1.1.1", ["kettle.local", "10.1.1.1"]),
        ("127.0.0.1", ["127.0.0.1"]),
        ("127.0.0.9", ["127.0.0.9"]),
    ],
)
def test_a_client_reaches_a_door_by_a_name_first_and_by_what_it_listens_on(host: str, names: list[str]) -> None:
    assert reachable_names(SOME, host) == names


@pytest.mark.parametrize("name", ["kettle.local", "a", "xn--ketle-kva.example", "10.1.1.1", "fd00::1", "_x.y"])
def test_what_is_a_name_stays_as_it_is(name: str) -> None:
    assert check_name(name) == name
    assert check_name(name.upper()) == name


@pytest.mark.parametrize(
    "name", ["", ".", "-a", "a-", "a..b", "a b", "é", "a" * 64, "a." * 127 + "a", "1.2.3", "*.a", "a\n"]
)
def test_what_is_no_name_is_refused_with_an_example(name: str) -> None:
    with pytest.raises(ConfigError, match=r"is no name of a host: use one like kettle\.local"):
        check_name(name)


def test_init_names_what_clients_reach(config: Config) -> None:
    assert read_server_certificate(config.door.certificate).names == (*LOCAL, "kettle.local", "10.1.1.1")


def test_a_renewed_certificate_is_of_the_same_key_and_ends_later(config: Config) -> None:
    key, mode = config.door.key.read_bytes(), config.door.certificate.stat().st_mode
    later = NOW + timedelta(days=300)
    renewed = renew_server_certificate(config, [], later)
    assert not renewed.is_seal_needed
    assert days_left(renewed.certificate, later) in (396, 397)  # a certificate has no fractions of a second
    assert (config.door.key.read_bytes(), config.door.certificate.stat().st_mode) == (key, mode)


def test_names_come_and_go_and_the_token_has_to_know(config: Config) -> None:
    renewed = renew_server_certificate(config, ["Toaster.local", "kettle.local"], NOW, drop=["10.1.1.1"])
    assert renewed.is_seal_needed
    assert renewed.certificate.names == (*LOCAL, "kettle.local", "toaster.local")
    with pytest.raises(ConfigError, match=r"cannot drop 10\.1\.1\.1: the certificate names localhost, "):
        renew_server_certificate(config, [], NOW, drop=["10.1.1.1"])
    with pytest.raises(ConfigError, match="cannot drop every name"):
        renew_server_certificate(config, [], NOW, drop=renewed.certificate.names)
    with pytest.raises(ConfigError, match="cannot name 85 hosts in one certificate: at most 64"):
        renew_server_certificate(config, [f"h{number}" for number in range(80)], NOW)


def test_what_another_ca_issued_and_a_key_of_another_are_refused_and_stay(config: Config) -> None:
    before = config.door.certificate.read_bytes()
    other = pki.make_ca(config.install_id, NOW)
    foreign = pki.issue_server(other, config.install_id, "kettle.local", NOW)
    config.door.certificate.write_bytes(foreign.certificate_pem)
    with pytest.raises(ConfigError, match=r"cannot renew a certificate of CN=tlsrt .* CA: only those of the dev"):
        renew_server_certificate(config, [], NOW)
    assert config.door.certificate.read_bytes() == foreign.certificate_pem
    config.door.certificate.write_bytes(before)
    config.door.key.write_bytes(foreign.key_pem)
    with pytest.raises(ConfigError, match="the private key of the server certificate belongs to another certificate"):
        renew_server_certificate(config, [], NOW)
    config.door.key.write_bytes(b"no key")
    with pytest.raises(ConfigError, match="this is not a PEM private key"):
        renew_server_certificate(config, [], NOW)
    assert config.door.certificate.read_bytes() == before
