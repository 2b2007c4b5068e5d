"""Drop-ins of the configuration and variables: what they give, and every sentence with which they are refused."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from tlsrt.config.config_drop_ins import read_config_drop_ins
from tlsrt.config.document import ConfigFiles, read_files
from tlsrt.config.init import changes, seal
from tlsrt.config.load import load_config, parse_files
from tlsrt.config.schema import Config
from tlsrt.errors import EX_CONFIG, ConfigError
from tlsrt.supervisor.cli.main import main as run_command

FILE = Path("/etc/tlsrt/tlsrt.yaml")
FOLDER = "/etc/tlsrt/tlsrt.yaml.d"


@pytest.fixture
def main(minimal: str) -> str:
    return minimal


def parsed(main: str, environment: Mapping[str, str] | None = None, **drop_ins: str) -> Config:
    files = {f"{name}.yaml": text.encode() for name, text in drop_ins.items()}
    return parse_files(ConfigFiles(main.encode(), files, environment=environment or {}), FILE)


def refused(main: str, environment: Mapping[str, str] | None = None, **drop_ins: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parsed(main, environment, **drop_ins)
    return [line.removeprefix("/etc/tlsrt/") for line in caught.value.problems]


def test_tables_are_merged_and_all_else_is_replaced_in_the_order_of_names(main: str) -> None:
    main += "limits: {epoch_s: 60, queue_frames: 9}\npolicy:\n  third/* -> secondary/store: [put, get]\n"
    main += "components:\n  third/io: {options: {files: {a: 1, b: [1, 2]}}}\n"
    config = parsed(
        main,
        a="limits: {epoch_s: 70}\ndoor: {port: 1234}\ncomponents: {external/network: null}\n",
        b='limits:\n  epoch_s: 80\npolicy:\n  third/* -> secondary/store: [get]\n  forth/* -> secondary/store: "*"\n',
        c="components:\n  third/io: {options: {files: {b: [3], c: 2}}}\nloops: {reports: {}}\n",
    )
    assert (config.limits.epoch_s, config.limits.queue_frames) == (80, 9)
    assert (config.door.port, config.door.certificate) == (1234, Path("/etc/tlsrt/server.crt"))
    assert {(rule.source, rule.methods) for rule in config.policy} == {("third/*", ("get",)), ("forth/*", ("*",))}
    by_address = {one.address: one for one in config.components}
    assert "external/network" not in by_address
    assert by_address["third/io"].options == {"files": {"a": 1, "b": [3], "c": 2}}
    assert config.loop("reports") is not None


def test_a_fault_is_told_with_the_file_that_said_it(main: str) -> None:
    found = refused(main, a="\nlimits: {epoch_s: no}\n", b="limits:\n  epochs: 1\n  epoch_s: nono\n")
    assert found == [
        "tlsrt.yaml.d/b.yaml:2:3: unknown key 'epochs' in limits, did you mean epoch_s?",
        "tlsrt.yaml.d/b.yaml:3:12: epoch_s must be a number, not 'nono'",
    ]
    assert refused(main, a="policy: {third/io -> third/nobody: [a]}\n") == [
        "tlsrt.yaml.d/a.yaml:1:10: third/io -> third/nobody: there is no third/nobody to call, did you mean third/io?"
    ]
    assert refused(main + "door: {}\n", a="x: [\n") == [
        "tlsrt.yaml:6:1: the key 'door' is here twice (first in line 5)",
        "tlsrt.yaml.d/a.yaml:2:1: this is not YAML: did not find expected node content",
    ]
    assert refused(main, a="audit: {keep_mb: 20}\n\naudit: {keep_mb: 30}\n") == [
        "tlsrt.yaml.d/a.yaml:3:1: the key 'audit' is here twice (first in line 1)"
    ]
    assert refused(main, a="- 1\n") == ["tlsrt.yaml.d/a.yaml:1:1: a drop-in must be a table of keys and values"]
    assert refused(main, a="# only this\n") == ["tlsrt.yaml.d/a.yaml:1:1: the file is empty"]
    assert refused(main, a="policy:\n") == [
        "tlsrt.yaml.d/a.yaml:1:8: policy must be a table of keys and values, not nothing"
    ]


def test_who_this_host_is_stands_in_the_main_file_only(main: str) -> None:
    assert refused(main, a="measure: warn\nrun_dir: /tmp\n") == [
        "tlsrt.yaml.d/a.yaml:1:1: measure stands in the main file only: remove it here",
        "tlsrt.yaml.d/a.yaml:2:1: run_dir stands in the main file only: remove it here",
    ]


def test_the_components_of_a_drop_in_know_their_place(main: str) -> None:
    config = parsed(main, a="components:\n  third/notes:\n    class: notes:Notes\n    options:\n      title: x\n")
    [notes] = [one for one in config.components if not one.builtin]
    assert notes.places["title",] == f"{FOLDER}/a.yaml:5:7"


def test_an_older_version_is_read_as_it_was_meant_and_says_the_command(minimal: str) -> None:
    minimal = minimal.replace("version: 2", "version: 1")
    text = minimal + "components: {third/io: {options: {title: '${TLSRT_X} $${'}}}\n"
    config = parsed(text)
    assert config.components[4].options == {"title": "${TLSRT_X} $${"}
    assert config.remarks == (
        f"{FILE}:1:1: this configuration is of version 1, and the newest is 2: run `tlsrt-supervisor config migrate`",
    )
    sentence = "a configuration of version 1 has no {}: run `tlsrt-supervisor config migrate`"
    assert refused(minimal, a="audit: {}\n") == [f"tlsrt.yaml:1:1: {sentence.format('drop-ins')}"]
    assert refused(minimal + "environment: {}\n") == [f"tlsrt.yaml:1:1: {sentence.format('environment')}"]
    assert refused(minimal.replace("version: 1", "version: 3"))[0].endswith(
        "version 3 is of a newer tlsrt, and this one knows those up to 2: install that"
    )


# Variables

LISTED = "environment: {TLSRT_PORT: published, TLSRT_NAME: of the pod}\n"
SET = {"TLSRT_PORT": "1234", "TLSRT_NAME": "pod-7", "TLSRT_OTHER": "x"}


def test_values_take_the_place_of_names(main: str) -> None:
    options = '{port: "${TLSRT_PORT}", name: "a ${TLSRT_NAME}:${TLSRT_PORT}", dollar: "$${TLSRT_PORT} $$${ $x"}'
    more = f"door: {{port: '${{TLSRT_PORT}}'}}\ncomponents:\n  third/io:\n    options: {options}\n"
    config = parsed(main + LISTED, SET, a=more, b="components:\n  third/io:\n    options:\n      at: ${TLSRT_PORT}\n")
    assert config.door.port == 1234
    assert config.components[4].options == {
        "port": "1234", "name": "a pod-7:1234", "dollar": "${TLSRT_PORT} $${ $x", "at": 1234,
    }  # fmt: skip
    assert config.variables == {"TLSRT_PORT": "1234", "TLSRT_NAME": "pod-7"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("audit: {keep_mb: '${TLSRT_OTHER}'}", "6:1: TLSRT_OTHER is not in the list `environment`: add it there"),
        (
            "audit: {keep_mb: '${TLSRT_PROT}'}",
            "write $${ for the text itself, did you mean TLSRT_PORT?",
        ),
        ("audit: {keep_mb: '${TLSRT_PORT:-7}'}", "${ is not followed by the name of a variable and }"),
        ("audit: {keep_mb: '${TLSRT_NAME}'}", "keep_mb must be a whole number in plain decimal, not 'pod-7'"),
        ("audit: {keep_mb: '1${TLSRT_PORT}'}", "keep_mb must be a whole number, not '11234'"),
        ("environment: {TLSRT_UNSET: here}", "the environment has no TLSRT_UNSET: set it for the service"),
        ("environment: {PORT: here}", "a key here is TLSRT_ and more of A-Z, 0-9 and _, as only such variables"),
        ("environment: {TLSRT_API_TOKEN: here}", "TLSRT_API_TOKEN seems a secret, which every loop could read"),
        ("environment: {TLSRT_LINES: here}", "TLSRT_LINES is not one line of at most 1024 printable characters"),
    ],
)
def test_a_variable_that_is_refused(main: str, text: str, sentence: str) -> None:
    environment = {**SET, "TLSRT_API_TOKEN": "x", "TLSRT_LINES": "a\nb"}
    [found] = refused(main + LISTED, environment, a=f"{text}\n")
    assert found.startswith("tlsrt.yaml.d/a.yaml:1:") and sentence.removeprefix("6:1: ") in found


def test_no_variable_stands_in_what_says_which_host_this_is(main: str) -> None:
    text = main.replace("boot_token: boot.token", "boot_token: ${TLSRT_NAME}") + LISTED
    assert refused(text, SET) == ["tlsrt.yaml:4:13: no variable can stand in boot_token: write the value here"]


def test_a_value_is_never_more_than_one_scalar(main: str) -> None:
    hostile = {**SET, "TLSRT_NAME": "x, third/io: {class: 'a:B'}, y: &a !!python/name:os.system"}
    config = parsed(main + LISTED, hostile, a="components: {third/io: {options: {x: '${TLSRT_NAME}'}}}\n")
    assert config.components[4].options == {"x": hostile["TLSRT_NAME"]}


# On a disk


def test_they_are_sealed_and_so_are_the_variables(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = config.path.with_name("tlsrt.yaml.d")
    folder.mkdir()
    (folder / "10-door.yaml").write_text("environment: {TLSRT_SIZE: for the audit}\naudit: {keep_mb: $TLSRT}\n")
    (folder / "10-door.yaml").write_text("environment:\n  TLSRT_SIZE: x y z\naudit:\n  keep_mb: ${TLSRT_SIZE}\n")
    (folder / ".hidden.yaml").write_text("no: [")
    (folder / "20.yml").write_text("no: [")
    monkeypatch.setenv("TLSRT_SIZE", "20")
    changed = load_config(config.path)
    assert changed.audit.keep_mb == 20
    assert changed.remarks == (f"{folder}/20.yml is left out: the name of a drop-in ends with .yaml",)
    assert changes(changed) == ["new config.d/10-door.yaml", "new environment/TLSRT_SIZE"]
    seal(changed)
    assert changes(load_config(config.path)) == []
    monkeypatch.setenv("TLSRT_SIZE", "21")
    assert changes(load_config(config.path)) == ["changed environment/TLSRT_SIZE"]


def test_a_half_written_or_foreign_one_is_refused_with_one_sentence(config: Config) -> None:
    folder = config.path.with_name("tlsrt.yaml.d")
    folder.mkdir()
    path = folder / "a.yaml"

    def said() -> str:
        with pytest.raises(ConfigError) as caught:
            load_config(config.path)
        [sentence] = caught.value.problems
        return sentence

    path.write_text("door:\n  port: 744")
    assert said() == (
        f"{path}:2:12: the file ends within a line, so it may be half-written: write it anew, or end it with a newline"
    )
    path.write_bytes(bytes(40) + b"\n")
    assert said().startswith(f"{path}:1:1: this is not YAML: ")
    path.write_text("secret: [\n")
    path.chmod(0o666)
    assert (
        said() == f"the drop-in {path} could be exchanged by another user: {path} has mode 0666: "
        f"run `chmod go-w {path}`"
    )
    path.unlink()
    os.mkfifo(path, 0o644)
    assert said() == f"the drop-in {path} is not a regular file"
    path.unlink()
    if os.geteuid() == 0:
        path.write_text("secret: [\n")
        os.chown(path, 12345, -1)
        assert f"{path} belongs to uid 12345" in said()


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file to another user")
def test_a_start_looks_at_owners_where_uids_are_the_real_ones(
    config: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a user namespace a file of another user may look like root's."""
    monkeypatch.setattr("tlsrt.supervisor.launch.launcher.launch", lambda *words, **more: 0)
    assert run_command(["start", "--config", str(config.path)]) == 0
    for folder in ("tlsrt.yaml.d", "components.d"):
        path = config.path.parent / folder / "a.yaml"
        path.parent.mkdir()
        path.write_text("audit: {}\n")
        os.chown(path, 12345, -1)
        assert run_command(["start", "--config", str(config.path)]) == EX_CONFIG
        assert f"the drop-in {path} could be exchanged by another user" in capsys.readouterr().err
        path.unlink()


def test_what_is_read_is_what_was_there_at_one_moment(config: Config) -> None:
    folder = config.path.with_name("tlsrt.yaml.d")
    folder.mkdir()
    for number in (10, 9, 100):
        (folder / f"{number}.yaml").write_text("audit: {}\n")
    assert [*read_config_drop_ins(config.path)] == ["10.yaml", "100.yaml", "9.yaml"]
    files = read_files(config.path)
    before = files.digests({"TLSRT_A": "1"})
    assert {"config", "config.d/9.yaml", "environment/TLSRT_A"} <= before.keys()
    (folder / "9.yaml").write_text("audit: {keep_mb: 20}\n")
    assert files.digests({"TLSRT_A": "1"}) == before != read_files(config.path).digests({"TLSRT_A": "1"})
