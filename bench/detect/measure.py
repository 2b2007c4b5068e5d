"""Scenarios over seeds, and what each arm made of them: rates and times, as data."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from statistics import median

from bench.detect.deeds import TICK_MS
from bench.detect.scenario import Scenario, attacked, ordinary
from bench.detect.stage import BEGIN_MS, Finding, Findings, Stage
from tlsrt.supervisor.learner.anomaly_model import AnomalyModel

MakeModels = Callable[[], dict[str, AnomalyModel | None]]  # a function of a module: processes get it by its name


@dataclass(slots=True)
class Tally:
    """One kind of attack by one arm: ms from its begin to the first event, and to the first step, if there was one."""

    runs: int = 0
    told: list[int] = field(default_factory=list[int])
    answered: list[int] = field(default_factory=list[int])


@dataclass(slots=True)
class Ordinary:
    """Traffic in which nobody does wrong, by one arm."""

    hours: float = 0.0
    events: dict[str, int] = field(default_factory=dict[str, int])  # by detector: that somebody is unusual or wrong
    actions: int = 0  # that were taken against somebody
    windows: int = 0
    seconds: float = 0.0  # of CPU, for the model


def measure_attacks(
    kinds: Iterable[str], seeds: Iterable[int], models: MakeModels, processes: int | None
) -> dict[str, dict[str, Tally]]:
    """Return tallies by kind and arm."""
    jobs = [(kind, seed) for kind in kinds for seed in tuple(seeds)]
    found: dict[str, dict[str, Tally]] = {}
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        runs = pool.map(partial(_attack, models), *zip(*jobs, strict=True))
        for (kind, seed), run in zip(jobs, runs, strict=True):
            for arm, findings in run.items():
                _count(found.setdefault(kind, {}).setdefault(arm, Tally()), attacked(kind, seed), findings.found)
    return found


def _attack(models: MakeModels, kind: str, seed: int) -> dict[str, Findings]:
    return Stage(attacked(kind, seed), models()).run()


def _count(counts: Tally, scenario: Scenario, found: list[Finding]) -> None:
    attack = scenario.attack
    assert attack is not None
    begin = BEGIN_MS + attack.from_tick * TICK_MS
    mine = [one for one in found if one.subject == attack.name and one.is_attack and one.at >= begin]
    counts.runs += 1
    for times, wanted in ((counts.told, mine), (counts.answered, [one for one in mine if one.action])):
        if wanted:
            times.append(wanted[0].at - begin)


def measure_ordinary(
    seeds: Iterable[int], hours: float, models: MakeModels, processes: int | None
) -> dict[str, Ordinary]:
    """Return by arm what was found where nothing is."""
    arms: dict[str, Ordinary] = {}
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        runs = list(pool.map(partial(_day, models, hours), seeds))
    for run in runs:
        for name, findings in run.items():
            arm = arms.setdefault(name, Ordinary())
            arm.hours += hours
            arm.windows += findings.windows
            arm.seconds += findings.seconds
            for one in findings.found:
                if one.action:
                    arm.actions += 1
                else:
                    arm.events[one.detector] = arm.events.get(one.detector, 0) + 1
    return arms


def _day(models: MakeModels, hours: float, seed: int) -> dict[str, Findings]:
    return Stage(ordinary(seed, hours), models()).run()


def middle_s(times: list[int]) -> str:
    """Return the median in seconds, or a dash."""
    return f"{median(times) / 1000:.1f} s" if times else "-"
