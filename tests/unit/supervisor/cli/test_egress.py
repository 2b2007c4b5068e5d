"""`tlsrt-supervisor egress`: what it prints."""

from __future__ import annotations

from typing import Any

from tlsrt.supervisor.cli.egress import egress_lines


def entry(**more: Any) -> dict[str, Any]:
    budget = {"per_minute": 60, "at_once": None, "sent_mb_per_day": 100, "received_mb_per_day": None}
    return {
        "to": ["192.0.2.7:8883"], "why": "the broker", "connections": 9, "minute": 3, "open": 1,
        "sent_bytes_today": 3 << 19, "received_bytes_today": 0, "budget": budget, **more,
    }  # fmt: skip


def test_each_entry_is_a_row_with_what_is_left_and_denials_are_below() -> None:
    denial = {"at": 0.0, "what": "per_minute", "sentence": "the broker: per_minute is\x1b 60"}
    process = {"process": "external.bridge", "entries": [entry()], "denied": 4, "denials": [denial]}
    lines = egress_lines({"processes": [process], "problem": "no ends are told"})
    assert lines[1].split() == [
        "external.bridge", "192.0.2.7:8883", "1", "3", "of", "60", "1.5", "MiB", "of", "100", "0.0", "MiB", "9", "the",
        "broker",
    ]  # fmt: skip
    assert lines[2] == "external.bridge: 4 connections refused, the last ones:"
    assert (
        lines[3].startswith("  1970-01-01T00:00:00Z  per_minute  the broker: per_minute is") and "\x1b" not in lines[3]
    )
    assert lines[-1] == "no ends are told"


def test_bytes_of_udp_are_not_told() -> None:
    process = {"process": "x", "entries": [entry(to=["192.0.2.7:53/udp"], minute=None)], "denied": 0, "denials": []}
    assert egress_lines({"processes": [process], "problem": ""})[1].split()[2:6] == ["1", "-", "-", "-"]


def test_a_host_without_rules_says_so() -> None:
    (line,) = egress_lines({"processes": [], "problem": ""})
    assert "no component has egress rules" in line
