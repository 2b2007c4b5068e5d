"""Explanations: what the filters and rules say, waived layers included. The real processes are in tests/integration."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlsrt.config.components import LoopConfig
from tlsrt.config.defaults import COMPONENTS
from tlsrt.config.door import DoorConfig
from tlsrt.config.egress import parse_egress
from tlsrt.config.needs import EgressConfig
from tlsrt.config.schema import DEFAULT_LOOPS, Config, KeySource, SandboxConfig
from tlsrt.sandbox.profile.compose import profile_for_authority, profile_for_loop
from tlsrt.sandbox.profile.fragment import PolicyEntry
from tlsrt.sandbox.profile.policy import FilterStage
from tlsrt.sandbox.profile.profile_files import ProfileFiles
from tlsrt.sandbox.report.effective import Effective, document, effective
from tlsrt.sandbox.report.explain import STAGES, Explanation, explain, is_allowed
from tlsrt.sandbox.report.syscall_verdict import action_of, verdict_of, verdicts_of
from tlsrt.sandbox.report.visible_files import VisibleFiles
from tlsrt.sandbox.seccomp.bpf import ALLOW, LOW_32
from tlsrt.sandbox.seccomp.constants import CONSTANTS
from tlsrt.sandbox.seccomp.syscall_numbers import NUMBERS

FILES = ProfileFiles()

MACHINE = os.uname().machine
BASE = Path("/srv/tlsrt")
EGRESS = (EgressConfig((parse_egress("192.0.2.0/24:443"), parse_egress("*:53/udp")), "the archive"),)
CONFIG = Config(
    path=BASE / "tlsrt.yaml", install_id=bytes(16), master_key=KeySource("file", BASE / "master.key"),
    boot_token=BASE / "boot.token", measure="strict", state_dir=BASE / "state", run_dir=BASE / "run",
    log_dir=BASE / "log", door=DoorConfig("::", 1, BASE / "s.pem", BASE / "s.key", BASE / "ca.pem"),
    loops=(*(LoopConfig(name) for name in DEFAULT_LOOPS), LoopConfig("proxy", egress=EGRESS)),
    components=COMPONENTS, policy=(), clients=(),
)  # fmt: skip


def make(process: str, *waived: str) -> Effective:
    config = replace(CONFIG, sandbox=SandboxConfig(waive=dict.fromkeys(waived, "this host cannot")))
    if process == "authority":
        profile = profile_for_authority(config, 771000, FILES, rootless=False, code=())
    else:
        profile = profile_for_loop(config, config.loop(process), 771001, FILES, rootless=False, code=())
    return effective(config, profile, (), FILES)


PROCESSES = {name: make(name) for name in (*DEFAULT_LOOPS, "authority", "proxy")}
VALUES = st.sampled_from([0, 1, *CONSTANTS.values()]) | st.integers(0, LOW_32)
ARGUMENTS = st.tuples(*[st.builds(lambda low, high: low | high, VALUES, st.sampled_from([0, 0, 1 << 32]))] * 6)
CALLS = st.sampled_from(sorted(NUMBERS[MACHINE]))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(PROCESSES)), st.sampled_from(list(FilterStage)), CALLS, ARGUMENTS)
def test_no_call_is_allowed_that_is_not_explained(
    process: str, stage: FilterStage, call: str, arguments: tuple[int, ...]
) -> None:
    profile = PROCESSES[process].profile
    allowed = action_of(profile, stage, call, arguments) == ALLOW
    verdict = verdict_of(profile, stage, call, arguments)
    assert (verdict.how == "allowed") is allowed
    if allowed:
        assert verdict.entry is not None and verdict.entry in profile.policy.allowed(stage)
        assert any(one.entry is verdict.entry and one.is_allowed for one in verdicts_of(profile, stage, call))
    findings = explain(PROCESSES[process], [call, *map(str, arguments)])
    assert [one.is_allowed for one in findings if one.stage in ("always", STAGES[stage])] == [verdict.is_allowed]
    if allowed and stage is FilterStage.SEALED:
        assert is_allowed(explain(PROCESSES[process], [call]))


@pytest.mark.parametrize("process", sorted(PROCESSES))
def test_every_entry_is_explained_by_itself(process: str) -> None:
    """Arguments are found that only this line allows, unless an earlier line allows all of them."""
    profile = PROCESSES[process].profile
    for stage in FilterStage:
        seen: dict[str, list[PolicyEntry]] = {}
        for entry in profile.policy.allowed(stage):
            for call in set(entry.calls) & set(NUMBERS[MACHINE]):
                before = seen.setdefault(call, [])
                verdicts = verdicts_of(profile, stage, call)
                assert all(one.is_allowed for one in verdicts if one.kind == "allow")
                is_hidden = any(not one.checks or one.checks == entry.checks for one in before)
                assert is_hidden or any(one.entry is entry for one in verdicts), (call, entry.when)
                before.append(entry)


def only(findings: list[Explanation], action: str, stage: str = "after the seal") -> Explanation:
    (found,) = [one for one in findings if one.action.startswith(action) and one.stage in ("always", stage)]
    return found


def test_a_waived_filter_asks_nobody() -> None:
    both = make("third", "seccomp", "seccomp_sealed", "seccomp_reports")
    found = only(explain(both, ["execve"]), "execve")
    assert found.is_allowed and "is waived: this host cannot" in found.why
    first = make("third", "seccomp_sealed", "seccomp_reports")
    assert only(explain(first, ["execve"]), "execve").how == "killed"  # by the first filter, which stays
    assert only(explain(first, ["landlock_add_rule"]), "landlock_add_rule").is_allowed
    assert [layer["state"] for layer in document(first)["layers"] if layer["layer"] == "seccomp_sealed"] == ["waived"]


def test_without_a_root_of_its_own_landlock_decides_alone() -> None:
    one = make("third", "mount_namespace")
    assert not is_allowed(explain(one, ["/etc/shadow"]))
    assert only(explain(one, ["/etc/passwd"]), "read").layer == "landlock"
    assert only(explain(one, ["/etc/localtime"]), "read").is_allowed
    assert only(explain(one, [f"{BASE}/state/third/x"]), "write").is_allowed
    assert not is_allowed(explain(one, [f"{BASE}/state/secondary/x"]))


def test_without_landlock_the_root_decides_alone() -> None:
    one = make("third", "landlock", "landlock_sealed")
    assert only(explain(one, ["/etc/passwd"]), "read").layer == "mount_namespace"
    assert only(explain(one, ["/usr/lib"]), "read").is_allowed  # code, which Landlock would have hidden
    assert not only(explain(one, ["/usr/lib"]), "write").is_allowed


def test_with_neither_every_file_that_its_modes_allow() -> None:
    one = make("third", "mount_namespace", "landlock", "landlock_sealed")
    assert only(explain(one, ["/etc/passwd"]), "read").is_allowed
    assert only(explain(one, ["/etc/passwd"]), "write").layer == "file modes"


@pytest.mark.parametrize("name", ["base", "network", "declared", "reports"])
def test_a_declared_loop_is_about_what_declared_says_whatever_its_name(name: str) -> None:
    config = replace(CONFIG, loops=(*CONFIG.loops, LoopConfig(name)))
    profile = profile_for_loop(config, config.loop(name), 771009, FILES, rootless=False, code=())
    assert document(effective(config, profile, (), FILES))["about"].startswith("a loop that the operator declared")


def test_a_circle_of_links_and_what_is_not_there(tmp_path: Path) -> None:
    view = VisibleFiles(PROCESSES["third"].profile, sealed=True)
    assert view.access("/usr/lib/absent-of-this-host", write=False).reason == "there is no such file on this host"
    assert view.access("/state/absent", write=True).is_allowed
    assert not view.access("/statement", write=False).is_allowed  # a prefix is no folder


@pytest.mark.parametrize(
    ("process", "host", "allowed", "layer"),
    [
        ("proxy", "192.0.2.9:443", True, "egress"),
        ("proxy", "[::ffff:192.0.2.9]:443", True, "egress"),
        ("proxy", "192.0.3.9:443", False, "egress"),
        ("proxy", "192.0.2.9:444", False, "egress"),
        ("proxy", "192.0.2.9:443/udp", False, "egress"),
        ("proxy", "[2606:4700::1]:53/udp", True, "egress"),
        ("proxy", "[2001:db8::1]:53/udp", False, "egress"),
        ("proxy", "127.0.0.1:53/udp", False, "egress"),
        ("external", "192.0.2.9:443", False, "egress"),
        ("third", "192.0.2.9:443", False, "seccomp"),
        ("authority", "[2001:db8::1]:53/udp", False, "seccomp"),
    ],
)
def test_hosts(process: str, host: str, allowed: bool, layer: str) -> None:
    (found,) = explain(PROCESSES[process], [host])
    assert (found.is_allowed, found.layer, found.stage) == (allowed, layer, "always")
    assert found.part == ("loops.proxy" if allowed else "")


def test_a_loop_whose_namespace_is_all_that_is_left_reaches_nobody() -> None:
    one = make("third", "seccomp", "seccomp_sealed", "seccomp_reports")
    assert only(explain(one, ["192.0.2.9:443"]), "reach").layer == "net_namespace"
    none = make("third", "seccomp", "seccomp_sealed", "seccomp_reports", "net_namespace")
    assert only(explain(none, ["192.0.2.9:443"]), "reach").layer == "landlock"


def test_without_a_listener_only_ports_are_looked_at_and_it_says_so() -> None:
    one = make("proxy", "seccomp_reports")
    for host in ("192.0.2.9:443", "203.0.113.9:443", "203.0.113.9:123/udp"):
        found = only(explain(one, [host]), "reach")
        assert found.is_allowed and "seccomp_reports is waived" in found.why
    assert only(explain(one, ["203.0.113.9:444"]), "reach").layer == "landlock"
