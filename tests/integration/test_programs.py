"""Programs of a component on a real host: bytes in and out, how a run ends, and what it may see."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hosts.reloading_host import edit, outcomes, reload, seal_host
from hosts.running_host import RunningHost, running

PACKAGE = Path(__file__).parent.parent / "hosts" / "program_package" / "programs"
RUNNER = "third/runner"
WHY = "a test has it run"
PYTHON = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
COPY = "tlsrt_copy_of_cat"


def programs(folder: Path) -> dict[str, Any]:
    """Return what the component of this file may have run."""
    shell = {"run": "/bin/sh", "args": ["-c {script:text}"], "why": WHY}
    python = {
        "run": PYTHON, "args": ["-c {script:text}"], "why": WHY, "read": [sysconfig.get_path("stdlib")],
        "environment": {"PYTHONHOME": sys.base_prefix, "PYTHONDONTWRITEBYTECODE": "1"}, "memory_mb": 512,
    }  # fmt: skip
    return {
        "cat": {"run": "/bin/cat", "why": WHY},
        "gzip": {"run": os.path.realpath(shutil.which("gzip") or ""), "args": ["-c", "-d -c"], "why": WHY},
        "git": {"run": shutil.which("git"), "args": ["--version"], "why": WHY},
        "sh": shell | {"scratch_mb": 4, "seconds": 30, "environment": {"COLOUR": "blue"}},
        "family": shell | {"also_runs": [os.path.realpath("/bin/cat")], "scratch_mb": 4},
        "reader": shell
        | {
            "also_runs": [os.path.realpath("/bin/cat")],
            "scratch_mb": 4,
            "read": [str(folder / "notes")],
        },
        "slow": shell | {"seconds": 0.6},
        "script": {"run": str(folder / "hello"), "args": ["{word}"], "why": WHY},
        "copy": {"run": str(folder / COPY), "why": WHY},
        "broken": {"run": str(folder / "broken"), "why": WHY},
        "python": python,
        "jit": python | {"executable_memory": True},
        "family_memory": python | {"shared_memory": True},
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    for above in (folder, *folder.parents[:2]):
        above.chmod(0o755)
    (folder / "notes").mkdir()
    (folder / "notes" / "first").write_text("read me\n")
    (folder / "hello").write_text('#!/bin/sh\necho "hello $1"\n')
    shutil.copy("/bin/cat", folder / COPY)
    binary = bytearray(Path("/bin/cat").read_bytes())
    binary[16] = 1  # e_type, ET_REL of elf(5): nothing that execve would take
    (folder / "broken").write_bytes(binary)
    (folder / "broken").chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, folder: Path) -> Iterator[RunningHost]:
    component = {"class": "programs.runner:Runner", "programs": programs(folder)}
    policy = {f"client/admin -> {RUNNER}": "*"}
    yield from running(request, components={RUNNER: component}, policy=policy, packages=[PACKAGE])


def once(host: RunningHost, name: str, *arguments: str, data: bytes = b"") -> dict[str, Any]:
    found: dict[str, Any] = host.client().call(RUNNER, "once", name, list(arguments), data)
    return found


def record(host: RunningHost, name: str) -> dict[str, Any]:
    """Return what status says about a program."""
    found: dict[str, Any] = next(
        one for one in host.loop("third.runner")["programs"] if one["name"] == f"third.runner/{name}"
    )
    return found


def test_bytes_go_in_and_come_out_and_the_status_is_told(host: RunningHost) -> None:
    assert once(host, "cat", data=b"hello") == {"outcome": "ended", "status": 0, "stdout": b"hello", "stderr": ""}
    packed = once(host, "gzip", "-c", data=b"x" * 100_000)["stdout"]
    assert gzip.decompress(packed) == b"x" * 100_000
    assert once(host, "git", "--version")["stdout"].startswith(b"git version ")
    found = once(host, "sh", "-c", "echo out; echo first >&2; echo last >&2; exit 7")
    assert found == {"outcome": "ended", "status": 7, "stdout": b"out\n", "stderr": "first\nlast"}
    assert "sh #1: last" in host.log("third.runner")


def test_a_stream_passes_through_with_back_pressure(host: RunningHost) -> None:
    pieces = [os.urandom(1 << 20) for _ in range(12)]
    found = b"".join(host.client().exchange(RUNNER, "convert", iter(pieces), "cat", []))
    assert found == b"".join(pieces)


def test_a_script_is_run_by_its_interpreter_and_arguments_reach_it_as_they_are(host: RunningHost) -> None:
    assert once(host, "script", "you")["stdout"] == b"hello you\n"
    shown = once(host, "sh", "-c", 'echo "$COLOUR" "$HOME" "$PWD"; x="$(printf %s \'a  b\')"; echo "$x"; export -p')
    assert shown["stdout"].startswith(b"blue /tmp /tmp\na  b\n")
    assert b"TLSRT" not in shown["stdout"], "nothing of the host's environment goes there"


def test_it_runs_what_is_listed_and_nothing_else(host: RunningHost) -> None:
    assert once(host, "family", "-c", "echo hello | cat")["stdout"] == b"hello\n"
    assert once(host, "family", "-c", "exec /bin/cat", data=b"more")["stdout"] == b"more"
    assert once(host, "sh", "-c", "cat; echo after")["stdout"] == b"after\n", "its root does not even show it"
    assert once(host, "sh", "-c", "/bin/cat; echo after")["outcome"] == "forbidden", "and to try all the same ends it"


def test_what_it_reads_may_lie_where_its_own_scratch_folder_is(host: RunningHost, folder: Path) -> None:
    script = f"cd /tmp && cat {folder}/notes/first > copy && cat copy; echo x > {folder}/notes/first; echo /tmp/*"
    found = once(host, "reader", "-c", script)
    assert (found["outcome"], found["stdout"]) == (
        "ended",
        f"read me\n/tmp/copy /{'/'.join(folder.parts[1:3])}\n".encode(),
    )
    assert "Read-only file system" in found["stderr"] or "Permission denied" in found["stderr"]
    assert (folder / "notes" / "first").read_text() == "read me\n"


def test_how_else_it_may_end(host: RunningHost) -> None:
    assert once(host, "slow", "-c", "while :; do :; done")["outcome"] == "deadline"
    found = once(host, "sh", "-c", "kill -9 $$; while :; do kill -11 $$; exit 3; done")
    assert found["outcome"] in ("signalled", "ended"), "the first process of a namespace ignores its own kill"
    assert once(host, "cat", "x")["outcome"] == "refused"
    assert "it takes none" in once(host, "cat", "x")["stderr"] or "no arguments" in once(host, "cat", "x")["stderr"]
    ends = record(host, "slow")["ends"]
    assert ends == {"deadline": 1}
    assert record(host, "slow")["last"] == "#1: not over in 0.6 s"
    host.told('"program_failed"', "third.runner/slow", by=("events", "--kind", "program", "--json"))


def test_why_one_cannot_be_started_is_on_the_console_though_it_may_write_no_file(
    host: RunningHost, folder: Path
) -> None:  # fmt: skip
    found = once(host, "broken")
    words = f"cannot execute {folder}/broken: execveat: Exec format error"
    assert found["outcome"] == "failed" and words in found["stderr"]
    host.wait_for(f"^third.runner/broken #1 +failed +it could not be started: {re.escape(words)}")
    assert record(host, "broken")["last"] == f"#1: it could not be started: {words}"


def test_its_process_is_confined_from_outside(host: RunningHost) -> None:
    client = host.client()
    running = client.stream(RUNNER, "hold", "sh", ["-c", "echo here; read x"])
    assert next(running) == "here\n"
    (entry,) = record(host, "sh")["running"]
    own, component = (Path(f"/proc/{pid}") for pid in (entry["pid"], host.pids()["third.runner"]))
    status = dict(line.split(":\t", 1) for line in (own / "status").read_text().splitlines() if ":\t" in line)
    assert entry["name"].startswith("third.runner/sh #")
    assert (status["NoNewPrivs"], status["Seccomp"], status["CapEff"]) == ("1", "2", "0" * 16)
    if os.geteuid() == 0:
        assert f"Uid:\t{status['Uid']}" not in (component / "status").read_text()
    for namespace in ("net", "pid", "mnt", "ipc", "uts"):
        assert os.readlink(own / "ns" / namespace) != os.readlink(component / "ns" / namespace), namespace
    assert sorted(os.listdir(own / "fd")) == ["0", "1", "2"]
    del running
    client.close()
    host.until(lambda document: not record(host, "sh")["running"], "the end of what its caller has left")


def test_executable_memory_is_there_where_it_is_granted(host: RunningHost) -> None:
    make = "import mmap; mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=7); print('made')"
    found = once(host, "python", "-c", make)
    assert found["status"] == 1 and "PermissionError" in found["stderr"], found
    assert once(host, "jit", "-c", make)["stdout"] == b"made\n"


def test_shared_memory_is_between_a_program_and_its_children_and_counts(host: RunningHost) -> None:
    """Attacked: what is shared is neither executable nor more than the limit, in one piece or in many."""
    begin = "import mmap, os; S = mmap.MAP_SHARED | mmap.MAP_ANONYMOUS\n"
    share = """
