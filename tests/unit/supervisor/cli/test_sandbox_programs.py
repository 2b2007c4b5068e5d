"""`sandbox show` and `sandbox explain` of a program: what it may read, execute, reach and bind."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tlsrt.config.init import initialise
from tlsrt.supervisor.cli import main

LABEL = "third.broker/main"
MORE = """
components:
  third/broker:
    class: "broker:Broker"
    programs:
      main:
        run: /bin/cat
        life: kept
        notifies: true
        read: [/usr/share/zoneinfo]
        files: {/etc/broker/main.conf: "listener 1883\\nuser nobody"}
        listen: [{name: mqtt, port: 1883, why: sensors send there}]
        egress: [{to: ["192.0.2.7:8883"], why: it passes everything on}]
        scratch_mb: 1
        why: it is the broker
  forth/fan: {kind: program, run: /bin/cat}
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("made") / "var"
    initialise(folder, host="127.0.0.1", port=7443, now=datetime(2026, 1, 2, tzinfo=UTC))
    path = folder / "tlsrt.yaml"
    path.write_text(path.read_text() + MORE)
    return str(path)


def test_show_says_all_of_it_with_the_reasons(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["sandbox", "show", LABEL, "--config", file]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"{LABEL}: a program that a component has run")
    flat = " ".join(text.split())
    for words in (
        "executes", "/etc/broker/main.conf", "sensors send there", "192.0.2.7:8883", "it passes everything on", "/tmp",
        "127.0.0.1:1883/tcp", "NOTIFY_SOCKET",
    ):  # fmt: skip
        assert words in flat, words


@pytest.mark.parametrize(
    ("what", "allowed", "words"),
    [
        (["/etc/broker/main.conf"], True, "made for it"),
        (["/usr/share/zoneinfo/UTC"], True, "listed under its `read`"),
        (["/etc/shadow"], False, "not"),
        (["/bin/cat"], True, "by the launcher"),
        (["/bin/sh"], False, "its declaration does not list it"),
        (["192.0.2.7:8883"], True, "it passes everything on"),
        (["192.0.2.7:8884"], False, "no egress rule lists it"),
        (["127.0.0.1:1883"], True, "sensors send there"),
        (["execve"], False, "killed"),
        (["sendmsg"], True, "performed by the supervisor"),
        (["mount"], False, "killed"),
    ],
)
def test_explain_answers(
    file: str, what: list[str], allowed: bool, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main.main(["sandbox", "explain", LABEL, *what, "--config", file])
    text = " ".join(capsys.readouterr().out.split())
    assert (code == 0) is allowed, text
    assert words in text
    assert "waived" not in text and "the seal" not in text, text


def test_what_a_component_has_run_is_explained_and_shown_for_itself(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["sandbox", "explain", "forth.fan", "/bin/cat", "--config", file]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "have it run, as forth.fan/main: by the supervisor, in a process of its own" in text
    assert "components.forth/fan: the component is this program" in text
    assert main.main(["sandbox", "explain", "forth.fan", "/bin/sh", "--config", file]) != 0
    assert "have it run" not in capsys.readouterr().out
    assert main.main(["sandbox", "show", "forth.fan", "--config", file]) == 0
    assert "program forth.fan/main: /bin/cat" in capsys.readouterr().out


def test_the_document_has_no_name_of_a_slot(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["sandbox", "show", LABEL, "--json", "--config", file]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert document["process"] == LABEL
    assert str(Path("/bin/cat").resolve()) in {str(Path(one).resolve()) for one in document["executes"]}


def test_one_that_is_not_there_is_a_sentence(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["sandbox", "show", "third.broker/mian", "--config", file]) == 64
    assert "did you mean" in capsys.readouterr().err
