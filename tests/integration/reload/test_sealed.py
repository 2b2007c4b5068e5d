"""With `measure: strict` a reload is a boot without the fork: sealed, never rolled back, and whole."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from hosts.reloading_host import EX_CONFIG, PROBED, outcomes, reload, seal_host, set_loop, state
from hosts.running_host import RunningHost, running


@pytest.fixture
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(request, **PROBED, extra={"measure": "strict"})


def test_only_what_was_sealed_is_taken(host: RunningHost) -> None:
    before = state(host)
    set_loop(host, "third", memory_mb=400)
    [sentence] = reload(host, code=EX_CONFIG)["said"]
    assert sentence.startswith("this host is not what was sealed: changed config;")
    assert state(host) == before
    seal_host(host)
    report = reload(host)
    assert outcomes(report)["third"] == "tightened live" and report["warnings"] == []
    assert host.client().call("third/probed", "add", 1) == 1


def test_an_older_seal_is_a_roll_back(host: RunningHost) -> None:
    token, text = host.config.boot_token.read_bytes(), host.config_path.read_text()
    set_loop(host, "third", memory_mb=400)
    seal_host(host)
    reload(host)
    before = state(host)
    host.config.boot_token.write_bytes(token)
    host.config_path.write_text(text)
    [sentence] = reload(host, code=EX_CONFIG)["said"]
    assert sentence.startswith("the boot token is a roll-back: its seal is ")
    assert state(host) == before


def test_a_token_of_another_key_is_refused(host: RunningHost) -> None:
    before = state(host)
    set_loop(host, "third", memory_mb=400)
    seal_host(host)
    token = host.config.boot_token.read_bytes()
    host.config.boot_token.write_bytes(re.sub(rb"\nmac .{8}", b"\nmac 00000000", token))
    [sentence] = reload(host, code=EX_CONFIG)["said"]
    assert sentence.startswith("the boot token was not made with this master_key, or was edited")
    assert state(host) == before


def test_code_of_components_that_has_changed_is_taken_by_new_processes_once_it_is_sealed(host: RunningHost) -> None:
    before = state(host)
    module = next((host.base / "env" / "code" / "probed").glob("__init__.py"))
    module.write_text(module.read_text() + "\n# changed\n")
    [sentence] = reload(host, code=EX_CONFIG)["said"]
    assert "changed component/probed/__init__.py" in sentence and "seal" in sentence
    assert state(host) == before
    seal_host(host)
    report = reload(host)
    hosting = {"primary.facts", "secondary", "third", "external"}
    assert {name for name, word in outcomes(report).items() if word == "restarted"} == hosting


def test_an_authority_that_comes_again_boots_with_what_was_taken_last(host: RunningHost) -> None:
    seen = len(host.console)
    host.kill("authority")
    host.wait_for("^authority +active", after=seen)
    set_loop(host, "third", memory_mb=400)
    seal_host(host)  # for later: nobody has asked for a reload yet
    seen = len(host.console)
    host.kill("authority")
    host.wait_for("^authority +active", after=seen)
    assert outcomes(reload(host))["third"] == "tightened live"
    seen = len(host.console)
    host.kill("authority")
    host.wait_for("^authority +active", after=seen)
    assert host.client().call("third/probed", "add", 1) == 1
    host.restart()
    assert host.client().call("third/probed", "add", 1) == 1
