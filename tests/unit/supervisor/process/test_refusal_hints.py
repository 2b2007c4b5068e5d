"""What to do about a refused call: a word for those that an honest library makes, and none for the others."""

from __future__ import annotations

import pytest

from tlsrt.sandbox.seccomp.notify import Notification
from tlsrt.supervisor.process.refusal_hints import hint_of


@pytest.mark.parametrize(
    ("call", "arguments", "word"),
    [
        ("clone", (0x3D0F00,), "put `threads: N` under the needs"),
        ("clone", (0x1200011,), "declare what it runs under `programs`"),
        ("fork", (), "declare what it runs under `programs`"),
        ("mmap", (0, 4096, 7, 0x22), "no component gets executable memory"),
        ("mprotect", (0, 4096, 5), "run what needs it as a program"),
        ("socket", (2, 1, 0), "it has no network; put egress rules under the needs"),
        ("listen", (3, 100), "put `listen` under its needs"),
        ("socket", (17, 3, 0), "nothing sends or takes raw packets"),
        ("socket", (16, 3, 0), "takes `network` under the needs"),
        ("socket", (16, 3, 15), "ask for `events: [{kind: uevents"),
        ("socket", (16, 3, 9), ""),
        ("mmap", (0, 4096, 3, 0x21), ""),
        ("symlink", (), ""),
    ],
)
def test_a_hint_says_what_to_do(call: str, arguments: tuple[int, ...], word: str) -> None:
    hint = hint_of(Notification(1, 1, call, (*arguments, 0, 0, 0, 0, 0, 0)[:6]))
    assert word in hint and bool(word) is bool(hint)
