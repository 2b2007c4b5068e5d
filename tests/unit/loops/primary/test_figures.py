"""Figures of the gate."""

from __future__ import annotations

from tlsrt.loops.primary.figures import gate_lines


def test_lines() -> None:
    assert [*gate_lines(7, {"replay": 2}, 3)] == [
        ("tlsrt_gate_frames", ["passed"], 7), ("tlsrt_gate_frames", ["replay"], 2), ("tlsrt_gate_open_calls", [], 3),
    ]  # fmt: skip
