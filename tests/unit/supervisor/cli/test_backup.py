"""Backups of a whole host: round trip, kills at each step, and archives of another maker."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import threading
from argparse import Namespace
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from attackers.killed_runs import killed_at

from tlsrt.config.init import initialise
from tlsrt.config.load import load_config
from tlsrt.errors import ConfigError, TlsrtError
from tlsrt.supervisor.archive.host_archive import MAGIC, HostHead, verify_untrusted
from tlsrt.supervisor.cli.backup.create import create, mac_key_of
from tlsrt.supervisor.cli.backup.journal import JOURNAL, complete
from tlsrt.supervisor.cli.backup.restore import NothingRestored, restore
from tlsrt.supervisor.process.instance_lock import take_lock
from tlsrt.supervisor.process.uids import own_identity


def make_host(folder: Path, port: int = 7443) -> Path:
    """Make a host that has run, and return its configuration."""
    initialise(folder, host="127.0.0.1", port=port, now=datetime.now(UTC))
    (folder / "components.d").mkdir()
    (folder / "components.d" / "third.broken.tlsrt.yaml").write_text("x: 1\n")
    (folder / "tlsrt.yaml.d").mkdir()
    (folder / "tlsrt.yaml.d" / "10.yaml").write_text("audit: {keep_mb: 20}\n")
    for name in ("authority", "authority/audit", "secondary", "secondary/store"):
        (folder / "state" / name).mkdir(mode=0o700)
    (folder / "state" / "authority" / "audit" / "audit-00000001.log").write_bytes(b"log" * 1000)
    (folder / "state" / "authority" / "authority.state").write_bytes(b"state")
    (folder / "state" / "secondary" / "store" / "empty").write_bytes(b"")
    with (folder / "state" / "secondary" / "store" / "store.sqlite").open("wb") as file:
        file.seek(1 << 20)
        file.write(b"after a hole")
    (folder / "state" / "secondary" / "link").symlink_to("/etc/passwd")
    os.mkfifo(folder / "state" / "secondary" / "pipe")
    os.link(
        folder / "state" / "secondary" / "store" / "store.sqlite", folder / "state" / "secondary" / "store" / "twice"
    )
    (folder / "state" / "authority" / "keys").symlink_to("../../master.key")
    return folder / "tlsrt.yaml"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Return the configuration of a host, its backup and its keys."""
    folder = tmp_path_factory.mktemp("backup")
    config = make_host(folder / "host")
    answer = create(arguments(config, file=str(folder), with_keys=str(folder / "keys")))
    return config, Path(answer["file"]), folder / "keys"


def arguments(config: Path, **named: Any) -> Namespace:
    return Namespace(**{"config": str(config), "keys": None, "force": False, **named})


