"""Programs in the configuration: what goes together."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hosts.scripted_supervisor import make_config

from tlsrt.config.argument_patterns import parse_form
from tlsrt.config.code_root import Root, identity_of_root
from tlsrt.config.components import ComponentConfig, LoopConfig
from tlsrt.config.listeners import ListenConfig
from tlsrt.config.name_rules import parse_rule
from tlsrt.config.needs import EgressConfig
from tlsrt.config.program_files import files_of_programs
from tlsrt.config.programs import LET_GO_S, ProgramConfig, end_s_of
from tlsrt.config.standard_library import interpreter
from tlsrt.config.worker_code import worker_code
from tlsrt.errors import ConfigError

PASSED = tuple(ListenConfig("web", 8080 + number, "a test", passed=True) for number in range(9))
CAT = ProgramConfig("main", Path("/bin/cat"), "a test", where="tlsrt.yaml:3:5")


def test_a_call_has_a_deadline_and_a_kept_one_has_none() -> None:
    assert (CAT.deadline_s, CAT.runs_most) == (60.0, 2)
    kept = ProgramConfig("main", Path("/bin/cat"), "a test", life="kept")
    assert (kept.deadline_s, kept.runs_most, kept.problem) == (None, 1, "")
    short = ProgramConfig("main", Path("/bin/cat"), "a test", seconds=0.5, at_once=7)
    assert (short.deadline_s, short.runs_most) == (0.5, 7)


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"undo_s": 60, "netlink": {"netfilter": "a test"}}, "only a program with `netlink: {route: ...}` changes"),
        ({"undo_s": 60, "netlink": {"route": "a test"}}, ""),
        ({"state_mb": 1}, "only a kept program has a folder that lives on"),
        ({"stop_signal": "HUP"}, "only a kept program is asked to end"),
        ({"files": {"/tmp/x": "text"}}, "/tmp/x cannot be made there"),
        ({"files": {"/state": "text"}}, "/state cannot be made there"),
        ({"files": {"/run": "text"}}, "/run cannot be made there"),
        ({"listen": PASSED, "talks": True}, "web has `pass`, and descriptor 3, where passed sockets begin"),
        ({"listen": PASSED, "open_files": 16, "life": "kept"}, "`open_files` of 16 is too little for 9 passed sockets"),
        ({"listen": PASSED[:8], "open_files": 16, "life": "kept"}, ""),
        ({"stop_seconds": 3.0}, "only a kept program is asked to end: remove `stop_seconds`"),
        ({"files": {"/etc/x": "", "/etc/x/y/z": ""}}, "/etc/x cannot be a file and a folder"),
        ({"files": {"/etc/x": "", "/etc/xy": "", "/statement": "", "/run/x": ""}}, ""),
        ({"files": {"/etc/x": "x" * 40_000, "/etc/y": "x" * 40_000}}, "together they have more than 65536 bytes"),
    ],
)
def test_what_does_not_go_together(entry: dict[str, Any], sentence: str) -> None:
    assert sentence in replace(CAT, **entry).problem


def test_names_of_a_programs_rules_are_those_of_its_process(tmp_path: Path) -> None:
    rules = EgressConfig((parse_rule("mqtt.example.org:8883"),), "a test")
    program = ProgramConfig("main", CAT.run, "a test", egress=(rules,))
    assert program.problem == ""
    component = ComponentConfig("third", "broker", "broker:Broker", programs=(program,))
    config = replace(make_config(tmp_path, {}), components=(component,), loops=(LoopConfig("third"),))
    assert config.needs_resolver and [one.name for one in config.names_of("third")] == ["mqtt.example.org"]


@pytest.mark.parametrize("name", ["seconds", "at_once"])
def test_a_kept_one_with_what_it_cannot_have_is_refused_with_its_place(name: str) -> None:
    wrong = ProgramConfig("main", CAT.run, "a test", life="kept", where="tlsrt.yaml:3:5", **{name: 3})  # type: ignore[arg-type]
    component = ComponentConfig("third", "broker", "", programs=(wrong,))
    with pytest.raises(ConfigError, match=rf"tlsrt.yaml:3:5: third/broker .* a kept program has no `{name}`"):
        files_of_programs((component,))


WORKER = {"name": "model", "why": "a test", "worker": "speech.model"}


def test_a_worker_is_run_by_this_interpreter_lives_as_long_as_it_is_called_and_is_one_process() -> None:
    worker = ProgramConfig(**WORKER, seconds=5, threads=4)  # type: ignore[arg-type]
    assert (worker.run, worker.deadline_s, worker.call_s, worker.runs_most) == (interpreter(), None, 5, 1)
    assert worker.tasks == 16 + 8
    assert not worker.problem


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        (WORKER | {"run": Path("/bin/cat")}, "it has `run` and `worker`"),
        (WORKER | {"args": (parse_form("-v"),)}, "a worker takes no `args`"),
        (WORKER | {"life": "kept"}, "remove `life`"),
        (WORKER | {"talks": True}, "remove `talks`"),
        (WORKER | {"state_mb": 1}, "a worker lives as long as it is called: remove `state_mb`"),
        (WORKER | {"stop_signal": "HUP"}, "remove `stop_signal`"),
        (WORKER | {"worker": ""}, "neither `run` nor `worker`"),
        ({"name": "cat", "why": "a test", "run": Path("/bin/cat"), "threads": 4}, "`threads` are a worker's"),
        ({"name": "cat", "why": "a test", "run": Path("/bin/cat"), "imports": ("magika",)}, "`imports` are a worker's"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(entry: dict[str, Any], sentence: str) -> None:
    assert sentence in ProgramConfig(**entry).problem


def test_a_worker_is_shown_what_is_measured_for_it_and_started_without_site(tmp_path: Path) -> None:
    for name in ("speech", "tlsrt", "bytecode", "lib"):
        (tmp_path / name).mkdir()
    (tmp_path / "bytecode" / str(tmp_path / "speech").lstrip("/")).mkdir(parents=True)
    packages = [Root(tmp_path / "speech", "component/speech"), Root(tmp_path / "tlsrt", "tlsrt")]
    code = worker_code("speech.model", packages, None, [Root(tmp_path / "lib", "python")], [], tmp_path / "bytecode")
    cached = tmp_path / "bytecode" / str(tmp_path / "speech").lstrip("/")
    assert code.folders == (tmp_path / "speech", tmp_path / "tlsrt", tmp_path / "lib", cached)
    assert code.words[:5] == ("-I", "-S", "-B", "-X", f"pycache_prefix={tmp_path / 'bytecode'}")
    assert code.words[5] == "-c" and "main('speech.model')" in code.words[6] and f"[{str(tmp_path)!r}]" in code.words[6]


def test_a_root_differs_when_a_file_of_it_changes_comes_or_goes(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a.py").write_text("1")
    (tmp_path / "link").symlink_to("/nowhere")
    root = Root(tmp_path, "root", without=("test",))
    seen = {identity_of_root(root)}
    for change in (
        lambda: (tmp_path / "inner" / "a.py").write_text("22"),
        lambda: (tmp_path / "b.py").touch(),
        lambda: (tmp_path / "b.py").unlink(),
        lambda: (tmp_path / "inner" / "a.py").replace(tmp_path / "inner" / "c.py"),
    ):
        change()
        seen.add(identity_of_root(root))
    assert len(seen) == 5 - 1, "what came and went leaves it as it was"
    before = identity_of_root(root)
    (tmp_path / "test").mkdir()
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.pyc").touch()
    assert identity_of_root(root) == before


def test_a_component_waits_as_long_as_the_slowest_of_its_kept_programs_may_take() -> None:
    kept = [ProgramConfig("main", CAT.run, "a test", life="kept", stop_seconds=one) for one in (3.0, 20.0)]
    assert end_s_of([CAT]) == 0 and end_s_of([*kept, CAT]) == 20.0 + LET_GO_S


@pytest.mark.parametrize(
    ("entry", "is_refused"),
    [
        ({}, True),
        ({"read": ["lib/python3.99/encodings"]}, True),
        ({"read": ["lib/python3.99"]}, False),
        ({"read": ["lib"]}, False),
        ({"environment": {"PYTHONHOME": "/srv/python"}}, False),
    ],
)
def test_a_python_without_its_library_is_refused_and_told_which(
    tmp_path: Path, entry: dict[str, Any], is_refused: bool
) -> None:
    (tmp_path / "bin").mkdir()
    library = tmp_path / "lib" / "python3.99"
    (library / "encodings").mkdir(parents=True)
    shutil.copy("/bin/cat", tmp_path / "bin" / "python3.99")
    (tmp_path / "bin" / "python3").symlink_to("python3.99")
    script = tmp_path / "script"
    script.write_text(f"#!{tmp_path}/bin/python3 -u\n")
    read = tuple(tmp_path / one for one in entry.get("read", ()))
    program = replace(CAT, run=script, read=read, environment=entry.get("environment", {}))
    component = ComponentConfig("third", "adder", "", programs=(program,))
    if not is_refused:
        assert files_of_programs((component,))
        return
    with pytest.raises(ConfigError, match=f"python3 cannot begin without its library: put {library} under `read`"):
        files_of_programs((component,))
