"""The order of the steps is enforced, layers fail closed, waivers are by name. Without system calls."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tlsrt.errors import MisuseError, SandboxError
from tlsrt.sandbox import syscalls
from tlsrt.sandbox.apply import enter
from tlsrt.sandbox.apply.enter import Confinement, ConfinementReport, enter_world
from tlsrt.sandbox.apply.layers import Layer, LayerContext, LayerStep
from tlsrt.sandbox.profile.profile import Profile

NAMES = ("first", "second", "filter", "last")


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace the rows by four that only say that they ran."""
    ran: list[str] = []

    def row(name: str, digest: bytes | None) -> Callable[[Profile, LayerContext], bytes | None]:
        def apply(profile: Profile, context: LayerContext) -> bytes | None:
            ran.append(name)
            if name in profile.limits:  # as a way to make it fail
                raise OSError(errno.EPERM, "no luck")
            return digest

        return apply

    steps = (LayerStep.WORLD, LayerStep.DROP, LayerStep.SEAL_STAGE_1, LayerStep.SEAL_CALLS)
    rows = [Layer(name, step, row(name, None)) for name, step in zip(NAMES, steps, strict=True)]
    rows[2] = Layer("filter", LayerStep.SEAL_STAGE_1, row("filter", b"digest"))
    monkeypatch.setattr(enter, "LAYERS", tuple(rows))
    monkeypatch.setattr(syscalls, "is_single_task", lambda status: True)
    return ran


def profile(*, failing: str = "", waived: str = "", layers: tuple[str, ...] = NAMES) -> Profile:
    limits = {failing: 1} if failing else {}
    return Profile("x", 1, 1, layers=layers, limits=limits, waived=frozenset({waived} - {""}))


def walk(confinement: Confinement) -> ConfinementReport:
    confinement.drop()
    confinement.assert_one_task()
    return confinement.seal()


def test_all_steps_in_order(log: list[str]) -> None:
    confinement = enter_world(profile(), ())
    assert log == ["first"]
    assert confinement.drop() == ConfinementReport(("first", "second", "filter"), (), (("filter", b"digest"),))
    confinement.assert_one_task()
    assert confinement.seal().layers == NAMES
    assert log == list(NAMES)


@pytest.mark.parametrize(
    "calls",
    [
        ["seal"], ["assert_one_task"], ["drop", "drop"], ["drop", "seal"], ["drop", "assert_one_task", "drop"],
        ["drop", "assert_one_task", "assert_one_task"], ["drop", "assert_one_task", "seal", "seal"],
        ["drop", "assert_one_task", "seal", "drop"],
    ],
)  # fmt: skip
def test_a_step_out_of_order_is_refused(log: list[str], calls: list[str]) -> None:
    confinement = enter_world(profile(), ())
    for name in calls[:-1]:
        getattr(confinement, name)()
    before = list(log)
    with pytest.raises(MisuseError, match="next step"):
        getattr(confinement, calls[-1])()
    assert log == before


@pytest.mark.parametrize("name", NAMES)
def test_a_failing_layer_ends_it(log: list[str], name: str) -> None:
    with pytest.raises(SandboxError, match="no luck") as caught:
        walk(enter_world(profile(failing=name), ()))
    assert caught.value.layer == name
    assert log[-1] == name


def test_nothing_can_follow_a_failed_step(log: list[str]) -> None:
    confinement = enter_world(profile(failing="second"), ())
    for expected in (SandboxError, MisuseError):
        with pytest.raises(expected):
            confinement.drop()
    with pytest.raises(MisuseError):
        confinement.assert_one_task()


@pytest.mark.parametrize("name", NAMES)
def test_a_waived_layer_is_tried_and_reported(log: list[str], name: str) -> None:
    report = walk(enter_world(profile(failing=name, waived=name), ()))
    assert report.waived == ((name, "no luck"),)
    assert report.layers == tuple(other for other in NAMES if other != name)


def test_who_opens_anew_what_it_is_handed_needs_a_root_of_its_own_whatever_is_waived(log: list[str]) -> None:
    waived = replace(profile(failing="first", waived="first"), reopened=("/dev",))
    with pytest.raises(SandboxError, match="all devices"):
        enter_world(waived, ())


def test_a_waiver_of_another_layer_does_not_help(log: list[str]) -> None:
    with pytest.raises(SandboxError):
        enter_world(profile(failing="first", waived="second"), ())


def test_a_waived_layer_that_works_counts_as_applied(log: list[str]) -> None:
    assert walk(enter_world(profile(waived="first"), ())) == ConfinementReport(NAMES, (), (("filter", b"digest"),))


def test_an_unknown_layer_is_refused(log: list[str]) -> None:
    with pytest.raises(SandboxError, match="no such layer"):
        enter_world(profile(layers=("first", "landlock_9")), ())
    assert log == []


def test_a_second_task_is_refused(log: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    confinement = enter_world(profile(), ())
    confinement.drop()
    monkeypatch.setattr(syscalls, "is_single_task", lambda status: False)
    with pytest.raises(SandboxError, match="thread"):
        confinement.assert_one_task()
    with pytest.raises(MisuseError):
        confinement.seal()


def test_paths_follow_a_waived_root(log: list[str]) -> None:
    confinement = enter_world(Profile("x", 1, 1, layers=(), write=((Path("/srv/state"), "/state"),)), ())
    assert confinement.path("/state") == "/srv/state"


def test_threads_are_started_between_the_rules_for_files_and_the_last_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    rows = [
        Layer(name, step, lambda profile, context, name=name: ran.append(name))  # type: ignore[misc]
        for name, step in (("rules", LayerStep.SEAL_FILES), ("filter", LayerStep.SEAL_CALLS))
    ]
    monkeypatch.setattr(enter, "LAYERS", tuple(rows))
    monkeypatch.setattr(syscalls, "is_single_task", lambda status: True)
    confinement = enter_world(profile(layers=("rules", "filter")), ())
    confinement.drop()
    confinement.assert_one_task()
    confinement.seal(lambda: ran.append("threads"))
    assert ran == ["rules", "threads", "filter"]
