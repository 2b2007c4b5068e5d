"""Hosts as earlier versions have left them: upgraded, started, served and restored by the present one."""

from __future__ import annotations

import json
import lzma
import os
import re
import shutil
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hosts.running_host import RunningHost, uid_base

from tlsrt import Client
from tlsrt.config.load import load_config
from tlsrt.config.schema import Config, SandboxConfig

OLDER = Path(__file__).parent.parent / "vectors" / "older"
STORE = "secondary/store"
PHONE_ENDS = datetime(2028, 1, 2, tzinfo=UTC)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the files belong to uids of loops")


class OlderHost(RunningHost):
    """The host of a vector, at a port of its own; where a suite is shared, with uids of its own, too."""

    def _install(
        self, added: Mapping[str, Any], clients: Sequence[str], http: Sequence[str], may: Mapping[str, Sequence[str]]
    ) -> Config:
        with tarfile.open(OLDER / "host-2026-11-27.tar.xz") as archive:
            archive.extraction_filter = lambda member, _: member  # our own file, with its owners
            archive.extractall(self.base, numeric_owner=True)
        for bundle in self.folder.glob("*.tlsrt"):
            bundle.write_text(json.dumps({**json.loads(bundle.read_text()), "port": self.port}))
        self.move()
        return load_config(self.config_path)

    def move(self) -> None:
        """Give it the port and the uids that it has here."""
        text = re.sub(r"(?m)^  port: \d+$", f"  port: {self.port}", self.config_path.read_text())
        before = SandboxConfig().uid_base
        if shift := uid_base() - before:
            text += f"sandbox: {{uid_base: {uid_base()}}}\n"
            (self.folder / "state/uids.json").unlink(missing_ok=True)
            for path in (self.folder / "state").rglob("*"):
                if (uid := path.lstat().st_uid) >= before:
                    os.chown(path, uid + shift, uid + shift, follow_symlinks=False)
        self.config_path.write_text(text)


@pytest.fixture
def host() -> Iterator[OlderHost]:
    host = OlderHost()
    try:
        yield host
    finally:
        host.close()


def run(host: RunningHost, *words: str, code: int = 0) -> str:
    done = host.cli(*words)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_an_older_host_is_upgraded_started_and_served(host: OlderHost) -> None:
    assert "not as it was sealed" in run(host, "check", code=78)
    assert "accepted" in run(host, "seal")
    assert "certificate" in run(host, "doctor", code=1)
    host.start()
    with host.client() as admin:
        assert [admin.call(STORE, "get", name) for name in ("greeting", "count", "phones")] == [
            "hello again", 42, "from the phone"
        ]  # fmt: skip
        admin.call(STORE, "put", "greeting", "and once more")
        assert admin.call(STORE, "get", "greeting") == "and once more"
    clients = {one["name"]: one for one in json.loads(run(host, "client", "list", "--json"))["clients"]}
    assert clients["lost"]["revoked_ms"] and not clients["phone"]["revoked_ms"]
    bundles = [host.folder / "phone.tlsrt"] if datetime.now(UTC) < PHONE_ENDS else []
    for bundle in (*bundles, host.base / "again.tlsrt"):
        if not bundle.exists():
            run(host, "client", "renew", "phone", "--bundle", str(bundle))
        with Client(bundle) as phone:
            assert phone.call(STORE, "get", "phones") == "from the phone"
    run(host, "rotate", "--master")
    assert "whole, and goes on" in run(host, "audit", "verify"), "records of both versions are one log"
    run(host, "reload")
    host.restart()
    with host.client() as admin:
        assert admin.call(STORE, "get", "greeting") == "and once more"


def test_an_older_backup_is_restored(host: OlderHost) -> None:
    """As on a new machine: into a folder where there is nothing."""
    file, keys = host.base / "host.backup", host.base / "host.keys"
    file.write_bytes(lzma.decompress((OLDER / "backup-2026-11-28.backup.xz").read_bytes()))
    shutil.copy(OLDER / "backup-2026-11-28.keys", keys)
    keys.chmod(0o600)
    shutil.rmtree(host.folder)
    run(host, "backup", "restore", str(file), "--keys", str(keys))
    assert "written with the master_key of this host" in run(host, "backup", "verify", str(file))
    host.move()
    run(host, "seal")
    host.start()
    said = run(host, "client", "add", "tablet", "--allow", f"{STORE}: get", "--bundle", str(host.base / "tablet.tlsrt"))
    assert "tablet" in said
    with Client(host.base / "tablet.tlsrt") as tablet:
        assert tablet.call(STORE, "get", "greeting") == "hello again"
    clients = {one["name"]: one for one in json.loads(run(host, "client", "list", "--json"))["clients"]}
    assert clients["lost"]["revoked_ms"] and not clients["phone"]["revoked_ms"]
    assert "whole, and goes on" in run(host, "audit", "verify")
