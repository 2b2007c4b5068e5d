"""The assembler against its interpreter: every number, every architecture, and arguments of all 64 bits."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.sandbox.seccomp.bpf import (
    ALLOW,
    ARCHITECTURES,
    KILL_PROCESS,
    LOG,
    LOW_32,
    MAX_INSTRUCTIONS,
    USER_NOTIF,
    X32_BIT,
    Case,
    Check,
    Rule,
    assemble,
    digest,
    errno_action,
)
from tlsrt.sandbox.seccomp.bpf_interpreter import run

X86, ARM, I386 = ARCHITECTURES["x86_64"], ARCHITECTURES["aarch64"], 0x40000003
DENIED = errno_action(1)
WORDS = st.integers(0, (1 << 64) - 1)
ACTIONS = st.sampled_from([ALLOW, KILL_PROCESS, LOG, USER_NOTIF, DENIED, errno_action(38)])


def wanted(rules: Mapping[int, Rule], default: int, number: int, arguments: tuple[int, ...]) -> int:
    """What a table of rules means, without any code."""
    rule = rules.get(number, Rule((), default))
    for case in rule.cases:
        if all(passes(check, arguments[check.argument]) for check in case.checks):
            return case.action
    return rule.otherwise


def passes(check: Check, argument: int) -> bool:
    return argument in check.values if check.wide else argument & LOW_32 & check.mask in check.values


def test_a_plain_table_means_what_it_says_for_every_number() -> None:
    rules = {0: Rule((), ALLOW), 1: Rule((), ALLOW), 59: Rule((), KILL_PROCESS), 435: Rule((), errno_action(38))}
    program = assemble("x86_64", rules, DENIED)
    for number in range(601):
        assert run(program, X86, number) == wanted(rules, DENIED, number, ())


@pytest.mark.parametrize("machine", sorted(ARCHITECTURES))
def test_foreign_architectures_and_x32_are_killed_before_anything_else(machine: str) -> None:
    program = assemble(machine, {number: Rule((), ALLOW) for number in range(600)}, ALLOW)
    for number in (*range(601), X32_BIT - 1):
        assert run(program, ARCHITECTURES[machine], number) == ALLOW
        for foreign in {X86, ARM, I386, 0} - {ARCHITECTURES[machine]}:
            assert run(program, foreign, number) == KILL_PROCESS
        assert run(program, ARCHITECTURES[machine], X32_BIT | number) == KILL_PROCESS
    assert run(program, ARCHITECTURES[machine], LOW_32) == KILL_PROCESS  # -1


checks = st.builds(
    Check,
    st.integers(0, 5),
    st.lists(st.integers(0, 40), min_size=1, max_size=5).map(tuple),
    st.sampled_from([LOW_32, 0xF, 0x4]),
)
wide_checks = st.builds(
    lambda argument, value: Check(argument, (value,), wide=True),
    st.integers(0, 5),
    st.sampled_from([0, 7, 1 << 40 | 7]),
)
cases = st.builds(Case, st.lists(checks | wide_checks, min_size=1, max_size=3).map(tuple), ACTIONS)
tables = st.dictionaries(
    st.integers(0, 500), st.builds(Rule, st.lists(cases, max_size=3).map(tuple), ACTIONS), max_size=60
)
# Values that checks are likely to meet, with every kind of high half.
arguments = st.builds(
    lambda low, high: high << 32 | low,
    st.integers(0, 40) | st.integers(0, LOW_32),
    st.sampled_from([0, 1, 256, LOW_32]),
)


@given(tables, ACTIONS, st.data())
def test_any_table_means_what_it_says(rules: dict[int, Rule], default: int, data: st.DataObject) -> None:
    program = assemble("x86_64", rules, default)
    number = data.draw(st.sampled_from(sorted(rules)) if rules else st.just(3)) + data.draw(st.integers(-1, 1))
    given_arguments = tuple(data.draw(st.tuples(*[arguments] * 6)))
    if number >= 0:
        assert run(program, X86, number, given_arguments) == wanted(rules, default, number, given_arguments)


@given(st.integers(0, LOW_32), st.integers(0, LOW_32))
def test_the_high_half_of_an_int_changes_nothing(low: int, high: int) -> None:
    rules = {16: Rule((Case((Check(1, (0x5412,)),), KILL_PROCESS),), ALLOW)}
    program = assemble("x86_64", rules, DENIED)
    assert run(program, X86, 16, (0, high << 32 | low)) == run(program, X86, 16, (0, low))
    assert run(program, X86, 16, (0, high << 32 | 0x5412)) == KILL_PROCESS


@given(WORDS)
def test_a_wide_check_takes_all_64_bits(value: int) -> None:
    rules = {302: Rule((Case((Check(2, (0,), wide=True),), ALLOW),), DENIED)}
    assert run(assemble("x86_64", rules, DENIED), X86, 302, (0, 0, value)) == (DENIED if value else ALLOW)


def test_a_tree_too_large_for_a_near_jump_still_works() -> None:
    many = tuple(range(0, 400, 2))
    rule = Rule((Case((Check(0, many),), ALLOW), Case((Check(1, many),), LOG)), DENIED)
    rules = dict.fromkeys(range(0, 16, 2), rule)
    program = assemble("x86_64", rules, KILL_PROCESS)
    assert len(program) // 8 > 3000
    for number in range(17):
        for values in ((398, 1), (1, 398), (1, 1)):
            assert run(program, X86, number, values) == wanted(rules, KILL_PROCESS, number, values)


def test_equal_rules_make_equal_bytes() -> None:
    rules = {3: Rule((), ALLOW), 1: Rule((), KILL_PROCESS)}
    assert assemble("x86_64", rules, DENIED) == assemble("x86_64", dict(sorted(rules.items())), DENIED)
    assert len(digest(assemble("x86_64", rules, DENIED))) == 32
    assert digest(assemble("x86_64", rules, DENIED)) != digest(assemble("aarch64", rules, DENIED))


@pytest.mark.parametrize("number", [0, -1, 4096])
def test_an_errno_that_would_look_like_success_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match="errno"):
        errno_action(number)


@pytest.mark.parametrize(
    ("machine", "rules", "word"),
    [
        ("riscv64", {}, "not supported"),
        ("i686", {}, "not supported"),
        ("x86_64", {-1: Rule((), ALLOW)}, "not a system call number"),
        ("x86_64", {X32_BIT: Rule((), ALLOW)}, "not a system call number"),
        ("x86_64", {1: Rule((Case((Check(6, (0,)),), ALLOW),), DENIED)}, "not a check"),
        ("x86_64", {1: Rule((Case((Check(0, ()),), ALLOW),), DENIED)}, "not a check"),
        ("x86_64", {1: Rule((Case((Check(0, tuple(range(300))),), ALLOW),), DENIED)}, "too many values"),
    ],
)
def test_what_cannot_be_assembled_is_refused(machine: str, rules: dict[int, Rule], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        assemble(machine, rules, DENIED)


def test_a_program_longer_than_the_kernel_takes_is_refused() -> None:
    rule = Rule((Case((Check(0, tuple(range(200))),), ALLOW),), DENIED)
    with pytest.raises(ValueError, match=str(MAX_INSTRUCTIONS)):
        assemble("x86_64", {2 * number: rule for number in range(30)}, DENIED)


@pytest.mark.parametrize("code", [[(0x20, 0, 0, 0)], [(0x00, 0, 0, 0)], [(0x05, 0, 0, 9), (0x06, 0, 0, 0)]])
def test_the_interpreter_refuses_what_the_kernel_would(code: list[tuple[int, int, int, int]]) -> None:
    with pytest.raises(ValueError, match=r"instruction|end"):
        run(b"".join(struct.pack("<HBBI", *one) for one in code), X86, 0)
