"""Descriptors at numbers above the limit, which nothing else can get."""

from __future__ import annotations

import fcntl
import os
import resource
from collections.abc import Callable

from probes.child_answer import answer_of

from tlsrt.sandbox.apply.inherited import place

LIMIT = 300


def _swapped() -> list[bool]:
    """What lies at the numbers already is needed, and moves out of the way."""
    names = ("first", "second", "other")
    pipes = {name: os.pipe()[0] for name in names}
    inodes = {name: os.fstat(number).st_ino for name, number in pipes.items()}
    taken = dict(pipes)
    for name, number in (("second", LIMIT), ("other", LIMIT + 1)):
        os.dup2(pipes[name], number)
        taken[name] = number
    placed = place(taken, {"first": LIMIT, "second": LIMIT + 1, "other": -1})
    return [placed["first"] == LIMIT, placed["second"] == LIMIT + 1,
            *(os.fstat(placed[name]).st_ino == inodes[name] for name in names)]  # fmt: skip


def _code(action: Callable[[], object]) -> int:
    try:
        action()
    except OSError as error:
        return error.errno or 0
    return 0


def _numbers_again() -> list[int]:
    placed = place({"in": os.pipe()[0]}, {"in": LIMIT})
    resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, LIMIT))
    other = os.pipe()[0]
    codes: list[int] = []
    for is_closed in (False, True):
        if is_closed:
            os.close(placed["in"])
        codes += [
            _code(lambda: os.dup2(other, LIMIT)),
            _code(lambda: fcntl.fcntl(other, fcntl.F_DUPFD_CLOEXEC, LIMIT)),
            _code(lambda: fcntl.fcntl(other, fcntl.F_DUPFD, LIMIT)),
        ]
    return codes


def test_all_that_is_needed_stays_open_wherever_it_was() -> None:
    assert answer_of(_swapped) == repr([True] * 5)


def test_no_other_descriptor_gets_such_a_number_while_it_is_open_or_closed() -> None:
    ebadf, einval = 9, 22
    assert answer_of(_numbers_again) == repr([ebadf, einval, einval] * 2)


def test_without_a_number_nothing_is_touched() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert place({"a": 5}, {"a": -1}) == {"a": 5} and resource.getrlimit(resource.RLIMIT_NOFILE) == limits
