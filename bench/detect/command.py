"""`make bench-detect`: the table of detectors. Everything is generated, nothing is sent, and seeds decide all of it."""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

from bench.detect.attacks import ATTACKS
from bench.detect.measure import Ordinary, Tally, measure_attacks, measure_ordinary, middle_s
from bench.detect.river_model import RiverModel, is_there
from bench.detect.scenario import REPORTING, TUNING, attacked, ordinary
from tlsrt.channels.control.telemetry import WINDOW_MS, Window
from tlsrt.supervisor.learner.anomaly_model import AnomalyModel

RULES, LEARNED, LIBRARY = "rules", "rules + learned", "rules + river"


def models(*, library: bool) -> dict[str, AnomalyModel | None]:
    """Return the arms of a run, with fresh models."""
    arms: dict[str, AnomalyModel | None] = {RULES: None, LEARNED: AnomalyModel()}
    if library:
        arms[LIBRARY] = RiverModel()
    return arms


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    options = _options(arguments)
    if options.write:
        write_corpus(options.write, _seeds(options))
        return 0
    library = is_there() and not options.no_river
    seeds = _seeds(options)
    if not library:
        print("river is not measured: `make bench-peers` gets it\n")
    make = partial(models, library=library)
    begin = time.monotonic()
    kinds = options.kind or list(ATTACKS)
    attacks = measure_attacks(kinds, seeds, make, options.processes)
    print(attack_table(attacks))
    quiet = measure_ordinary(seeds[: options.days], options.hours, make, options.processes)
    print(ordinary_table(quiet))
    print(cost_table(quiet, library=library))
    print(f"seeds {seeds[0]} to {seeds[-1]}, {'for tuning' if options.tuning else 'for reporting'}; "
          f"{time.monotonic() - begin:.0f} s")  # fmt: skip
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench-detect", description=__doc__)
    parser.add_argument("--kind", action="append", choices=list(ATTACKS), help="only this kind of attack")
    parser.add_argument("--seeds", type=int, default=10, help="runs of each attack")
    parser.add_argument("--hours", type=float, default=24.0, help="of ordinary traffic in one run")
    parser.add_argument("--days", type=int, default=1, help="runs of ordinary traffic")
    parser.add_argument("--processes", type=int, help="work in so many; as many as there are processors if not said")
    parser.add_argument("--tuning", action="store_true", help="use the seeds for tuning")
    parser.add_argument("--no-river", action="store_true", help="leave the library out")
    parser.add_argument("--write", type=Path, help="write the labelled traces there instead, a file of JSON lines each")
    return parser.parse_args(arguments)


def _seeds(options: argparse.Namespace) -> range:
    return (TUNING if options.tuning else REPORTING)[: options.seeds]


# Tables


def attack_table(attacks: dict[str, dict[str, Tally]]) -> str:
    """Return what became of each kind of attack: told as an event, answered by a step, and after how long (median)."""
    lines = [f"{'attack':<18} {'':<16} {'told':>6} {'after':>9} {'answered':>9} {'after':>9}"]
    for kind, arms in attacks.items():
        for at, (arm, counts) in enumerate(arms.items()):
            told, answered = len(counts.told) / counts.runs, len(counts.answered) / counts.runs
            lines.append(
                f"{kind if at == 0 else '':<18} {arm:<16} {told:>6.0%} {middle_s(counts.told):>9} "
                f"{answered:>9.0%} {middle_s(counts.answered):>9}"
            )
    return "\n".join(lines) + "\n"


def ordinary_table(arms: dict[str, Ordinary]) -> str:
    """Return what was found in ordinary traffic: each of these is a false one, but for events of a clumsy program."""
    lines = [f"{'ordinary traffic':<18} {'':<16} {'hours':>6} {'steps/h':>9} {'unusual/h':>10} {'by rules/h':>11}"]
    for name, arm in arms.items():
        unusual = arm.events.get("unusual", 0)
        others = sum(arm.events.values()) - unusual
        lines.append(
            f"{'':<18} {name:<16} {arm.hours:>6.0f} {arm.actions / arm.hours:>9.3f} "
            f"{unusual / arm.hours:>10.3f} {others / arm.hours:>11.2f}"
        )
    return "\n".join(lines) + "\n"


def cost_table(arms: dict[str, Ordinary], *, library: bool) -> str:
    """Return what a model costs: CPU a window, memory a subject, its import, and what is installed for it."""
    lines = [f"{'model':<18} {'CPU/window':>12} {'memory/subject':>15} {'import':>9} {'installed':>10}"]
    for name, make, module in ((LEARNED, AnomalyModel, ""), (LIBRARY, RiverModel, "river.anomaly")):
        if name == LIBRARY and not library:
            continue
        arm = arms[name]
        imported = module or "tlsrt.supervisor.learner.anomaly_model"
        label = f"river {version('river')}" if module else "ours"
        lines.append(
            f"{label:<18} {arm.seconds / max(1, arm.windows) * 1e6:>9.0f} us {memory(make) / 1000:>12.1f} KB "
            f"{import_ms(imported):>6.0f} ms {installed_mb(module):>7.1f} MB"
        )
    return "\n".join(lines) + "\n"


def memory(make: type[AnomalyModel], subjects: int = 40, windows: int = 200) -> float:
    """Return the bytes that a subject takes when it is known."""
    chance = random.Random(1)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        model = make()
        for at in range(windows):
            for name in range(subjects):
                frames = chance.randint(1, 60)
                window = Window(frames, frames * 300, frames * 900, 3, 1, 0, 2, 10, frames)
                model.observe(str(name), "client", window, at * WINDOW_MS)
        return (tracemalloc.get_traced_memory()[0] - before) / subjects
    finally:
        tracemalloc.stop()


def import_ms(module: str) -> float:
    """Return the shortest of three imports in a process of its own, without the interpreter's start."""
    program = "import sys, time; t = time.perf_counter(); __import__(sys.argv[1]); print(time.perf_counter() - t)"
    command = [sys.executable, "-c", program, module]
    times = [subprocess.run(command, capture_output=True, check=True, text=True).stdout for _ in range(3)]
    return min(map(float, times)) * 1000


def installed_mb(module: str) -> float:
    """Return what a library and what it needs take on the disk; ours is a folder of the package."""
    import tlsrt.supervisor.authority.detection as ours

    if not module:
        return _size(Path(ours.__file__).parent) / 1e6
    packages = Path(str(__import__("river").__file__)).parent.parent
    names = ("river", "numpy", "numpy.libs", "scipy", "scipy.libs", "narwhals")
    return sum(_size(packages / name) for name in names) / 1e6


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")


# The corpus as files


def write_corpus(folder: Path, seeds: range) -> None:
    """Write what everybody does, tick by tick: one line for each deed that is something, with its label."""
    folder.mkdir(parents=True, exist_ok=True)
    scenarios = [attacked(kind, seed) for kind in ATTACKS for seed in seeds] + [ordinary(seeds[0], 2.0)]
    for scenario in scenarios:
        path = folder / f"{scenario.name.replace(' ', '-')}-{scenario.seed}.jsonl"
        with path.open("w") as file:
            for at, actor in enumerate(scenario.actors):
                script = actor.script(random.Random(f"{scenario.seed} {at} {actor.name}"))
                for tick in range(actor.from_tick, min(actor.until_tick, scenario.ticks)):
                    deeds = next(script)
                    if any(deeds):
                        row = {"tick": tick, "who": actor.name, "as": actor.who, "label": actor.label,
                               "attack": actor.is_attack, **deeds._asdict()}  # fmt: skip
                        file.write(json.dumps(row) + "\n")
        print(path)