def contents(folder: Path) -> Mapping[str, bytes | None]:
    """Return what is below a folder: files with their content, folders with None."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
        if not path.is_symlink() and not path.is_fifo() and path.name not in ("lock", "backup.json")
    }


def is_secret(path: Path) -> bool:
    return stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_host_comes_back_as_it_was_without_links_and_pipes(made: tuple[Path, Path, Path], tmp_path: Path) -> None:
    config, file, keys = made
    assert is_secret(file) and is_secret(keys)
    for name in ("master.key", "server.key", "ca.key"):
        secret = (config.parent / name).read_bytes()
        assert secret not in file.read_bytes() and secret in keys.read_bytes()
    there = tmp_path / "there" / "tlsrt.yaml"
    there.parent.mkdir()
    answer = restore(arguments(there, file=str(file), keys=str(keys)))
    assert answer["mac"] is True and answer["kept"] == [] and answer["unknown"] == []
    before, after = contents(config.parent), contents(there.parent)
    left = {"log", "run", "tlsrt.schema.json", "admin.tlsrt"}
    assert {name: data for name, data in before.items() if name.split("/")[0] not in left | {".bytecode"}} == after
    assert not any(path.is_symlink() or path.is_fifo() for path in there.parent.rglob("*"))
    assert all(is_secret(there.parent / name) for name in ("master.key", "server.key", "ca.key", "boot.token"))
    restored = load_config(there)
    identity = own_identity(restored)
    for process in ("authority", "secondary"):
        status = (restored.state_dir / process).stat()
        assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (identity.uid(process), 0o700)
    assert (restored.state_dir / "secondary" / "store" / "twice").stat().st_nlink == 2
    hole = restored.state_dir / "secondary" / "store" / "store.sqlite"
    assert hole.stat().st_blocks * 512 < hole.stat().st_size


def test_packages_of_isolated_components_come_back_readable_for_every_process(tmp_path: Path) -> None:
    config = make_host(tmp_path / "host")
    config.with_name("components.d").joinpath("third.kettle.yaml").write_text("isolated: 2\n")
    source = tmp_path / "host/tlsrt.packages/third.kettle@2/kettle/api.py"
    source.parent.mkdir(parents=True)
    source.write_bytes(b"print(1)\n")
    create(arguments(config, file=str(tmp_path / "b"), with_keys=str(tmp_path / "k")))
    restore(arguments(tmp_path / "there" / "other.yaml", file=str(tmp_path / "b"), keys=str(tmp_path / "k")))
    restored = tmp_path / "there/other.packages/third.kettle@2/kettle/api.py"
    assert restored.read_bytes() == b"print(1)\n"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (restored, restored.parent)] == [0o644, 0o755]


def test_of_two_restores_at_once_onto_nothing_one_is_refused(
    made: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    there, said = tmp_path / "there" / "tlsrt.yaml", list[str]()
    sync = os.sync

    def synced() -> None:  # all is staged, and no journal is written yet
        monkeypatch.setattr(os, "sync", sync)
        with pytest.raises(NothingRestored) as caught:
            restore(arguments(there, file=str(made[1]), keys=str(made[2])))
        said.append(str(caught.value))

    monkeypatch.setattr(os, "sync", synced)
    restore(arguments(there, file=str(made[1]), keys=str(made[2])))
    assert said == ["another restore or `seal` works here now: wait for its end"]
    assert _whole(there.parent) == _whole(made[0].parent)


def test_a_key_without_a_file_is_said_to_be_missing(tmp_path: Path) -> None:
    config = make_host(tmp_path / "host")
    (tmp_path / "host" / "master.key").unlink()
    answer = create(arguments(config, file=str(tmp_path / "b"), with_keys=str(tmp_path / "k")))
    assert any(note.startswith("master_key is not in") for note in answer["notes"])


def test_what_is_left_out_is_named(made: tuple[Path, Path, Path], tmp_path: Path) -> None:
    answer = create(arguments(made[0], file=str(tmp_path / "b"), with_keys=None))
    assert {"state/secondary/link (a link)", "state/secondary/pipe (a pipe)", "state/authority/keys (a link)"} <= {
        *answer["left_out"]
    }


def test_nothing_is_restored_over_a_host(made: tuple[Path, Path, Path], tmp_path: Path) -> None:
    _, file, keys = made
    there = make_host(tmp_path / "there", port=7444)
    before = contents(there.parent)
    with pytest.raises(NothingRestored, match="is there already, so nothing was changed"):
        restore(arguments(there, file=str(file), keys=str(keys)))
    lock = take_lock(there.parent / "state" / "lock")
    with pytest.raises(NothingRestored, match="a host runs here"):
        restore(arguments(there, file=str(file), keys=str(keys), force=True))
    os.close(lock)
    assert contents(there.parent) == before
    answer = restore(arguments(there, file=str(file), keys=str(keys), force=True))
    kept = {Path(name).name.partition(".before-restore.")[0]: Path(name) for name in answer["kept"]}
    assert {"state", "tlsrt.yaml", "components.d", "master.key"} <= set(kept)
    assert kept["master.key"].read_bytes() == before["master.key"]


@pytest.mark.parametrize("name", ["boot.token", "server.crt", "master.key"])
def test_no_file_is_replaced_unless_it_is_forced(made: tuple[Path, Path, Path], tmp_path: Path, name: str) -> None:
    _, file, keys = made
    there = tmp_path / "there" / "tlsrt.yaml"
    there.parent.mkdir()
    (there.parent / name).write_bytes(b"another's")
    with pytest.raises(NothingRestored, match=f"{name} is there already, so nothing was changed"):
        restore(arguments(there, file=str(file), keys=str(keys)))
    assert contents(there.parent) == {name: b"another's"}
    answer = restore(arguments(there, file=str(file), keys=str(keys), force=True))
    assert [Path(kept).read_bytes() for kept in answer["kept"]] == [b"another's"]


@pytest.mark.parametrize("last", range(0, 22, 3))
def test_a_killed_restore_leaves_the_old_host_or_the_new_one(
    made: tuple[Path, Path, Path], tmp_path: Path, last: int
) -> None:
    config, file, keys = made
    there = make_host(tmp_path / "there", port=7444)
    new, old = _whole(config.parent), _whole(there.parent)
    again = arguments(there, file=str(file), keys=str(keys), force=True)
    was_killed = killed_at(last, partial(restore, again), "rename")
    had_journal = (there.parent / JOURNAL).exists()
    done = complete(there)
    assert bool(done) == had_journal
    found = _whole(there.parent)
    assert found == (new if had_journal or not was_killed else old), f"killed at rename {last}"


def test_one_journal_is_completed_once_by_two_at_a_time(
    made: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    config, file, keys = made
    there = make_host(tmp_path / "there", port=7444)
    rename, others, said = os.rename, list[threading.Thread](), list[str]()

    def renamed(one: Any, other: Any) -> None:
        rename(one, other)
        if not others and Path(one) == there:  # the old one is away, the new one not in its place
            others.append(threading.Thread(target=lambda: said.append(complete(there))))
            others[0].start()
            others[0].join(0.2)  # it waits for us

    monkeypatch.setattr(os, "rename", renamed)
    restore(arguments(there, file=str(file), keys=str(keys), force=True))
    others[0].join(30.0)
    assert said == [""] and _whole(there.parent) == _whole(config.parent)


def _whole(folder: Path) -> Mapping[str, bytes | None]:
    """Return what a restore puts in its place."""
    names = ("tlsrt.yaml", "boot.token", "state", "components.d", "master.key", "server.key", "server.crt", "ca.crt")
    return {
        name: data for name, data in contents(folder).items() if name.split("/")[0] in (*names, "ca.key")
    }  # fmt: skip


# Archives of others


def crafted(entries: list[dict[str, Any]], bodies: Mapping[int, bytes] | None = None, **head: Any) -> bytes:
    """Return an archive with a right digest and no MAC."""
    named = {"install": "00" * 16, "version": "0", "made": "x", "configuration": "tlsrt.yaml", "sections": [], **head}
    data = MAGIC + json.dumps(named).encode() + b"\n"
    for number, entry in enumerate(entries):
        data += json.dumps(entry).encode() + b"\n" + (bodies or {}).get(number, b"")
    data += b"{}\n"
    return data + hashlib.sha256(data).digest() + bytes(32)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "in" / "here").mkdir(parents=True)
    yield tmp_path / "in" / "here" / "tlsrt.yaml"
    assert list((tmp_path / "in").rglob("*")) == [tmp_path / "in" / "here"], "nothing was left"


def file_entry(path: str, data: bytes, **more: Any) -> dict[str, Any]:
    return {"path": path, "kind": "file", "mode": 0o644, "size": len(data), "extents": [[0, len(data)]], **more}


def refused(place: Path, data: bytes, **named: Any) -> str:
    file = place.parent.parent.parent / "evil"
    file.write_bytes(data)
    with pytest.raises(TlsrtError) as caught:
        restore(arguments(place, file=str(file), **named))
    return str(caught.value)


@pytest.mark.parametrize(
    "path",
    ["../x", "/etc/x", "config/../../x", "state/secondary/../../x", "state/..", "config/a/b", "files/x", "x", "state",
     "components.d/../x", "keys/master_key", "config/\0", "state//x", "."],
)  # fmt: skip
def test_no_path_leads_out(made: tuple[Path, Path, Path], place: Path, path: str) -> None:
    text = made[0].read_bytes()
    install = load_config(made[0]).install_id.hex()
    entries = [file_entry("config/tlsrt.yaml", text), file_entry(path, b"evil")]
    assert refused(place, crafted(entries, {0: text, 1: b"evil"}, install=install))


@pytest.mark.parametrize(
    "first", ["/etc/passwd", "state/authority/x", "state/secondary/../../x", "config/x", "", "x", 5]
)
def test_no_further_name_is_of_a_file_elsewhere(made: tuple[Path, Path, Path], place: Path, first: object) -> None:
    text = made[0].read_bytes()
    install = load_config(made[0]).install_id.hex()
    entries = [
        file_entry("config/tlsrt.yaml", text), {"path": "state/secondary", "kind": "folder", "mode": 0o700},
        {"path": "state/secondary/name", "kind": "name", "as": first},
    ]  # fmt: skip
    assert refused(place, crafted(entries, {0: text}, install=install))


@pytest.mark.parametrize("crl", ["{away}/x", "../away/x", "link/x", "components.d/../../away/x"])
def test_no_file_goes_outside_of_the_host_unless_its_writer_is_known(
    made: tuple[Path, Path, Path], tmp_path: Path, crl: str
) -> None:
    away, there = tmp_path / "away", tmp_path / "there" / "tlsrt.yaml"
    away.mkdir()
    there.parent.mkdir()
    (there.parent / "link").symlink_to(away)
    door = made[0].read_text().replace("\ndoor:\n", f"\ndoor:\n  crl: {crl.format(away=away)}\n")
    text = f"{door}\nstate_dir: deep/state\n".encode()
    install = load_config(made[0]).install_id.hex()
    entries = [file_entry("config/tlsrt.yaml", text), file_entry("files/door.crl", b"* * * * * root x")]
    file = tmp_path / "evil"
    file.write_bytes(crafted(entries, {0: text, 1: b"* * * * * root x"}, install=install))
    for keys in (None, str(made[2])):  # with the keys too: it has no MAC
        with pytest.raises(TlsrtError, match=r"away/x is outside of|link/x is outside of"):
            restore(arguments(there, file=str(file), keys=keys))
    assert os.listdir(away) == [] and os.listdir(there.parent) == ["link"], "and no folder of the state is made"
    restore(arguments(there, file=str(file), force=True))
    assert os.listdir(away) == ["x"], "the operator knows the writer"


@pytest.mark.parametrize("kind", ["link", "symlink", "device", "socket", "", None])
def test_no_entry_is_anything_but_a_file_or_a_folder(made: tuple[Path, Path, Path], place: Path, kind: str) -> None:
    text = made[0].read_bytes()
    install = load_config(made[0]).install_id.hex()
    entries = [file_entry("config/tlsrt.yaml", text), {"path": "state/secondary", "kind": kind, "mode": 0o777}]
    assert "no file" in refused(place, crafted(entries, {0: text}, install=install))


def test_owners_and_modes_are_not_the_archives_to_choose(made: tuple[Path, Path, Path], tmp_path: Path) -> None:
    text = made[0].read_bytes()
    install = load_config(made[0]).install_id.hex()
    entries = [
        file_entry("config/tlsrt.yaml", text),
        {"path": "state/secondary", "kind": "folder", "mode": 0o6777, "uid": 0},
        file_entry("state/secondary/x", b"x", mode=0o6777, uid=0),
        file_entry("state/helper/x", b"x", uid=0),
        file_entry("state/unheard/x", b"x", uid=0),
    ]
    evil, there = tmp_path / "evil", tmp_path / "there" / "tlsrt.yaml"
    there.parent.mkdir()
    evil.write_bytes(crafted(entries, {0: text, 2: b"x", 3: b"x", 4: b"x"}, install=install))
    answer = restore(arguments(there, file=str(evil)))
    assert answer["unknown"] == ["helper", "unheard"] and answer["mac"] is None
    config = load_config(there)
    status = (config.state_dir / "secondary" / "x").stat()
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (own_identity(config).uid("secondary"), 0o700)


def test_numbers_of_uids_that_are_none_are_refused(made: tuple[Path, Path, Path], place: Path) -> None:
    text = made[0].read_bytes()
    uids = json.dumps({"version": 1, "uids": {"secondary": -771000}}).encode()
    entries = [file_entry("config/tlsrt.yaml", text), file_entry("files/uids.json", uids)]
    install = load_config(made[0]).install_id.hex()
    assert "it is damaged" in refused(place, crafted(entries, {0: text, 1: uids}, install=install))


def test_a_backup_that_was_cut_or_changed_is_none(made: tuple[Path, Path, Path]) -> None:
    data = made[1].read_bytes()
    for end in (0, 1, len(MAGIC), len(data) // 2, len(data) - 64, len(data) - 1):
        with pytest.raises(ConfigError, match=r"is damaged|is no backup"):
            verify_untrusted(io.BytesIO(data[:end]), "it", None)
    for at in range(0, len(data), max(1, len(data) // 40)):
        changed = bytearray(data)
        changed[at] ^= 1
        with pytest.raises(ConfigError):
            verify_untrusted(io.BytesIO(bytes(changed)), "it", mac_key_of(load_config(made[0])))


def test_an_edited_backup_with_a_right_digest_is_refused_by_its_mac(
    made: tuple[Path, Path, Path], place: Path
) -> None:  # fmt: skip
    data = made[1].read_bytes()
    edited = data[:-64].replace(b"log", b"gol", 1)
    forged = edited + hashlib.sha256(edited).digest() + data[-32:]
    with pytest.raises(ConfigError, match="or was edited"):
        verify_untrusted(io.BytesIO(forged), "it", mac_key_of(load_config(made[0])))
    assert verify_untrusted(io.BytesIO(forged), "it", None).is_ours is None, "without the key nothing is said of it"
    assert "or was edited" in refused(place, forged, keys=str(made[2]))


def test_a_head_that_names_another_place_is_refused(made: tuple[Path, Path, Path], place: Path) -> None:
    text = made[0].read_bytes()
    for configuration in ("../x", "a/b", "", "\0"):
        entries = [file_entry("config/tlsrt.yaml", text)]
        assert refused(place, crafted(entries, {0: text}, configuration=configuration))
    assert "of another installation" in refused(place, crafted([file_entry("config/tlsrt.yaml", text)], {0: text}))
    assert HostHead("", "", "", "").sections == []


def test_a_link_in_the_place_of_the_uids_is_not_followed(tmp_path: Path) -> None:
    config = make_host(tmp_path / "host")
    (tmp_path / "shadow").write_text("root's")
    (config.parent / "state" / "uids.json").symlink_to(tmp_path / "shadow")
    with pytest.raises(ConfigError, match=r"cannot read .*uids\.json"):
        create(arguments(config, file=str(tmp_path), with_keys=None))
