"""Programs for datagrams: every path ends, and says what it must say. What they do is tested on a real host."""

from __future__ import annotations

import struct

import pytest

from tlsrt.sandbox.seccomp.reply_filter import (
    HOOKS,
    MOST_PEERS,
    REMEMBERED_S,
    Hook,
    egress_program,
    group_key,
    program_of,
)

_EXIT, _SET_0, _WIDE, _JUMPS = 0x95, 0xB7, 0x18, (0x15, 0x16, 0x2D, 0x56, 0x5D)


def instructions(hook: Hook) -> list[tuple[int, int, int, int]]:
    return [*struct.iter_unpack("=BBhi", program_of(hook, 7, 8))]


def endings(code: list[tuple[int, int, int, int]]) -> set[int]:
    """Return what the program can answer, by following both sides of each jump."""
    found, ways = set[int](), [(0, -1)]
    while ways:
        at, answer = ways.pop()
        operation, registers, offset, value = code[at]
        if operation == _EXIT:
            found.add(answer)
            continue
        if operation == _SET_0 and registers & 15 == 0:
            answer = value
        if operation in _JUMPS:
            assert offset > 0, "a loop has no end"
            ways.append((at + 1 + offset, answer))
        ways.append((at + (2 if operation == _WIDE else 1), answer))
    return found


@pytest.mark.parametrize("hook", HOOKS)
def test_who_sends_may_be_refused_and_who_receives_is_only_noted(hook: Hook) -> None:
    assert endings(instructions(hook)) == ({0, 1} if hook.sends else {1})


def test_what_leaves_is_dropped_or_not() -> None:
    assert endings([*struct.iter_unpack("=BBhi", egress_program())]) == {0, 1}


def test_both_families_and_both_directions_are_asked_about() -> None:
    assert {(hook.is_six, hook.sends) for hook in HOOKS} == {
        (six, sends) for six in (False, True) for sends in (False, True)
    }
    assert [hook.number for hook in HOOKS] == [14, 15, 19, 20]  # enum bpf_attach_type, linux/bpf.h


def test_a_peer_is_remembered_for_the_time_that_the_page_says() -> None:
    code = instructions(HOOKS[0])
    (at,) = (number for number, one in enumerate(code) if one[0] == _WIDE and one[1] == 1)  # into register 1, no map
    low, high = (code[at + step][3] for step in (0, 1))
    assert struct.unpack("=Q", struct.pack("=ii", low, high))[0] == REMEMBERED_S * 10**9 == 300 * 10**9
    assert MOST_PEERS == 4096


def test_a_group_is_written_as_the_kernel_has_it() -> None:
    group = bytes([239, 1, 2, 3]) + bytes(12)
    ends = struct.pack("=II", 0, 0)
    assert group_key("239.1.2.3", 0x1234) == group + b"\x12\x34\0\0" + struct.pack("=I", 0x1234) + group + ends
    six = group_key("ff05::fb", 1, 7)
    assert six[:16] == six[24:40] == b"\xff\x05" + bytes(13) + b"\xfb" and six[40:] == struct.pack("=II", 7, 0)
