"""Figures of the gate for the host's metrics. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tlsrt.loops.doorway.figures import bounded
from tlsrt.loops.runtime.process_figures import Line


def gate_lines(passed: int, refused: Mapping[str, int], open_calls: int) -> Iterator[Line]:
    """Return frames by verdict, and the calls that have no answer yet."""
    yield "tlsrt_gate_frames", ["passed"], passed
    for reason, count in bounded(refused).items():
        yield "tlsrt_gate_frames", [reason], count
    yield "tlsrt_gate_open_calls", [], open_calls
