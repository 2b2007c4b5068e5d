"""`sandbox show` and `sandbox explain`: what they print, without a running supervisor and without root."""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tlsrt.config import defaults
from tlsrt.config.init import initialise
from tlsrt.config.load import load_config
from tlsrt.errors import EX_USAGE
from tlsrt.supervisor.cli import main, sandbox
from tlsrt.supervisor.cli.sandbox import effective_of
from tlsrt.supervisor.process import uids

GUIDE = Path(__file__).parents[4] / "docs" / "guide" / "sandbox.md"
PROCESSES = (*defaults.PROCESSES, "authority", "reports")
ONE_HOST = "ask about one address and one port, such as 192.0.2.7:443 or [2001:db8::7]:53/udp"
MORE = """
scheduling: {cpus: {reports: [0]}, real_time: [reports], priority: 7}
loops:
  reports: {egress: [{to: ["192.0.2.7:443", "[2001:db8::]/32:53/udp"], why: the archive}], processes: 99}
components:
  external/network: null
  third/io: {needs: {calls: [{calls: [inotify_init1, inotify_add_watch], why: sees new pictures}], memory_mb: 8}}
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("made") / "var"
    initialise(folder, host="127.0.0.1", port=7443, now=datetime(2026, 1, 2, tzinfo=UTC))
    path = folder / "tlsrt.yaml"
    path.write_text(path.read_text().replace('  client/admin -> external/network: "*"\n', "") + MORE)
    return str(path)


def run(file: str, *words: str) -> int:
    return main.main(["sandbox", *words, "--config", file])


@pytest.fixture
def shown(file: str, capsys: pytest.CaptureFixture[str]) -> Any:
    def show(process: str) -> Any:
        assert run(file, "show", process, "--json") == 0
        return json.loads(capsys.readouterr().out)

    return show


@pytest.mark.parametrize("process", PROCESSES)
def test_show_prints_every_line_with_its_reason(
    file: str, process: str, shown: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    document = shown(process)
    assert run(file, "show", process) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"{process}: {document['about']}\n")
    flat = " ".join(text.split())
    sections = [*document["files"], *document["egress"], *document["limits"], *document["network"]]
    for line in [*sections, *(line for entries in document["calls"].values() for line in entries)]:
        assert line["why"] in flat and line["part"] in flat, line
    for line in document["files"]:
        assert line["path"] in text
    assert all(len(line) <= 118 or "/" in line for line in text.splitlines()), "no line is wider than a terminal"


@pytest.mark.parametrize("process", PROCESSES)
def test_show_says_what_the_profile_says(file: str, process: str, shown: Any) -> None:
    profile = effective_of(load_config(Path(file)), process).profile
    document = shown(process)
    assert document["digest"] == profile.digest().hex()
    who = {"uid": profile.uid, "gid": profile.gid, "rootless": profile.rootless, "capabilities": []}
    assert document["identity"] == who
    assert {limit["limit"]: limit["value"] for limit in document["limits"]} == dict(profile.limits)
    paths = {kind: [line["path"] for line in document["files"] if line["kind"] == kind and "absent" not in line]
             for kind in ("code", "data", "write", "mounts")}  # fmt: skip
    assert set(map(str, profile.read)) == {*paths["code"], *paths["data"]}
    assert set(map(str, profile.kept)) == set(paths["data"])
    assert {inside for _, inside in profile.write} == set(paths["write"])
    assert profile.proc is ("/proc" in paths["mounts"]) and profile.sys is ("/sys" in paths["mounts"])
    assert [rule["rule"] for rule in document["egress"]] == [str(rule) for rule in profile.egress]
    assert {layer["layer"] for layer in document["layers"] if layer["state"] == "applied"} == {
        name for name in profile.layers if profile.expects(name)
    }
    for kind, entries in document["calls"].items():
        assert [tuple(entry["calls"]) for entry in entries] == [one.calls for one in profile.policy.lists[kind]]


def test_scheduling_is_shown_where_there_is_any(file: str, shown: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown("reports")["scheduling"] == {"cpus": [0], "real_time_priority": 7}
    assert shown("third")["scheduling"] == {"cpus": None, "real_time_priority": None}
    run(file, "show", "reports")
    text = capsys.readouterr().out
    assert "\nprocessors  0\n" in text and "\nreal time   SCHED_RR with priority 7, " in text


def test_what_is_switched_off_takes_its_lines_with_it(shown: Any) -> None:
    external = shown("external")
    assert external["namespaces"]["net"] == "its own" and external["network"] == []
    assert "external_network" not in json.dumps(external) and "AF_INET" not in json.dumps(external["calls"]["allow"])


def test_what_the_configuration_asks_is_shown_as_its_own(shown: Any) -> None:
    assert [(one["rule"], one["why"], one["part"]) for one in shown("reports")["egress"]] == [
        ("192.0.2.7:443", "the archive", "loops.reports"),
        ("[2001:db8::]/32:53/udp", "the archive", "loops.reports"),
    ]
    assert shown("reports")["tcp_connect_ports"] == [443]
    assert {one["limit"]: one["value"] for one in shown("reports")["limits"]}["nproc"] in (99, 1024)
    third = shown("third")
    assert third["calls"]["allow"][-1] == {
        "calls": ["inotify_init1", "inotify_add_watch"], "when": [], "why": "sees new pictures",
        "part": "components.third/io",
    }  # fmt: skip
    assert {one["limit"]: one["value"] for one in third["limits"]}["data"] == 520 << 20


@pytest.mark.parametrize(
    ("question", "code", "words"),
    [
        ("third execve", 1, "always: execve: killed no process of the runtime ever runs another program"),
        ("third read", 0, "always: read: allowed base: descriptors that are open already"),
        ("third io_uring_setup", 1, "ENOSYS"),
        ("third socket AF_INET SOCK_STREAM", 1, "EPERM no line allows it with other arguments"),
        ("third socket AF_UNIX SOCK_STREAM|0x80000", 0, "the channel connects anew"),
        ("third keyctl 3 4 5", 1, "killed"),
        ("third inotify_init1", 0, "components.third/io: sees new pictures"),
        ("secondary inotify_init1", 1, "ENOSYS a watch sees what other processes do"),
        ("secondary fanotify_init", 1, "EPERM no line allows it"),
        ("secondary chmod", 1, "as if done"),
        ("third landlock_add_rule", 1, "before the seal: landlock_add_rule: allowed"),
        ("authority memfd_secret", 0, "cannot be read from outside"),
        ("third /etc/shadow", 1, "no line shows it"),
        ("third /state/files", 0, "write: allowed loop: the one folder"),
        ("primary /proc/self/fd", 0, "primary: OpenSSL takes"),
        ("primary /sys/class", 1, "no line shows it"),
        ("primary.facts /sys/class", 0, "components.primary/hardware"),
        ("third /proc/meminfo", 1, "no line shows it"),
        ("reports 192.0.2.7:443", 0, "loops.reports: the archive"),
        ("reports [2001:db8::9]:53/udp", 0, "when [2001:db8::]/32:53/udp"),
        ("reports 192.0.2.8:443", 1, "layer egress no egress rule lists it"),
        ("external 192.0.2.7:443", 1, "socket: EPERM"),
    ],
)  # fmt: skip
def test_explain_answers_with_the_line_behind_it(
    file: str, question: str, code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(file, "explain", *question.split()) == code
    text = " ".join(capsys.readouterr().out.split())
    assert text.startswith(question.replace(" ", ": ", 1))
    rest = text
    for word in words.split():
        assert word in rest, text
        rest = rest[rest.index(word) + len(word) :]
    assert run(file, "explain", *question.split(), "--json") == code
    document = json.loads(capsys.readouterr().out)
    assert document["allowed"] is (code == 0)
    assert all(answer["why"] for answer in document["answers"])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("show thrid", "there is no loop thrid, did you mean third?"),
        (
            "show x",
            f"there is no loop x: the processes are {', '.join(defaults.PROCESSES)}, reports, authority, "
            "learner",
        ),
        ("explain thrid read", "there is no loop thrid, did you mean third?"),
        ("explain third raed", f"raed is no system call of {os.uname().machine}, no path (/...) and no host "
         "(HOST:PORT), did you mean read?"),
        (
            "explain third read /etc/passwd",
            "/etc/passwd is a path, and calls take numbers: name the path alone, or openat",
        ),
        ("explain third socket AF_INETT", "AF_INETT is neither a number nor a constant, did you mean AF_INET?"),
        ("explain third socket -1", None),
        ("explain third read 1 2 3 4 5 6 7", "a system call has 6 arguments at most, not 7"),
        ("explain third read 0x10000000000000000", "0x10000000000000000 does not fit into a register"),
        ("explain third /etc/hosts 5", "5: nothing can follow a path or a host"),
        ("explain third example.org:1-2", "example.org:1-2: ask about one port, such as example.org:443"),
        ("explain third *:443", f"*:443: {ONE_HOST}"),
        ("explain third 192.0.2.0/24:443", f"192.0.2.0/24:443: {ONE_HOST}"),
        ("explain third 192.0.2.7:1-2", f"192.0.2.7:1-2: {ONE_HOST}"),
        ("explain third", None),
        ("explain", None),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_64_and_one_sentence(
    file: str, words: str, sentence: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = run(file, *words.split())
    except SystemExit as ended:
        code = int(str(ended.code))
    errors = capsys.readouterr().err
    assert code == EX_USAGE and errors.count("\n") == 1
    if sentence is not None:
        assert errors == f"tlsrt-supervisor: {sentence}\n"


def test_what_cannot_be_confined_is_not_sealed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    initialise(tmp_path / "var", host="127.0.0.1", port=7443, now=datetime(2026, 1, 2, tzinfo=UTC))
    path, token = tmp_path / "var" / "tlsrt.yaml", tmp_path / "var" / "boot.token"
    before = token.read_bytes()
    wish = "components: {third/io: {needs: {calls: [{calls: [execve], why: runs a shell}]}}}\n"
    path.write_text(path.read_text() + wish)
    assert main.main(["seal", "--config", str(path)]) == 78
    assert "third/io cannot have execve" in capsys.readouterr().err
    assert token.read_bytes() == before
    path.write_text(path.read_text().replace("execve", "inotify_init1"))
    assert main.main(["seal", "--config", str(path)]) == 0 and token.read_bytes() != before


def test_the_examples_of_the_guide_are_what_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As root; what depends on the host is left out there."""
    monkeypatch.setattr(uids, "own_identity", lambda config: uids.identify(config, 0, [range(1 << 32)]))
    monkeypatch.setattr(sandbox, "own_identity", uids.own_identity)
    initialise(tmp_path / "var", host="127.0.0.1", port=7443, now=datetime(2026, 1, 2, tzinfo=UTC))
    examples = re.findall(r"^\$ tlsrt-supervisor (sandbox .*)\n((?:(?![$`]).*\n)+)", GUIDE.read_text(), re.M)
    assert len(examples) == 3
    for command, expected in examples:
        main.main([*command.split(), "--config", str(tmp_path / "var" / "tlsrt.yaml")])
        rest = capsys.readouterr().out
        for piece in expected.split("...\n"):
            assert piece in rest, f"{command} does not print:\n{piece}"
            rest = rest[rest.index(piece) + len(piece) :]


def test_the_needs_of_the_guide_are_a_configuration(file: str, tmp_path: Path) -> None:
    (example,) = re.findall(r"^loops:\n.*?(?=^```)", GUIDE.read_text(), re.M | re.S)
    path = Path(file).with_name("guide.yaml")
    path.write_text(Path(file).read_text().partition("\nscheduling:")[0] + "\n" + example)
    config = load_config(path)
    assert [str(rule) for one in config.loop("external").egress for rule in one.to] == ["192.0.2.7:443"]
    assert config.components_of("third.pictures")[0].needs.calls[0].calls == ("inotify_init1", "inotify_add_watch")
