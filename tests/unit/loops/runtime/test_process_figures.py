"""Figures of a process in their page: what cannot be written stops no beat, and is said once."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import Any

import pytest

from tlsrt.channels.control.figures import decode_page_untrusted
from tlsrt.loops.dispatch.tracer import Tracer
from tlsrt.loops.runtime.process_figures import BEATS, Line, ProcessFigures


def test_what_cannot_be_written_stops_no_beat_and_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    said: list[Any] = [object()]

    def more() -> Iterator[Line]:
        yield "tlsrt_gate_frames", ["passed"], said[0]

    figures = ProcessFigures({}, more, logging.getLogger("third"), Tracer())
    reading, writing = os.pipe()
    page = os.memfd_create("page", os.MFD_CLOEXEC)
    shown = os.dup(page)
    try:
        figures.page_came(writing)
        for bad in (object(), 10**5000, 1):  # no JSON, too long for a text, and a page that takes no pwrite
            said[0] = bad
            for _ in range(BEATS):
                figures.each_beat(is_rare=False)
        assert [record.message.partition(":")[0] for record in caplog.records] == ["cannot write figures for metrics"]
        figures.page_came(page)
        for _ in range(BEATS):
            figures.each_beat(is_rare=False)
        assert decode_page_untrusted(os.pread(shown, 1000, 0)) == b'{"tlsrt_gate_frames":[[["passed"],1]]}'
        for said[0] in (2, 3, 4):  # of a process that rests, with each of its beats
            figures.each_beat(is_rare=True)
            written = decode_page_untrusted(os.pread(shown, 1000, 0))
            assert written == b'{"tlsrt_gate_frames":[[["passed"],%d]]}' % said[0]
    finally:
        for descriptor in (reading, page, shown):
            os.close(descriptor)
