"""The measurement: everything that decides what a host does has a name, and every change of it shows."""

from __future__ import annotations

import errno
import hashlib
import os
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tlsrt.config import measure as measure_module
from tlsrt.config import package_search, packages, pki
from tlsrt.config.boot_token import make_boot_token, parse_boot_token_untrusted
from tlsrt.config.code_root import Root, walk
from tlsrt.config.components import ComponentConfig
from tlsrt.config.import_path import package_folder
from tlsrt.config.measure import measure, measured_paths
from tlsrt.config.packages import code_of
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError

NOW = datetime(2026, 5, 6, tzinfo=UTC)


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An operator's package, importable, with a folder of bytecode and a data file."""
    folder = tmp_path / "parts" / "noted"
    (folder / "__pycache__").mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "deep").mkdir()
    (folder / "deep/core.so").write_bytes(b"so")
    (folder / "data.txt").write_text("data")
    (folder / "__pycache__/x.pyc").write_bytes(b"pyc")
    monkeypatch.syspath_prepend(tmp_path / "parts")
    return folder


@pytest.fixture
def with_notes(config: Config, notes: Path) -> Config:
    return replace(config, components=(*config.components, ComponentConfig("third", "notes", "noted.deep:Notes")))


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if tlsrt were no checkout."""
    for module in (package_search, packages):
        monkeypatch.setattr(module, "is_checkout", lambda: False)
        monkeypatch.setattr(
            module, "package_folders", lambda: [Path(entry) for entry in sys.path if os.path.isdir(entry)]
        )


def component_names(found: dict[str, bytes]) -> list[str]:
    return sorted(name for name in found if name.startswith("component/"))


def test_names_and_digests(config: Config) -> None:
    found = measure(config)
    import zmq

    assert found["tlsrt/config/measure.py"] == sha256((package_folder() / "config/measure.py").read_bytes())
    assert found["tlsrt/errors.py"] == sha256((package_folder() / "errors.py").read_bytes())
    assert found["dep/zmq/__init__.py"] == sha256(Path(zmq.__file__).read_bytes())
    assert found["config"] == sha256(config.path.read_bytes())
    assert found["client-ca"] == sha256(config.door.client_ca.read_bytes())
    assert len(found["certificate-names"]) == 32
    assert any(name.startswith("dep/cryptography/") and name.endswith(".so") for name in found)
    beside = Path(zmq.__file__).parents[1] / "pyzmq.libs"  # of a wheel; a distribution's own has libzmq elsewhere
    assert any(name.startswith("dep/pyzmq.libs/") for name in found) is beside.is_dir()
    assert any(name.startswith("dep/_cffi_backend.") for name in found)


def test_every_python_file_of_tlsrt_is_there(config: Config) -> None:
    folder = package_folder()
    rooms = [entry for entry in folder.iterdir() if entry.is_dir() and entry.name != "__pycache__"]
    files = [f"tlsrt/{path.name}" for path in folder.glob("*.py")]
    files += [
        f"tlsrt/{room.name}/{path.relative_to(room.resolve())}"
        for room in rooms
        for path in room.resolve().rglob("*.py")
    ]
    assert len(files) > 20
    assert set(files) <= measure(config).keys()


def test_a_checkout_measures_code_only(with_notes: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (package_search, packages):
        monkeypatch.setattr(module, "is_checkout", lambda: True)
    assert component_names(measure(with_notes)) == ["component/noted/__init__.py", "component/noted/deep/core.so"]


@pytest.mark.usefixtures("installed")
def test_an_installation_measures_every_file(with_notes: Config) -> None:
    assert component_names(measure(with_notes)) == [
        "component/noted/__init__.py", "component/noted/data.txt", "component/noted/deep/core.so",
    ]  # fmt: skip


@pytest.mark.usefixtures("installed")
def test_each_change_shows_and_nothing_else(with_notes: Config, notes: Path) -> None:
    before = measure(with_notes)
    assert measure(with_notes) == before
    (notes / "deep/core.so").write_bytes(b"s0")
    (notes / "new.py").touch()
    (notes / "data.txt").unlink()
    after = measure(with_notes)
    assert {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)} == {
        "component/noted/deep/core.so", "component/noted/new.py", "component/noted/data.txt",
    }  # fmt: skip


def test_configuration_and_ca_count(config: Config) -> None:
    before = measure(config)
    with config.path.open("a") as file:
        file.write("# a comment\n")
    config.door.client_ca.write_bytes(config.door.client_ca.read_bytes() + b"\n")
    after = measure(config)
    assert {name for name in before if before[name] != after[name]} == {"config", "client-ca"}


def test_a_renewed_certificate_still_boots_and_another_name_does_not(config: Config, made: Path) -> None:
    before = measure(config)["certificate-names"]
    ca = pki.Issued((made / "ca.crt").read_bytes(), (made / "ca.key").read_bytes())
    renewed = pki.issue_server(ca, config.install_id, "127.0.0.1", NOW + timedelta(days=100))
    config.door.certificate.write_bytes(renewed.certificate_pem)
    assert measure(config)["certificate-names"] == before
    other = pki.issue_server(ca, config.install_id, "evil.example", NOW)
    config.door.certificate.write_bytes(other.certificate_pem)
    assert measure(config)["certificate-names"] != before
    stranger = pki.issue_server(pki.make_ca(bytes(16), NOW), config.install_id, "127.0.0.1", NOW)
    config.door.certificate.write_bytes(stranger.certificate_pem)
    assert measure(config)["certificate-names"] != before
    config.door.certificate.write_bytes(ca.certificate_pem)  # a certificate without names
    assert measure(config)["certificate-names"] != before


def test_a_certificate_that_is_none(config: Config) -> None:
    config.door.certificate.write_text("hello")
    with pytest.raises(
        ConfigError, match=r"server certificate .*server\.crt is not a PEM certificate: put a right one"
    ):
        measure(config)


def test_a_missing_file(config: Config) -> None:
    config.door.client_ca.unlink()
    with pytest.raises(ConfigError, match=r"cannot read .*ca\.crt: No such file or directory"):
        measure(config)


@pytest.mark.timeout(10)
@pytest.mark.usefixtures("installed")
def test_what_is_no_file_shows_and_does_not_hang(with_notes: Config, notes: Path) -> None:
    (notes / "nowhere.py").symlink_to("missing")
    os.mkfifo(notes / "fifo.py")
    (notes / "loop").symlink_to(notes)
    (notes / "linked.py").symlink_to(notes / "data.txt")
    found = measure(with_notes)
    assert found["component/noted/linked.py"] == sha256(b"data")
    assert found["component/noted/nowhere.py"] != found["component/noted/fifo.py"] != sha256(b"")
    assert not any("/loop/" in name for name in found)


@pytest.mark.usefixtures("installed")
def test_a_link_to_a_folder_of_code_is_followed(with_notes: Config, notes: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/code.py").write_text("1")
    (notes / "linked").symlink_to(tmp_path / "elsewhere")
    assert measure(with_notes)["component/noted/linked/code.py"] == sha256(b"1")


@pytest.mark.usefixtures("installed")
def test_strange_names_stay_apart_and_fit_the_token(with_notes: Config, notes: Path) -> None:
    strange = [b"a\nb.py", b"a\\nb.py", "ü.py".encode(), b"\xff.py", b"a b.py"]
    before = len(measure(with_notes))
    for name in strange:
        Path(os.fsdecode(bytes(notes) + b"/" + name)).touch()
    found = measure(with_notes)
    assert len(found) == before + len(strange)
    token = make_boot_token(b"k" * 32, 1, found)
    assert parse_boot_token_untrusted(token.encode()) == token


def test_measured_paths_hold_the_rooms(config: Config) -> None:
    paths = measured_paths(code_of(config))
    assert package_folder() in paths
    assert {entry.resolve() for entry in package_folder().iterdir() if entry.is_symlink()} <= set(paths)


def test_it_is_fast(config: Config) -> None:
    measure(config)
    times = []
    for _ in range(5):
        start = time.process_time()  # of the processor: what runs beside it has priority, see tests/tools/run.py
        measure(config)
        times.append(time.process_time() - start)
    assert min(times) < 0.2  # measured: 60 ms


@pytest.mark.parametrize("threads", [True, False])
def test_a_large_file_is_hashed_or_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: bool
) -> None:
    """Also where the host gives no more threads, and where the disk refuses while a thread reads."""
    if not threads:
        monkeypatch.setattr("threading.Thread.start", lambda thread: _raise(RuntimeError("can't start new thread")))
    monkeypatch.setattr(measure_module, "_LARGE", 10)
    for name in ("a.bin", "b.bin"):
        (tmp_path / name).write_bytes(name.encode() * 10)
    assert hashed(tmp_path) == {"a.bin": sha256(b"a.bin" * 10), "b.bin": sha256(b"b.bin" * 10)}
    monkeypatch.setattr("os.readv", lambda *arguments: _raise(OSError(errno.EIO, "Input/output error")))
    with pytest.raises(ConfigError, match=r"cannot measure .*a\.bin: Input/output error"):
        hashed(tmp_path)


def hashed(folder: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with measure_module._Hashing(found) as hashing:
        for path in sorted(folder.iterdir()):
            hashing.add(path.name, str(path))
    return found


def _raise(error: Exception) -> None:
    raise error


def test_walk_ends_on_a_loop_of_links(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/up").symlink_to(tmp_path / "a")
    (tmp_path / "a/x.py").touch()
    assert [name for name, _ in walk(Root(tmp_path / "a", "n"))] == ["n/x.py"]
