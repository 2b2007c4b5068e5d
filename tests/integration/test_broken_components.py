"""A component that is configured or written wrongly is down, alone, and `status` says why in one sentence."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hosts.failed_process import running_with_failed, words_of_failed
from hosts.reloading_host import EX_UNAVAILABLE, edit, entry_of, reload
from hosts.running_host import RunningHost

from tlsrt.errors import CallError

PACKAGE = Path(__file__).parent.parent / "hosts" / "broken_package" / "broken"
CLASSES = {
    "typed": "broken:Kettle", "named": "broken:Kettle", "absent": "broken.absent:Any", "dry": "broken:Dry",
    "threaded": "broken.threaded:Threaded", "loud": "broken:Loud",
    "liar": "broken:Liar", "strict": "broken:Strict", "well": "broken:Kettle",
}  # fmt: skip
OPTIONS: dict[str, dict[str, Any]] = {"typed": {"watts": "much"}, "named": {"wats": 1}, "well": {"watts": 5}}


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    options: dict[str, Any] = {
        "components": {
            f"third/{name}": {"class": kind, "options": OPTIONS.get(name, {})} for name, kind in CLASSES.items()
        },
        "policy": {f"client/admin -> third/{name}": "*" for name in ("typed", "well")},
        "packages": [PACKAGE],
        "extra": {"supervision": {"restart": {"deaths": 2, "first_s": 0.01, "cap_s": 0.1}}},
    }
    yield from running_with_failed(request, "third.[a-z]+", **options)


def said(host: RunningHost, name: str) -> str:
    return words_of_failed(host, f"third.{name}")


def place(host: RunningHost, component: str, option: str) -> str:
    lines = host.config_path.read_text().splitlines()
    first = next(number for number, line in enumerate(lines) if line.strip() == f"third/{component}:")
    line = next(number for number in range(first, len(lines)) if lines[number].strip().startswith(f"{option}:"))
    return f"{host.config_path}:{line + 1}:{len(lines[line]) - len(lines[line].lstrip()) + 1}"


def test_the_host_runs_and_each_of_them_says_why_it_does_not(host: RunningHost) -> None:
    assert host.client().call("third/well", "power") == 5
    assert said(host, "typed") == (f"{place(host, 'typed', 'watts')}: third/typed: option watts: expected int, got str")
    assert said(host, "named") == (
        f"{place(host, 'named', 'wats')}: third/named: unknown option wats, did you mean watts?"
    )
    assert said(host, "absent") == "component third/absent: cannot import broken.absent:Any: no such driver"
    assert said(host, "dry") == "component third/dry: start raised ValueError: no water; \\x1b[2Jin the kettle"
    assert said(host, "threaded").startswith(
        "component third/threaded: the import of broken.telemetry started a thread, which"
    )
    assert said(host, "strict") == "component third/strict: give it a size"
    status = host.status()
    restarts = {loop["name"]: loop["restarts"] for loop in status["loops"] if loop["state"] == "failed"}
    assert {name for name, count in restarts.items() if count} == {"third.dry"}, "only a start may go well another time"
    assert [loop["name"] for loop in status["loops"] if loop["state"] != "active"] == [
        f"third.{name}" for name in CLASSES if name != "well"
    ]
    assert [one for one in status["warnings"] if "unknown option wats" in one], "a start says it too, and goes on"
    assert "third.typed: failed: third/typed cannot run with its configuration, see " in host.cli("status").stdout
    assert 'the process says: "' in host.cli("status").stdout
    assert said(host, "typed") in host.log("third.typed")


def test_what_a_process_says_is_one_short_printable_line_with_whose_it_is(host: RunningHost) -> None:
    words = said(host, "loud")
    assert words.isprintable() and len(words) <= 400 and "\\x1b]0;owned\\x07" in words
    lie = said(host, "liar")
    assert lie == "\\x1b]0;owned\\x07\\x1b[2J\\r\\u202eprimary  failed\\x00"
    assert b"\x1b]0;owned" in (host.config.log_dir / "third.liar.log").read_bytes(), "it did write it"
    shown = host.cli("status").stdout
    assert all(line.isprintable() and len(line) < 1200 for line in shown.splitlines())
    assert "y" * 500 not in shown and "owned" not in host.cli("audit", "tail").stdout
    assert re.search(r'last death of third.loud: failed: .*; the process says: "component third/loud: ', shown)
    assert all(line.replace("\t", " ").isprintable() for line in host.console)


def test_a_reload_says_it_and_tries_again_what_was_given_up_when_its_options_change(host: RunningHost) -> None:
    others = {name: pid for name, pid in host.pids().items() if name != "third.typed"}
    edit(host, lambda document: document["components"]["third/named"].pop("options"))
    edit(host, lambda document: document["components"]["third/typed"]["options"].update(watts=4000))
    report = reload(host, code=EX_UNAVAILABLE)
    entry = entry_of(report, "third.typed")
    assert entry["outcome"] == "failed" and ": option watts: expected a number in 1..3000" in entry["reason"]
    edit(host, lambda document: document["components"]["third/typed"]["options"].update(wats=1))
    (refusal,) = reload(host, code=78)["said"]
    assert refusal == f"{place(host, 'typed', 'wats')}: third/typed: unknown option wats, did you mean watts?"
    edit(host, lambda document: document["components"]["third/typed"].update(options={"watts": 7}))
    assert entry_of(reload(host, code=EX_UNAVAILABLE), "third.typed")["outcome"] == "restarted"
    assert host.client().call("third/typed", "power") == 7
    assert others.items() <= host.pids().items(), "no other process was restarted"


def test_marks_that_move_restart_nothing(host: RunningHost) -> None:
    before = host.pids()
    host.config_path.write_text("# a line more\n" + host.config_path.read_text())
    reload(host, code=EX_UNAVAILABLE)
    assert host.pids() == before
    with pytest.raises(CallError):
        host.client().call("third/dry", "describe")


def test_one_that_dies_again_and_again_keeps_no_change_of_another_waiting() -> None:
    options: dict[str, Any] = {
        "components": {"third/dry": {"class": "broken:Dry"}, "third/well": {"class": "broken:Kettle"}},
        "policy": {"client/admin -> third/well": "*"},
        "packages": [PACKAGE],
        "extra": {"supervision": {"restart": {"deaths": 1000, "first_s": 0.05, "cap_s": 0.2}}},
    }
    host = RunningHost(**options)
    try:
        host.start(until=r"^third\.dry +died")
        host.wait_for(r"^third\.well +active")
        edit(host, lambda document: document["components"]["third/well"].update(options={"watts": 7}))
        began = time.monotonic()
        report = reload(host, code=EX_UNAVAILABLE)
        assert time.monotonic() - began < 15, "it waits for what it has begun, and not for the restarts of others"
        assert (
            entry_of(report, "third.well")["outcome"] == "restarted" and host.client().call("third/well", "power") == 7
        )
        assert "no water" in entry_of(report, "third.dry")["reason"]
    finally:
        host.close()
