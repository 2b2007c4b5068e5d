"""Which process a component runs in, and what follows for loops, uids, order and restarts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlsrt.config.load import parse_config
from tlsrt.config.schema import Config
from tlsrt.config.supervision import Escalation, RestartConfig, SupervisionConfig, start_order
from tlsrt.errors import ConfigError
from tlsrt.supervisor.process.uids import AUTHORITY, identify
from tlsrt.supervisor.supervision.restart_policy import RestartPolicy

FACTS = "primary.facts"
ALL_IDS = [range(1 << 32)]


def load(minimal: str, more: str = "") -> Config:
    return parse_config((minimal + more).encode(), Path("/etc/tlsrt/tlsrt.yaml"))


def test_primary_runs_the_events_and_its_other_components_are_apart_at_the_same_addresses(minimal: str) -> None:
    config = load(minimal)
    assert [one.address for one in config.components_of("primary")] == ["primary/events"]
    assert [one.address for one in config.components_of(FACTS)] == ["primary/kernel", "primary/hardware"]
    assert config.placed_apart == {"primary/kernel": FACTS, "primary/hardware": FACTS}
    assert all(one.process == one.loop for one in config.components if one.loop != "primary")


@pytest.mark.parametrize(
    "more",
    ["components: {primary/mine: {class: 'mine:Mine'}}", "components: {primary/events: {class: 'mine:Events'}}"],
)
def test_what_an_operator_puts_into_primary_does_not_run_in_its_process(minimal: str, more: str) -> None:
    (mine,) = (one for one in load(minimal, more).components if not one.builtin)
    assert (mine.loop, mine.process) == ("primary", f"primary.{mine.name}")
    (mine,) = (one for one in load(minimal, more.replace("}}", ", process: shared}}")).components if not one.builtin)
    assert (mine.loop, mine.process) == ("primary", FACTS)


def test_a_component_has_a_process_of_its_own_unless_it_shares_its_loops(minimal: str) -> None:
    text = "components: {third/mine: {class: 'mine:Mine'}, third/ours: {class: 'mine:Ours', process: shared}}\n"
    config = load(minimal, text + "loops: {third.mine: {memory_mb: 99}}\n")
    assert [one.address for one in config.components_of("third")] == ["third/io", "third/ours"]
    assert [one.address for one in config.components_of("third.mine")] == ["third/mine"]
    assert config.loop("third.mine").memory_mb == 99 and config.placed_apart["third/mine"] == "third.mine"


def test_a_built_in_component_shares_its_loops_process_unless_it_is_to_have_its_own(minimal: str) -> None:
    config = load(minimal, "components: {secondary/store: {process: own}, third/io: {process: shared}}\n")
    found = {one.address: one.process for one in config.components}
    assert (found["secondary/store"], found["third/io"]) == ("secondary.store", "third")
    assert found["primary/events"] == "primary", "but the events, which are Primary's own"


def test_no_component_takes_the_name_of_a_shared_process(minimal: str) -> None:
    with pytest.raises(ConfigError, match=r"primary/facts: primary\.facts is the process of components that share one"):
        load(minimal, "components: {primary/facts: {class: 'mine:Facts'}}\n")


def test_a_process_without_a_component_is_none(minimal: str) -> None:
    config = load(minimal, "components: {primary/kernel: null, primary/hardware: null}\n")
    assert FACTS not in {loop.name for loop in config.loops} and config.placed_apart == {}
    with pytest.raises(ConfigError, match=r"there is no process primary\.facts"):
        load(minimal, "components: {primary/kernel: null, primary/hardware: null}\nloops: {primary.facts: {}}\n")


def test_its_settings_are_its_own(minimal: str) -> None:
    config = load(minimal, "loops: {primary.facts: {memory_mb: 99}, primary: {memory_mb: 600}}\n")
    assert (config.loop(FACTS).memory_mb, config.loop("primary").memory_mb) == (99, 600)
    with pytest.raises(ConfigError, match=r"there is no process primary\.fact, did you mean primary.facts"):
        load(minimal, "loops: {primary.fact: {}}\n")
    scheduled = load(minimal, "scheduling: {cpus: {primary.facts: [1]}, real_time: [primary]}\n").scheduling
    assert scheduled.cpus == {FACTS: (1,)} and scheduled.real_time == ("primary",)


def test_the_uids_of_loops_are_what_they_were_and_no_loop_moves_that_of_a_further_process(minimal: str) -> None:
    first, second = (identify(load(minimal, more), 0, ALL_IDS) for more in ("", "loops: {reports: {}, more: {}}\n"))
    loops = ("primary", "secondary", "third", "forth", "external")
    assert [first.uid(name) for name in (AUTHORITY, *loops)] == [771000 + number for number in range(6)]
    assert [second.uid(name) for name in ("external", "reports", "more")] == [771005, 771006, 771007]
    assert first.uid(FACTS) == second.uid(FACTS) == 771256
    assert {771000, 771005, 771256} <= set(first.all_uids()) and 771257 not in first.all_uids()


def test_a_process_keeps_its_uid_whatever_comes_before_it_later(minimal: str) -> None:
    mine = "third/mine: {class: 'mine:Mine'}"
    before = identify(load(minimal, f"loops: {{reports: {{}}}}\ncomponents: {{{mine}}}\n"), 0, ALL_IDS)
    more = f"loops: {{archive: {{}}, reports: {{}}}}\ncomponents: {{third/first: {{class: 'a:A'}}, {mine}}}\n"
    after = identify(load(minimal, more), 0, ALL_IDS, before.numbers)
    for name in ("reports", "third.mine", FACTS, "external"):
        assert after.uid(name) == before.uid(name)
    gone = identify(load(minimal), 0, ALL_IDS, after.numbers)
    again = identify(load(minimal, "components: {forth/new: {class: 'n:N'}}\n"), 0, ALL_IDS, gone.numbers)
    assert again.uid("forth.new") not in {after.uid(name) for name in after.numbers}, "no number is given twice"


def test_it_starts_behind_its_loop(minimal: str) -> None:
    config = load(minimal, "supervision: {depends: {secondary: [third]}}\n")
    order = start_order([loop.name for loop in config.loops], config.supervision)
    assert order == ("primary", FACTS, "third", "secondary", "forth", "external")


def test_its_death_restarts_nothing_else_and_does_not_end_the_host(minimal: str) -> None:
    text = "supervision: {groups: {core: {loops: [primary, third], strategy: one_for_all, restart: {deaths: 2}}}}\n"
    config = load(minimal, text)
    policy = RestartPolicy(config.supervision, [loop.name for loop in config.loops], lambda: 1.0)
    assert policy.died(FACTS, 1.0, 0.0, "code 1").companions == ()
    failure = policy.died(FACTS, 2.0, 0.0, "code 1").failure
    assert failure is not None and failure.loops == {FACTS} and failure.escalation is Escalation.DEGRADED
    assert policy.deaths("core", 2.0) == 0, "it is charged to none"


def test_what_restarts_its_loop_together_with_others_restarts_it_too(minimal: str) -> None:
    text = "supervision: {groups: {core: {loops: [primary, third], strategy: one_for_all}}}\n"
    config = load(minimal, text)
    names = [loop.name for loop in config.loops]
    policy = RestartPolicy(config.supervision, names, lambda: 1.0)
    assert policy.died("third", 1.0, 0.0, "code 1").companions == ("primary", FACTS)
    alone = RestartPolicy(SupervisionConfig(), names, lambda: 1.0)
    assert alone.died("primary", 1.0, 0.0, "code 1").companions == ()
    assert alone.restart(FACTS, 1.0) == {FACTS}


def test_that_a_death_ends_the_host_can_be_said_for_all() -> None:
    exiting = SupervisionConfig(RestartConfig(deaths=1, escalate=Escalation.EXIT))
    assert exiting.group_of(FACTS).escalation is Escalation.EXIT
    assert SupervisionConfig().group_of(FACTS).escalation is Escalation.DEGRADED
