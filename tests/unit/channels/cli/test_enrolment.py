"""What `tlsrt enroll` says after it has written the bundle."""

from __future__ import annotations

import argparse
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tlsrt.channels.cli import enrolment

CODE = "dvbzmhnr-gwlva3cpbo2mr4nb3p24i2wmp4-w42jwonuz6wbfnpaddd7qw5juhrn6k6v"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    def enroll_at(host: str, port: int, code: Any, path: Path, **options: Any) -> Any:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        return SimpleNamespace(name="phone")

    monkeypatch.setattr(enrolment, "enroll_at", enroll_at)
    monkeypatch.setattr(enrolment, "parse_code", str)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "my home"))
    monkeypatch.delenv("TLSRT_BUNDLE", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(bundle: str | None = None) -> list[str]:
    arguments = argparse.Namespace(bundle=bundle, code=CODE, where="10.1.1.1:7443", server_name=None, timeout=9.0)
    return enrolment.enroll_lines(enrolment.enroll(arguments))


def test_enroll_says_which_bundle_acts_next(folder: Path) -> None:
    first, after = said()
    assert first.startswith("enrolled as phone; bundle written to ")
    assert after.startswith("next: ") and after.endswith("tlsrt describe")
    (folder / "var").mkdir()
    (folder / "var" / "admin.tlsrt").write_bytes(b"")
    _, after, other = said()
    assert after.endswith(f"tlsrt --bundle '{folder}/my home/tlsrt/client.tlsrt' describe")
    assert other == "without --bundle, commands in this folder act by var/admin.tlsrt"


def test_a_bundle_elsewhere_has_to_be_named(folder: Path) -> None:
    assert said("phone.tlsrt")[1].endswith("tlsrt --bundle phone.tlsrt describe")
