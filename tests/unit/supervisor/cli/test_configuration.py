"""`config show` says where each value comes from; `config migrate` writes in one step, after a yes."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tlsrt.config.init import initialise
from tlsrt.config.load import load_config
from tlsrt.errors import EX_CONFIG, EX_USAGE
from tlsrt.supervisor.cli.main import main


@pytest.fixture
def path(tmp_path: Path) -> Path:
    initialise(tmp_path / "host", host="127.0.0.1", port=7443, now=datetime.now(UTC))
    return tmp_path / "host/tlsrt.yaml"


def test_each_value_is_shown_with_its_place(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TLSRT_PORT", "1234")
    path.with_name("tlsrt.yaml.d").mkdir()
    text = "environment:\n  TLSRT_PORT: as published\ndoor:\n  port: ${TLSRT_PORT}\nloops: {a: {}}\n"
    path.with_name("tlsrt.yaml.d").joinpath("a.yaml").write_text(text)
    assert main(["config", "show", "--config", str(path), "door"]) == 0
    rows = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()}
    assert rows["door.port"] == ["1234", "tlsrt.yaml.d/a.yaml:4:9", "(${TLSRT_PORT})"]
    line = path.read_text().splitlines().index("  certificate: server.crt") + 1
    assert rows["door.certificate"] == ["server.crt", f"tlsrt.yaml:{line}:16"]
    assert "limits.epoch_s" not in rows and "door.max_connections" not in rows
    assert main(["config", "show", "--config", str(path), "--json", "--all"]) == 0
    document = json.loads(capsys.readouterr().out)
    values = {one["key"]: one for one in document["values"]}
    assert document["files"] == ["tlsrt.yaml", "tlsrt.yaml.d/a.yaml"]
    assert values["door.port"]["value"] == 1234 and values["loops.a"]["value"] == {}
    assert values["limits.epoch_s"]["file"] == "" and values["limits.epoch_s"]["value"] == 900.0
    assert values["policy.client/admin -> third/io"]["value"] == ["*"]
    assert main(["config", "show", "--config", str(path), "dor.port"]) == EX_USAGE
    assert "no file says dor.port, did you mean door.port?" in capsys.readouterr().err


def test_a_migration_is_shown_and_then_written(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*words: str) -> int:
        return main(["config", "migrate", "--config", str(path), *words])

    assert run() == 0
    assert "is of version 2, the newest: nothing to do" in capsys.readouterr().out
    new = path.read_text()
    old = new.replace("version: 2\n", "version: 1\n")
    path.write_text(old)
    path.chmod(0o640)
    assert run("--dry-run") == 0
    assert {"-version: 1", "+version: 2"} <= {*capsys.readouterr().out.splitlines()}
    with open(os.devnull) as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        assert run() == EX_USAGE and path.read_text() == old
    assert main(["check", "--config", str(path)]) in (0, EX_CONFIG)
    assert "run `tlsrt-supervisor config migrate`" in capsys.readouterr().out
    assert run("--yes") == 0
    assert path.read_text() == new and path.stat().st_mode & 0o777 == 0o640
    assert "next: `tlsrt-supervisor seal`" in capsys.readouterr().out
    assert load_config(path).remarks == ()
    path.write_text(old + "unknown: 1\n")
    assert run("--yes") == EX_CONFIG and path.read_text().startswith(old)


def test_a_line_of_policy_about_an_added_component_is_migrated(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site" / "kettle"
    package.mkdir(parents=True)
    manifest = b'manifest: 1\ncomponent: third/kettle\nclass: "kettle:Kettle"\ntitle: boils water\n'
    for file, data in ((package / "__init__.py", b""), (package / "tlsrt.yaml", manifest)):
        file.write_bytes(data)
    monkeypatch.syspath_prepend(str(package.parent))
    drop_ins = path.parent / "components.d"
    drop_ins.mkdir()
    (drop_ins / "third.kettle.yaml").write_text("package: kettle\n")
    (drop_ins / "third.kettle.manifest").write_bytes(manifest)
    text = path.read_text().replace("version: 2\n", "version: 1\n")
    text = text.replace("\npolicy:\n", "\npolicy:\n  client/admin -> third/kettle: [hello]\n")
    real = tmp_path / "elsewhere.yaml"  # the components lie beside the name, not beside the file
    real.write_text(text)
    path.unlink()
    path.symlink_to(real)
    assert load_config(path).version == 1
    assert main(["config", "migrate", "--config", str(path), "--yes"]) == 0
    assert path.is_symlink() and load_config(path).version == 2


def test_what_is_wrong_is_said_before_what_cannot_be_migrated(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = path.read_text().replace("version: 2\n", "version: 1\n")
    path.write_text(text + "unknown: [*x]\n")
    assert main(["config", "migrate", "--config", str(path), "--yes"]) == EX_CONFIG
    assert "internal error" not in capsys.readouterr().err
