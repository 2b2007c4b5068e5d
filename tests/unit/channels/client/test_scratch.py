"""A client of the content of a bundle, where there is no /proc: its key is on the disk for a moment, encrypted."""

from __future__ import annotations

import os
import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tlsrt.channels.client.async_client import AsyncClient
from tlsrt.channels.client.connection import client_context
from tlsrt.config import pki
from tlsrt.config.bundle import Bundle, encode_bundle
from tlsrt.errors import ConfigError


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    now = datetime.now(UTC)
    ca = pki.make_ca(b"i" * 16, now)
    issued = pki.issue_client(ca, b"i" * 16, "anna", now)
    return Bundle(
        1, b"i" * 16, "anna", "127.0.0.1", 7443, "127.0.0.1", ca.certificate_pem, issued.certificate_pem,
        issued.key_pem, bytes(32),
    )  # fmt: skip


def test_what_lies_in_the_folder_meanwhile_opens_nothing(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bytes, int]] = []
    load = ssl.SSLContext.load_cert_chain

    def look(self: ssl.SSLContext, path: Path, *args: object, **more: object) -> None:
        seen.append((Path(path).read_bytes(), os.stat(path).st_mode & 0o777))
        load(self, path, *args, **more)  # type: ignore[arg-type]

    (tmp_path / ".tlsrt-pair").write_bytes(b"of a process that was killed")
    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", look)
    client_context(bundle, tmp_path)
    [(content, mode)] = seen
    assert mode == 0o600 and b"ENCRYPTED PRIVATE KEY" in content and bundle.key_pem.split(b"\n")[1] not in content
    assert list(tmp_path.iterdir()) == []


def test_the_content_of_a_bundle_makes_a_client(bundle: Bundle, tmp_path: Path) -> None:
    client = AsyncClient(encode_bundle(bundle), scratch=tmp_path)
    assert (client.host, client.port, client.bundle.name) == ("127.0.0.1", 7443, "anna")
    with pytest.raises(ConfigError, match="the content of the bundle is not a tlsrt client bundle"):
        AsyncClient(b"something else", scratch=tmp_path)
