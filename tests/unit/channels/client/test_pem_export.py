"""PEM files of a bundle: all or none, never over anything, and a line that a shell reads as it is meant."""

from __future__ import annotations

import dataclasses
import datetime
import shlex
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs12
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.channels.client.pem_export import PemFiles, curl_line, export_pem
from tlsrt.config.bundle import Bundle
from tlsrt.errors import ConfigError

BUNDLE = Bundle(1, bytes(range(16)), "admin", "127.0.0.1", 7443, "127.0.0.1", b"CA", b"CERT", b"SECRET", b"i" * 32)


def test_three_files_and_their_modes(tmp_path: Path) -> None:
    files = export_pem(BUNDLE, tmp_path / "pem")
    assert [path.read_bytes() for path in files] == [b"CA", b"CERT", b"SECRET"]
    assert files.key.stat().st_mode & 0o7777 == 0o600 and files.key.parent.stat().st_mode & 0o7777 == 0o700
    assert [path.name for path in tmp_path.iterdir()] == ["pem"]


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_it_never_overwrites(kind: str, tmp_path: Path) -> None:
    place = tmp_path / "pem"
    if kind == "link":
        place.symlink_to(tmp_path / "elsewhere")
    elif kind == "file":
        place.write_bytes(b"kept")
    else:
        place.mkdir()
        (place / "key.pem").write_bytes(b"kept")
    with pytest.raises(ConfigError, match=r"there is something at .*/pem already: name a folder"):
        export_pem(BUNDLE, place)
    assert [path.name for path in tmp_path.iterdir()] == ["pem"]
    assert kind != "folder" or [path.read_bytes() for path in place.iterdir()] == [b"kept"]


def test_who_was_quicker_keeps_what_is_his(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "pem"

    def look(path: Path) -> bool:
        place.mkdir()
        (place / "key.pem").write_bytes(b"kept")
        return False

    monkeypatch.setattr("os.path.lexists", look)
    with pytest.raises(ConfigError, match=r"cannot make .*/pem: "):
        export_pem(BUNDLE, place)
    assert [path.name for path in tmp_path.iterdir()] == ["pem"]
    assert [path.read_bytes() for path in place.iterdir()] == [b"kept"]


def test_what_could_not_be_written_whole_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tlsrt.channels.client.pem_export.CA", "no/such/folder.pem")
    with pytest.raises(ConfigError, match="cannot write"):
        export_pem(BUNDLE, tmp_path / "pem")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigError, match=r"cannot make .*/nowhere/pem: No such file"):
        export_pem(BUNDLE, tmp_path / "nowhere" / "pem")


FILES = PemFiles(Path("/a b/ca.pem"), Path("/a b/certificate.pem"), Path("/a b/key.pem"))


@pytest.mark.parametrize(
    ("server_name", "host", "rest"),
    [
        ("127.0.0.1", "127.0.0.1", ["https://127.0.0.1:7443/v1/openapi.json"]),
        ("::1", "::1", ["https://[::1]:7443/v1/openapi.json"]),
        ("h.example", "::1", ["--connect-to", "::[::1]:7443", "https://h.example:7443/v1/openapi.json"]),
    ],
)
def test_the_line_names_whom_the_certificate_names(server_name: str, host: str, rest: list[str]) -> None:
    line = curl_line(FILES, dataclasses.replace(BUNDLE, server_name=server_name), host, 7443)
    words = ["curl", "--cacert", "/a b/ca.pem", "--cert", "/a b/certificate.pem", "--key", "/a b/key.pem"]
    assert shlex.split(line) == words + rest


@given(st.text(st.characters(codec="ascii"), min_size=1))
def test_a_name_in_a_bundle_is_no_shell(name: str) -> None:
    line = curl_line(FILES, dataclasses.replace(BUNDLE, server_name=name), "h", 7443)
    assert len(shlex.split(line)) in (8, 10)


def test_what_a_browser_imports_has_key_and_certificate_under_the_password_only(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    bundle = bundle_with(key)
    files = export_pem(bundle, tmp_path / "pem", "word")
    browser = files.key.with_name("client.p12")
    assert browser.stat().st_mode & 0o7777 == 0o600
    found = pkcs12.load_pkcs12(browser.read_bytes(), b"word")
    assert found.cert is not None and found.cert.friendly_name == b"admin" and not found.additional_certs
    assert isinstance(found.key, ec.EllipticCurvePrivateKey) and found.key.private_numbers() == key.private_numbers()
    assert found.cert.certificate.public_bytes(Encoding.PEM) == bundle.certificate_pem
    with pytest.raises(ValueError, match="password"):
        pkcs12.load_pkcs12(browser.read_bytes(), b"another")


def test_a_key_that_browsers_do_not_take_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^browsers take no key of this kind: enroll this client anew"):
        export_pem(bundle_with(Ed25519PrivateKey.generate()), tmp_path / "pem", "word")
    assert not list(tmp_path.iterdir())


def bundle_with(key: ec.EllipticCurvePrivateKey | Ed25519PrivateKey) -> Bundle:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "admin")])
    begin = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    unsigned = x509.CertificateBuilder(name, name, key.public_key(), 7, begin, begin + datetime.timedelta(days=9))
    signed = unsigned.sign(key, hashes.SHA256() if isinstance(key, ec.EllipticCurvePrivateKey) else None)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return dataclasses.replace(BUNDLE, certificate_pem=signed.public_bytes(Encoding.PEM), key_pem=pem)
