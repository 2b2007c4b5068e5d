"""Keys that a TPM has sealed, by a software TPM (swtpm) that is real but for its hardware."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tools.programs import need

from tlsrt.config.tpm_keys import open_sealed_key, seal_key
from tlsrt.errors import ConfigError

KEY = bytes(range(100)) * 3  # more than a TPM seals


class SoftTpm:
    """One TPM; its state stays in a folder over `restarted`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.start()

    def start(self) -> None:
        socket = self.folder / "tpm"
        self.process = subprocess.Popen([
            "swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self.folder}", "--server", f"type=unixio,path={socket}",
            "--ctrl", f"type=unixio,path={socket}.ctrl", "--flags", "not-need-init,startup-clear",
        ])  # fmt: skip
        limit = time.monotonic() + 10.0
        while not socket.exists():
            assert time.monotonic() < limit and self.process.poll() is None, "swtpm did not start"
            select.select([], [], [], 0.01)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10.0)
        for name in ("tpm", "tpm.ctrl"):
            (self.folder / name).unlink(missing_ok=True)


@pytest.fixture
def tpm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SoftTpm]:
    need("swtpm")
    need("tpm2_unseal")
    made = SoftTpm(tmp_path)
    monkeypatch.setenv("TPM2TOOLS_TCTI", f"swtpm:path={tmp_path}/tpm")
    yield made
    made.stop()


def test_a_key_comes_back_from_this_tpm_also_after_a_boot_and_under_its_name_only(tpm: SoftTpm) -> None:
    sealed = seal_key(KEY, "master.key")
    assert KEY not in sealed and KEY.hex().encode() not in sealed
    assert open_sealed_key(sealed, "master.key") == KEY
    with pytest.raises(ConfigError, match="sealed under another name"):
        open_sealed_key(sealed, "server.key")
    tpm.stop()
    tpm.start()
    assert open_sealed_key(sealed, "master.key") == KEY


def test_after_a_change_of_a_register_it_is_refused(tpm: SoftTpm) -> None:
    sealed = seal_key(KEY, "master.key", "sha256:7,11")
    subprocess.run(["tpm2_pcrextend", f"11:sha256={'0f' * 32}"], check=True)
    with pytest.raises(ConfigError, match="sha256:7,11 are not as they were when it was sealed"):
        open_sealed_key(sealed, "master.key")
    assert open_sealed_key(seal_key(KEY, "master.key", "sha256:7"), "master.key") == KEY
    with pytest.raises(ConfigError, match="names no PCRs"):
        seal_key(KEY, "master.key", "sha1:7")


def test_another_tpm_and_a_changed_file_are_refused(tpm: SoftTpm) -> None:
    sealed = seal_key(KEY, "master.key")
    for other in (
        b"",
        sealed[:-40],
        sealed.replace(b'"data": "', b'"data": "00'),
        sealed.replace(b"sha256:7", b"sha256:8"),
    ):
        with pytest.raises(ConfigError):
            open_sealed_key(other, "master.key")
    tpm.stop()
    for name in os.listdir(tpm.folder):
        (tpm.folder / name).unlink()
    tpm.start()
    with pytest.raises(ConfigError, match="was sealed by another TPM"):
        open_sealed_key(sealed, "master.key")


def test_without_a_tpm_it_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    need("tpm2_unseal")
    monkeypatch.setenv("TPM2TOOLS_TCTI", f"swtpm:path={tmp_path}/nothing")
    with pytest.raises(ConfigError, match="tpm2_createprimary failed"):
        seal_key(KEY, "master.key")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="install tpm2-tools"):
        seal_key(KEY, "master.key")
