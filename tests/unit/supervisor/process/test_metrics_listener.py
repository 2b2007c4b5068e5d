"""The socket on which metrics are served."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tlsrt.config.metrics import MonitoringPlace, parse_place
from tlsrt.errors import ConfigError
from tlsrt.supervisor.process.memfd import new_page
from tlsrt.supervisor.process.metrics_listener import metrics_listener, remove_metrics_socket


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tlsrt.") as made:
        yield Path(made)


def test_a_unix_socket_is_for_the_group_of_its_folder_and_goes_at_the_end(folder: Path) -> None:
    place = parse_place(f"unix:{folder}/metrics.sock")
    if os.geteuid() == 0:
        os.chown(folder, -1, 12345)
    for _ in range(2):  # a former life may have left one
        with socket.socket(fileno=metrics_listener(place)) as listener:
            found = os.stat(place.path)
            assert stat.S_ISSOCK(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o660
            assert found.st_gid == os.stat(folder).st_gid
            with socket.socket(socket.AF_UNIX) as peer:
                peer.connect(place.path)
                listener.accept()[0].close()
    remove_metrics_socket(place)
    assert not os.path.lexists(place.path)


def test_another_file_is_not_replaced(folder: Path) -> None:
    file = folder / "precious"
    file.write_text("kept")
    with pytest.raises(ConfigError, match="is no socket"):
        metrics_listener(MonitoringPlace(path=str(file)))
    assert file.read_text() == "kept"


def test_a_port_that_is_taken_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"cannot listen on 127\.0\.0\.1:{port} \(metrics\.listen\)"):
            metrics_listener(MonitoringPlace("127.0.0.1", port))
    assert metrics_listener(None) == -1


def test_a_page_keeps_its_size_and_its_reader_cannot_write() -> None:
    writable, readable = new_page()
    try:
        os.pwrite(writable, b"figures", 0)
        assert os.pread(readable, 7, 0) == b"figures"
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.pwrite(readable, b"forged", 0)
        for size in (0, 1 << 30):
            with pytest.raises(PermissionError):
                os.ftruncate(writable, size)
    finally:
        os.close(writable)
        os.close(readable)