one = mmap.mmap(-1, 4096, flags=S)
if os.fork() == 0:
    one[:5] = b'child'
    os._exit(0)
os.wait()
print(one[:5].decode())"""
    assert run_script(host, "family_memory", begin + share)["stdout"] == b"child\n"
    found = run_script(host, "python", begin + share)
    assert found["status"] == 1 and "PermissionError" in found["stderr"], found
    for flags, protection in (("S", 7), ("S", 5), ("S | 0x40000", 3)):
        found = run_script(host, "family_memory", f"{begin}mmap.mmap(-1, 1 << 21, flags={flags}, prot={protection})")
        assert found["status"] == 1 and "PermissionError" in found["stderr"], (flags, found)
    many = """
held = []
try:
    while True:
        held.append(mmap.mmap(-1, 1 << 24, flags=S))
except OSError:
    print(len(held))"""
    assert 16 <= int(run_script(host, "family_memory", begin + many)["stdout"]) < (512 + 256) // 16


def run_script(host: RunningHost, name: str, script: str) -> dict[str, Any]:
    """Have a Python run several lines, as one printable argument."""
    return once(host, name, "-c", f"exec({script!r})")


def test_it_has_two_devices_which_give_and_take_and_no_other(host: RunningHost) -> None:
    """What is written to /dev/urandom would be mixed into the host's: a program may only read."""
    script = """import os, errno
def tried(path, how):
    try:
        return os.open(path, how) > 0
    except OSError as error:
        return errno.errorcode[error.errno]
print(len(open('/dev/urandom', 'rb', 0).read(16)),
      tried('/dev/urandom', os.O_WRONLY), tried('/dev/random', 0), tried('/dev/zero', 0),
      tried('/dev/null', os.O_RDWR))"""
    words = run_script(host, "family_memory", script)["stdout"].split()
    assert words == [b"16", b"EACCES", b"ENOENT", b"ENOENT", b"True"]


