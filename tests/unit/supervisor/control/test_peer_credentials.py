"""Who is of the runtime, by pid: with processes that live, have ended, or are nobody's."""

from __future__ import annotations

import os

from tlsrt.supervisor.control.peer_credentials import is_kin


def test_whoever_is_outside_our_pid_namespace_and_we_ourselves_are_not() -> None:
    assert not is_kin(0, [])
    assert not is_kin(0, [], own=1)
    assert not is_kin(os.getpid(), [])


def test_as_process_1_everyone_inside_is() -> None:
    assert is_kin(4711, [], own=1) and not is_kin(1, [], own=1)


def test_elsewhere_the_children_are_and_others_that_live_are_not() -> None:
    assert is_kin(os.getppid(), [os.getppid()])
    assert not is_kin(os.getppid(), [])


def test_who_has_ended_meanwhile_may_have_been() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    assert is_kin(pid, [])
