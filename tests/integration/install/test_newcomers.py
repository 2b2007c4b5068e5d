"""What people type first: each mistake ends in a sentence that says what to do, and changes nothing."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hosts.installation import installed, listed, portable, scratch
from hosts.installed_host import LIMIT_S, NOBODY, InstalledHost

IS_ROOT = os.geteuid() == 0
NUMBER = iter(range(1000))


@pytest.fixture
def work() -> Iterator[Path]:
    """A folder to be in, with nothing in it, where everybody may look."""
    folder = scratch() / f"work-{next(NUMBER)}"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def new(work: Path) -> InstalledHost:
    """A host that is not there yet."""
    return InstalledHost(installed(), work / "var")


@pytest.fixture
def host(new: InstalledHost) -> InstalledHost:
    new.like_new()
    return new


def sentence(host: InstalledHost, *words: str, code: int = 78, program: str = "tlsrt-supervisor") -> str:
    """Run in the folder around the host; return the one sentence with which the command refuses."""
    ended, output, errors = host.run(*words, program=program)
    assert (ended, output) == (code, ""), errors
    [line] = errors.splitlines()
    return line.removeprefix(f"{program}: ")


@pytest.mark.parametrize("verb", ["start", "status", "stop", "seal"])
def test_before_init_every_command_says_what_to_type(new: InstalledHost, verb: str) -> None:
    assert "run `tlsrt-supervisor init var` to make one" in sentence(new, verb)
    assert not list(new.folder.parent.iterdir())


def test_what_it_says_to_type_works(new: InstalledHost) -> None:
    """From nothing to an answer with only what the commands themselves print."""
    [command] = re.findall(r"`tlsrt-supervisor (init \w+)`", sentence(new, "start"))
    said = new.do(*command.split(), "--port", str(new.port))
    assert re.search(r"^next: \S*tlsrt-supervisor start( --config var/tlsrt.yaml)?$", said, re.MULTILINE)
    with new.started():
        [call] = re.findall(r"next, in a second terminal: \S*tlsrt (.*)$", "\n".join(new.console), re.MULTILINE)
        assert new.do(*call.split(), program="tlsrt")


def test_init_twice_overwrites_nothing(host: InstalledHost) -> None:
    before = listed([host.folder])
    assert "tlsrt.yaml exists, and init never overwrites: nothing was written" in sentence(host, "init", "var")
    assert listed([host.folder]) == before
    (host.folder / "tlsrt.yaml").unlink()
    before = listed([host.folder])
    assert "exists, and init never overwrites" in sentence(host, "init", "var"), "what else is there is as dear"
    assert listed([host.folder]) == before


def test_the_port_is_taken(host: InstalledHost) -> None:
    with socket.create_server(("127.0.0.1", host.port)):
        said = host.refused()
    assert said == f"another program already listens on 127.0.0.1:{host.port}: stop it, or choose another door.port"
    with host.started():
        pass


def test_a_second_start_names_the_first(host: InstalledHost) -> None:
    with host.started() as process:
        pid = host.status()["supervisor"]["pid"]
        [ended, output, errors] = host.run("start")
        assert (ended, output) == (69, "")
        assert errors == (
            f"tlsrt-supervisor: tlsrt is already running here (pid {pid}): stop it with `tlsrt-supervisor stop` first\n"
        )
        assert host.call("primary/kernel", "uname"), "the first one is as well as before"
        assert process.poll() is None


def test_stop_and_status_of_what_does_not_run(host: InstalledHost) -> None:
    for verb in ("status", "stop"):
        assert sentence(host, verb, code=3).startswith("tlsrt is not running")
    host.do("schema")
    assert sentence(host, "call", "primary/kernel", "uname", code=69, program="tlsrt").startswith("cannot reach 127.0.")


def test_unknown_keys_all_at_once_with_line_and_column(host: InstalledHost) -> None:
    text = host.config.read_text().replace("\nmeasure:", "\nmeazure:").replace("  port:", "  prot:")
    host.config.write_text(text)
    lines = text.splitlines()
    first, second = lines.index("meazure: strict") + 1, next(n for n, line in enumerate(lines) if "prot:" in line) + 1
    for verb in ("start", "seal", "status"):
        code, output, errors = host.run(verb)
        assert (code, output) == (78, "")
        assert errors.splitlines() == [
            f"tlsrt-supervisor: {host.config}:{first}:1: unknown key 'meazure', did you mean measure?",
            f"tlsrt-supervisor: {host.config}:{second}:3: unknown key 'prot' in door, did you mean port?",
        ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ":1:1: the file is empty"),
        (b"version: [\n", ":2:1: this is not YAML"),
        (b"\xff\xfe", ":1:1: the file is not UTF-8 text"),
        (b"version: 1\n" * 100_000, "is larger than"),
    ],
)
def test_what_is_no_configuration(host: InstalledHost, content: bytes, words: str) -> None:
    host.config.write_bytes(content)
    assert words in sentence(host, "start")


def test_a_folder_as_the_configuration(host: InstalledHost) -> None:
    assert "is not a regular file" in sentence(host, "start", "--config", str(host.folder))
    assert "there is no configuration at" in sentence(host, "start", "--config", "nowhere/tlsrt.yaml")


def test_a_configuration_that_may_not_be_read(host: InstalledHost) -> None:
    host.config.chmod(0)
    other = InstalledHost(portable(), host.folder, user=NOBODY if IS_ROOT else None)
    host.folder.chmod(0o755)
    for verb in ("start", "status", "seal") if IS_ROOT else ("status", "seal"):  # a start of the owner is root to it
        assert sentence(other, verb) == f"cannot read {host.config}: Permission denied"


def test_a_place_where_nothing_may_be_written(work: Path) -> None:
    closed = work / "closed"
    closed.mkdir(mode=0o555)
    other = InstalledHost(portable(), work / "var", user=NOBODY if IS_ROOT else None)
    assert "closed/var: Permission denied" in sentence(other, "init", "closed/var")
    assert sentence(other, "init", "closed/a/var") == "cannot make the folder closed/a: Permission denied"
    assert not list(closed.iterdir())


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("init", "x", "--port", "0"), 78, "the port must be from 1 to 65535, not 0"),
        (("init", "x", "--port", "70000"), 78, "the port must be from 1 to 65535, not 70000"),
        (("init", "x", "--port", "http"), 64, '"http" is not a whole number'),
        (("init", "x", "--host", "localhost"), 78, "the host must be an IP address, such as 127.0.0.1"),
        (("init",), 64, "name the folder to write in"),
        (("init", "/dev/null"), 78, "/dev/null exists and is not a folder: choose another place"),
        (("strat",), 64, 'there is no verb "strat", did you mean start?'),
        ((), 64, "say what to do"),
        (("status", "--jsn"), 64, "there is no option --jsn, did you mean --json?"),
    ],
)
def test_wrong_words(new: InstalledHost, words: tuple[str, ...], code: int, said: str) -> None:
    assert said in sentence(new, *words, code=code)
    assert not list(new.folder.parent.iterdir())


def test_a_full_disk(work: Path) -> None:
    """On a small file system of its own: init leaves nothing behind, at whatever file the space ends."""
    place = work / "small"
    place.mkdir()
    program = installed().program("tlsrt-supervisor")
    script = (
        'mount -t tmpfs -o size=$1k,nr_inodes=64 tmpfs "$2" || exit 99; "$3" init "$2/var" 2>&1; code=$?; '
        'ls -A "$2"; exit $code'
    )
    unshare = ["unshare", "--mount", *([] if IS_ROOT else ["--map-root-user"])]
    for kilobytes in (4, 16, 32, 48, 64):
        words = ["sh", "-c", script, "sh", str(kilobytes), str(place), str(program)]
        done = subprocess.run([*unshare, *words], capture_output=True, text=True, timeout=LIMIT_S)
        assert done.returncode == 78, done.stdout + done.stderr
        [line] = done.stdout.splitlines()  # and so `ls` showed nothing
        assert line.startswith("tlsrt-supervisor: cannot write ")
        assert line.endswith(": No space left on device")


def test_ctrl_c_at_any_moment_of_the_start_leaves_nothing(host: InstalledHost) -> None:
    """A newcomer's second thought: the signal comes after every so many lines of the console."""
    for wanted in (1, 4, 7):
        with host.popen("start", "--config", host.config) as process:
            assert process.stdout is not None
            for _ in range(wanted):
                process.stdout.readline()
            process.send_signal(signal.SIGINT)
            rest = process.stdout.read().decode()
        assert "Traceback" not in rest
        assert process.returncode in (0, 130), rest
        host.assert_nothing_runs()
    with host.started():
        pass
