"""`tlsrt put` and `get` on a real host, while everything between the two files breaks."""

from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from fakes.cutting_proxy import cutting
from hosts.host_files import DEFAULT_SESSIONS
from hosts.running_host import RunningHost, running

from tlsrt import AsyncClient, Failed
from tlsrt.channels.client.files.remote_path import RemotePath

COMMAND = (sys.executable, "-m", "tlsrt.channels.cli.main")
MIB = 1 << 20
SIZE = 3 * MIB + 17
CUT = MIB + MIB // 2


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(
        request,
        components={"third/io": {"options": {"file_bytes": 24 * MIB}}},
        limits=DEFAULT_SESSIONS,  # commands of one client come as a script has them
        extra={"loops": {"third": {"file_size_mb": 8}}},
    )


@pytest.fixture
def data() -> bytes:
    return random.Random(7).randbytes(SIZE)


@pytest.fixture
def file(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / f"{tmp_path.name}.bin"
    path.write_bytes(data)
    return path


def command(host: RunningHost, *arguments: str) -> list[str]:
    return [*COMMAND, "--bundle", str(host.folder / "admin.tlsrt"), *arguments]


def tlsrt(host: RunningHost, *arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(host, *arguments), capture_output=True, text=True, timeout=60, cwd=folder)


def report(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def parts_at(host: RunningHost) -> list[str]:
    return [path.name for path in files_of(host).iterdir() if path.name.startswith(".")]


def files_of(host: RunningHost) -> Path:
    return next(host.folder.glob("**/files"))


def test_there_and_back(host: RunningHost, file: Path, data: bytes, tmp_path: Path) -> None:
    put = report(tlsrt(host, "put", str(file), "third/io", "--json"))
    assert put["resumed_bytes"] == 0 and put["size_bytes"] == SIZE and put["sha256"] == hashlib.sha256(data).hexdigest()
    again = [
        json.loads(line)
        for line in tlsrt(host, "put", str(file), "third/io", "third/io/twin", "--json").stdout.splitlines()
    ]
    assert [one["resumed_bytes"] for one in again] == [SIZE, 0], "the first is there already"
    wrong = tlsrt(host, "get", f"third/io/{file.name}", "third/io/twin", str(tmp_path / "copies"))
    assert wrong.returncode == 64 and "no folder" in wrong.stderr
    (tmp_path / "copies").mkdir()
    quiet = tlsrt(host, "get", f"third/io/{file.name}", "third/io/twin", str(tmp_path / "copies"))
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    assert sorted(path.name for path in (tmp_path / "copies").iterdir()) == sorted([file.name, "twin"])
    assert all(path.read_bytes() == data for path in (tmp_path / "copies").iterdir())


@pytest.mark.parametrize("verb", ["put", "get"])
def test_a_connection_that_is_cut_again_and_again(
    host: RunningHost, file: Path, data: bytes, tmp_path: Path, verb: str
) -> None:
    name = f"{tmp_path.name}-cut"
    if verb == "get":
        report(tlsrt(host, "put", str(file), f"third/io/{name}", "--json"))
    with cutting(host.port, [MIB, MIB, MIB]) as cutter:
        words = [str(file), f"third/io/{name}"] if verb == "put" else [f"third/io/{name}", str(tmp_path / "back")]
        report(tlsrt(host, verb, *words, "--address", cutter.address, "--json"))
        assert cutter.connections == 4, "it went on where it was: from the start it would never have come through"
    if verb == "put":
        report(tlsrt(host, "get", f"third/io/{name}", str(tmp_path / "back"), "--json"))
    assert (tmp_path / "back").read_bytes() == data


def killed_in_the_middle(host: RunningHost, arguments: Sequence[str], parts: Path) -> None:
    """Kill a transfer that is held, once more than half a MiB of it is on the disk, in a hidden file of this folder."""
    with (
        cutting(host.port, [CUT], holds=True) as cutter,
        subprocess.Popen(command(host, *arguments, "--address", cutter.address)) as process,
    ):
        assert cutter.reached.wait(30)
        end = time.monotonic() + 30
        while max((path.stat().st_size for path in parts.glob(".*")), default=0) <= MIB // 2:
            assert time.monotonic() < end, "what has arrived is not written"
            time.sleep(0.01)  # a disk tells no changes
        process.kill()


def test_a_killed_put_goes_on_in_the_next_run(host: RunningHost, file: Path, data: bytes, tmp_path: Path) -> None:
    place = f"third/io/{tmp_path.name}-killed"
    killed_in_the_middle(host, ["put", str(file), place], files_of(host))
    assert place.rpartition("/")[2] not in os.listdir(files_of(host)), "never half a file under the name"
    put = report(tlsrt(host, "put", str(file), place, "--json"))
    assert MIB // 2 < put["resumed_bytes"] < SIZE
    assert (files_of(host) / Path(place).name).read_bytes() == data
    assert not parts_at(host)


def test_a_killed_get_goes_on_in_the_next_run(host: RunningHost, file: Path, data: bytes, tmp_path: Path) -> None:
    place, back = f"third/io/{tmp_path.name}-killed", tmp_path / "back"
    report(tlsrt(host, "put", str(file), place, "--json"))
    back.write_bytes(b"the old one")
    back.chmod(0o640)
    killed_in_the_middle(host, ["get", place, str(back)], tmp_path)
    assert back.read_bytes() == b"the old one"
    got = report(tlsrt(host, "get", place, str(back), "--json"))
    assert MIB // 2 < got["resumed_bytes"] < SIZE
    assert back.read_bytes() == data and back.stat().st_mode & 0o777 == 0o640
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("loop", ["third", "primary"])
@pytest.mark.parametrize("verb", ["put", "get"])
def test_a_process_of_the_host_that_dies(
    host: RunningHost, file: Path, data: bytes, tmp_path: Path, verb: str, loop: str
) -> None:
    place = f"third/io/{tmp_path.name}-{verb}"
    if verb == "get":
        report(tlsrt(host, "put", str(file), place, "--json"))
    words = [str(file), place] if verb == "put" else [place, str(tmp_path / "back")]
    with (
        cutting(host.port, [CUT], holds=True) as cutter,
        subprocess.Popen(
            command(host, verb, *words, "--address", cutter.address, "--json", "--timeout", "20"),
            stdout=subprocess.PIPE, text=True,
        ) as process,
    ):  # fmt: skip
        assert cutter.reached.wait(30)
        host.respawn(loop)
        cutter.cut()
        out = process.communicate(timeout=60)[0]
    assert process.returncode == 0 and json.loads(out)["size_bytes"] == SIZE
    content = files_of(host) / Path(place).name if verb == "put" else tmp_path / "back"
    assert content.read_bytes() == data


def test_a_file_that_changes_while_it_is_sent(host: RunningHost, file: Path, tmp_path: Path) -> None:
    place = f"third/io/{tmp_path.name}-changed"
    with (
        cutting(host.port, [MIB // 2], holds=True) as cutter,
        subprocess.Popen(
            command(host, "put", str(file), place, "--address", cutter.address), stderr=subprocess.PIPE, text=True
        ) as process,
    ):
        assert cutter.reached.wait(30)
        with file.open("r+b") as changed:
            changed.seek(SIZE - 5)
            changed.write(b"other")
        cutter.go_on()
        error = process.communicate(timeout=60)[1]
    assert process.returncode == 1 and "was changed while it was sent" in error and error.count("\n") == 1
    assert Path(place).name not in os.listdir(files_of(host)) and not parts_at(host)


def test_a_wrong_byte_is_refused(host: RunningHost, file: Path, tmp_path: Path) -> None:
    place = RemotePath("third/io", f"{tmp_path.name}-wrong")
    client = host.client()
    about = (place.name, SIZE, hashlib.sha256(b"another file").hexdigest())
    assert client.call(place.target, "begin_put", *about) == {"offset": 0, "done": False}
    with pytest.raises(Exception, match="other SHA-256"):
        client.upload(place.target, "go_on_put", file.read_bytes(), *about, 0)
    assert place.name not in os.listdir(files_of(host)) and not parts_at(host)


def test_a_file_that_grows_bad_at_the_host_is_not_taken(host: RunningHost, file: Path, tmp_path: Path) -> None:
    place, back = f"third/io/{tmp_path.name}-bad", tmp_path / "back"
    back.write_bytes(b"old")
    report(tlsrt(host, "put", str(file), place, "--json"))
    killed_in_the_middle(host, ["get", place, str(back)], tmp_path)
    (part,) = tmp_path.glob(".back.*.part")
    with part.open("r+b") as damaged:
        damaged.write(b"\0wrong")
    got = report(tlsrt(host, "get", place, str(back), "--json"))
    assert got["size_bytes"] == SIZE and back.read_bytes() == file.read_bytes()


def test_a_full_disk_here_and_there(host: RunningHost, file: Path, tmp_path: Path) -> None:
    large = tmp_path / "large"
    with large.open("wb") as sparse:
        sparse.truncate(9 * MIB)
    done = tlsrt(host, "put", str(large), f"third/io/{tmp_path.name}-large")
    assert done.returncode == 1 and "the disk is full" in done.stderr and "was not changed" in done.stderr
    assert not parts_at(host), "what fills the disk goes"
    with large.open("wb") as sparse:
        sparse.truncate(25 * MIB)
    done = tlsrt(host, "put", str(large), f"third/io/{tmp_path.name}-large")
    assert done.returncode == 1 and "is the limit for a file" in done.stderr
    place = f"third/io/{tmp_path.name}-there"
    report(tlsrt(host, "put", str(file), place, "--json"))
    back = tmp_path / "back"
    back.write_bytes(b"old")
    done = subprocess.run(
        command(host, "get", place, str(back)), capture_output=True, text=True, timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2 * MIB, 2 * MIB)),
    )  # fmt: skip
    assert done.returncode == 1 and "the disk is full" in done.stderr and "for the next try" in done.stderr
    assert back.read_bytes() == b"old"
    assert report(tlsrt(host, "get", place, str(back), "--json"))["resumed_bytes"] == 2 * MIB


def test_two_runs_do_not_mix(host: RunningHost, file: Path, tmp_path: Path) -> None:
    place, back = f"third/io/{tmp_path.name}-two", tmp_path / "back"
    report(tlsrt(host, "put", str(file), place, "--json"))
    with (
        cutting(host.port, [CUT], holds=True) as cutter,
        subprocess.Popen(command(host, "get", place, str(back), "--address", cutter.address)) as process,
    ):
        assert cutter.reached.wait(30)
        done = tlsrt(host, "get", place, str(back), "--timeout", "1")
        process.kill()
    assert done.returncode == 75 and "another run" in done.stderr


def test_a_killed_client_is_told_nothing_wrong(host: RunningHost, file: Path, tmp_path: Path) -> None:
    """Ctrl-C in the middle is quiet, and leaves the old file."""
    back = tmp_path / "back"
    back.write_bytes(b"old")
    place = f"third/io/{tmp_path.name}-int"
    report(tlsrt(host, "put", str(file), place, "--json"))
    with (
        cutting(host.port, [CUT], holds=True) as cutter,
        subprocess.Popen(
            command(host, "get", place, str(back), "--address", cutter.address),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as process,
    ):  # fmt: skip
        assert cutter.reached.wait(30)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=30) == (b"", b"") and process.returncode == 130
    assert back.read_bytes() == b"old"


def test_python_sends_and_fetches(host: RunningHost, file: Path, tmp_path: Path) -> None:
    client = host.client()
    heard: list[tuple[int, int]] = []
    sent = client.put(file, f"third/io/{tmp_path.name}-py", on_progress=lambda *far: heard.append(far))
    assert sent.size_bytes == SIZE and heard[-1] == (SIZE, SIZE) and len(heard) > 10
    assert client.get(f"third/io/{tmp_path.name}-py", tmp_path / "back").sha256 == sent.sha256
    with pytest.raises(Failed, match="cannot read"):
        client.put(tmp_path / "nothing", "third/io")
    assert AsyncClient.put.__doc__
