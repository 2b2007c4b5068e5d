"""The pure parts of `make profile` and `make callgrind`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

from bench.callgrind import compare, renewed  # noqa: E402
from bench.stages import OTHER, RULES, libraries, library_of, stage_of, stages  # noqa: E402

EVENT_LOOP = ROOT / "channels" / "event_loop.py"
LOOP = "BaseEventLoop._run_once (asyncio/base_events.py:1922);Handle._run (asyncio/events.py:80)"


@pytest.mark.parametrize(
    ("innermost", "stage"),
    [
        ("Gate._authentic_untrusted (tlsrt/loops/gate/gate.py:200)", "gate: proof, sequence"),
        ("Gate._request_untrusted (tlsrt/loops/gate/gate.py:230)", "gate: session, policy, open call"),
        ("Endpoint.seal_request (tlsrt/channels/session/endpoint.py:206)", "seal: header, body, proof"),
        ("Endpoint.take_next_number (tlsrt/channels/session/endpoint.py:331)", "seal: header, body, proof"),
        ("PendingCalls._replies_untrusted (tlsrt/channels/calls/pending_calls.py:204)", "open calls: answers, ends"),
        ("Caller.call (tlsrt/channels/calls/caller.py:105)", "caller: make, wait"),
        ("Replies.send (tlsrt/loops/dispatch/replies.py:40)", "dispatch: calls in flight, replies"),
        (
            "HeardSessions.advance_untrusted (tlsrt/channels/session/heard_sessions.py:60)",
            "recipient check, open the body",
        ),
        ("Endpoint.open_untrusted (tlsrt/channels/session/endpoint.py:259)", "recipient check, open the body"),
        ("FastPath.check_untrusted (tlsrt/loops/gate/fast_path.py:90)", "gate: fast path"),
        ("Batcher.release (tlsrt/channels/calls/batching.py:80)", "batcher: bundle what is alike"),
        ("Link.send (tlsrt/channels/links/link.py:220)", "link: send"),
        ("Link._received (tlsrt/channels/links/link.py:181)", "link: receive"),
        ("PrimaryLoop._listen.<locals>.<lambda> (tlsrt/loops/primary/loop.py:43)", "event loop"),
        ("PrimaryLoop.forward (tlsrt/loops/primary/loop.py:141)", "forward"),
        ("Echo.echo (tlsrt_bench/__init__.py:23)", "component (driver, echo)"),
        ("dumps (json/encoder.py:1)", "event loop"),
    ],
)
def test_a_sample_counts_for_the_innermost_known_frame(innermost: str, stage: str) -> None:
    assert stage_of([*LOOP.split(";"), innermost, "encode (somewhere/else.py:3)"]) == stage


def test_nothing_known_is_other() -> None:
    assert stage_of(["<module> (<string>:1)", "no frame at all"]) == OTHER


def test_waiting_is_no_stage() -> None:
    waiting = f"{LOOP};EpollSelector.select (selectors.py:468) 90"
    working = f"{LOOP};PrimaryLoop.forward (tlsrt/loops/primary/loop.py:141) 10"
    assert stages([waiting, working, ""]) == {"forward": 10}


def test_every_rule_is_reached_by_its_files() -> None:
    assert len({pattern for pattern, _ in RULES}) == len(RULES)


def test_a_process_that_waits_in_our_event_loop_is_no_cpu_and_its_turns_are() -> None:
    waiting = next(
        number for number, line in enumerate(EVENT_LOOP.read_text().splitlines(), 1) if "events = poll(" in line
    )
    place = "run (tlsrt/x.py:1);EventLoop._run_once (tlsrt/channels/event_loop.py:{}) 7"
    assert stages([place.format(waiting), place.format(waiting + 3)]) == {"event loop": 7}


def test_libraries_of_a_perf_report() -> None:
    report = [
        "# Overhead  Pid:Command  Shared Object",
        "    60.50%    12:python   libpython3.11.so.1.0",
        "    20.00%    12:python   _rust.abi3.so",
        "    10.00%    13:python   [kernel.kallsyms]",
        "     5.00%    12:python   libcrypto.so.3",
    ]
    assert libraries(report) == {12: {"interpreter": 60.5, "crypto": 25.0}, 13: {"kernel": 10.0}}
    assert library_of("libzmq-1234.so.5") == "libzmq"
    assert library_of("something.so") == OTHER


def test_more_instructions_than_the_tolerance_fail() -> None:
    known = {"builds": {"this": {"64 B": 1000}}}
    assert compare(known, "this", {"64 B": 1029})[1]
    lines, good = compare(known, "this", {"64 B": 1031})
    assert not good and "more than 3% more" in lines[0]
    lines, good = compare(known, "this", {"64 B": 900})
    assert good and "RENEW=1" in lines[0]


def test_another_build_has_nothing_to_compare_with() -> None:
    lines, good = compare({}, "this", {"64 B": 1})
    assert good and lines[0] == "no figures for this build: this"


def test_renewing_keeps_other_builds() -> None:
    assert renewed({"builds": {"a": {"x": 1}}}, "b", {"x": 2}) == {"builds": {"a": {"x": 1}, "b": {"x": 2}}}
