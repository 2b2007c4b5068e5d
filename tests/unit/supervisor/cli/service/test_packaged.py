"""The files that a package brings are those that `install` would write for a host as `init --system` makes it."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tlsrt.config.init import initialise
from tlsrt.config.template import system_places
from tlsrt.supervisor.cli.service import install, packaged, units, update_units
from tlsrt.supervisor.cli.service.units import ServiceFile, service_files


@pytest.fixture
def wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[ServiceFile]:
    """The files of `install` for such a host, that differs only in where its configuration and tlsrt itself lie."""
    folder = tmp_path / "tlsrt"
    initialise(folder, host="127.0.0.1", port=7443, now=datetime.now(UTC), places=system_places({}))
    monkeypatch.setattr("sys.argv", [str(packaged.PROGRAM)])
    monkeypatch.setattr(install, "_HOMES", ())
    facts = install._facts(argparse.Namespace(config=folder / "tlsrt.yaml", user=packaged.USER))
    texts = [
        (file, file.text and file.text.replace(str(folder), str(packaged.CONFIGURATION)))
        for file in service_files(facts)
    ]
    return [ServiceFile(file.path, text and units.marked(text.partition("\n")[2])) for file, text in texts]


def test_each_is_what_install_would_write_but_for_its_first_line(wanted: list[ServiceFile]) -> None:
    made = {file.path: packaged.body_of(file.text or "") for file in packaged.packaged_files()}
    assert made.pop(packaged.CATALOG)
    assert made == {packaged.place_of(file.path): packaged.body_of(file.text) for file in wanted if file.text}


def test_install_writes_only_what_the_package_has_otherwise(
    wanted: list[ServiceFile], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "root"
    for file in packaged.packaged_files():
        path = root / file.path.relative_to("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.text or "")
    disk = install._Disk(root, is_dry=False)
    assert all(map(disk.write, wanted))
    assert not [path for path in (root / "etc").rglob("*") if path.is_file()]
    socket = next(file for file in wanted if file.path == units.SOCKET)
    other = ServiceFile(socket.path, units.marked((socket.text or "").partition("\n")[2].replace("7443", "7444")))
    assert disk.write(other) and disk.has(units.SOCKET)  # another door than the package's
    assert disk.write(socket) and not disk.has(units.SOCKET)  # which would come before the package's
    assert "as it is: " in capsys.readouterr().out


def test_the_units_of_updates_are_off_and_name_what_their_guide_names() -> None:
    files = {file.path.name: file.text or "" for file in update_units.update_files()}
    assert set(files) == {"tlsrt-updates.path", "tlsrt-updates.service", "tlsrt-updates.conf"}
    guide = (Path(__file__).parents[5] / "docs/guide/updates.md").read_text()
    for line in ("PathExists=/var/lib/tlsrt-updates/orders/order", "TimeoutStartSec=2h", "StartLimitIntervalSec=0"):
        assert line in guide and any(line in text for text in files.values())
    command = "/usr/bin/tlsrt-supervisor apt-order --orders /var/lib/tlsrt-updates/orders"
    assert command in files["tlsrt-updates.service"] and command in guide.replace("\\\n   ", "")