def test_more_runs_than_may_be_at_once_wait_for_each_other(host: RunningHost) -> None:
    found = host.client().call(RUNNER, "many", "cat", [], 8)
    assert found["good"] == 8, found


def test_a_changed_executable_is_refused_until_it_is_sealed_and_reloaded(host: RunningHost, folder: Path) -> None:
    assert once(host, "copy", data=b"one")["stdout"] == b"one"
    with (folder / COPY).open("ab") as file:
        file.write(b"\0")
    found = once(host, "copy", data=b"two")
    assert found["outcome"] == "changed"
    assert "has changed since the host was sealed" in found["stderr"]
    seal_host(host)
    assert outcomes(reload(host))["third.runner"] == "restarted"
    assert once(host, "copy", data=b"three")["stdout"] == b"three"


def test_what_cannot_be_had_is_a_sentence_with_its_place(host: RunningHost) -> None:
    wrong = {
        "run: /nowhere": ({"run": "/nowhere", "why": WHY}, "cannot have the program bad: cannot read /nowhere"),
        "args": ({"run": "/bin/cat", "why": WHY, "args": ["{Bad}"]}, "needs a name"),
        "read": ({"run": "/bin/cat", "why": WHY, "read": ["/proc"]}, "cannot read /proc: /proc is the kernel's"),
        "why": ({"run": "/bin/cat"}, "why is missing"),
    }
    for entry, sentence in wrong.values():
        edit(host, lambda document, entry=entry: document["components"][RUNNER]["programs"].update(bad=entry))  # type: ignore[misc]
        said = host.cli("reload", "--json").stdout + host.cli("reload").stderr
        assert sentence in said, (sentence, said)
        assert "tlsrt.yaml:" in said
    edit(host, lambda document: document["components"][RUNNER]["programs"].pop("bad"))


def test_output_by_name_comes_where_output_comes(host: RunningHost) -> None:
    script = "echo first; echo named >/dev/stdout; echo last; echo why >/dev/stderr; echo more >&2; exit 3"
    found = once(host, "sh", "-c", script)
    assert found["status"] == 3
    assert sorted(found["stdout"].split()) == [b"first", b"last", b"named"]
    assert sorted(found["stderr"].split()) == ["more", "why"]
    much = once(
        host, "sh", "-c", "exec >/dev/stdout <&-; i=0; while [ $i -lt 20000 ]; do echo 0123456789; i=$((i+1)); done"
    )
    assert much["stdout"] == b"0123456789\n" * 20000, (
        "more than a pipe holds, from a program that has closed its socket"
    )
    kept = once(host, "sh", "-c", "echo a >>/dev/stderr; echo b >/dev/stderr; echo c >/dev/stdout")
    assert (kept["stdout"], kept["stderr"].split()) == (b"c\n", ["a", "b"])
    tried = once(
        host, "sh", "-c", "for one in tty new full stdin fd/1; do echo x >/dev/$one && echo $one; done; echo end"
    )
    assert tried["stdout"] == b"end\n", "nothing else of /dev came with it"
