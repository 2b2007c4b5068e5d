"""Credentials in the place of key files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlsrt.config.credentials import instead_of


def test_the_credential_of_a_files_name_is_taken_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named, credential = Path("/etc/tlsrt/server.key"), tmp_path / "server.key"
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert instead_of(named) == named
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert instead_of(named) == named
    credential.write_text("x")
    assert instead_of(named) == credential
    assert instead_of(Path("/etc/tlsrt/ca.key")) == Path("/etc/tlsrt/ca.key")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "relative")
    assert instead_of(named) == named
