"""Run the suite in several processes that share its files: `run.py WORKERS [pytest arguments]`.

Not pytest-xdist, whose workers have a second thread from birth on: what is tested here forks, and refuses to do that
beside a thread. Every worker runs the next file that nobody has, those with real processes first (tests/conftest.py).
These wait as often as they compute: one more worker, with less priority, runs meanwhile what only computes.

In CI a test with real processes that failed is run once more, alone: one that passes then is flaky, which is printed,
and a fault to mend; flaky tests in more than FLAKY_MAX files fail the run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from tools import programs  # noqa: E402 - found by the line above

FLAKY_MAX = 3
AGAIN_MAX = 8  # files; failures in more of them are no accident
REAL = ("tests/attacks/", "tests/chaos/", "tests/integration/")
DEAREST = 60


class Results:
    """What the workers have written, a line of JSON for each phase of each test, and one for each file."""

    def __init__(self, path: Path) -> None:
        self.outcomes: dict[str, str] = {}
        self.seconds: dict[str, float] = defaultdict(float)
        self.left_out: dict[str, int] = defaultdict(int)
        self.processor: dict[str, float] = defaultdict(float)
        for line in path.read_text().splitlines():
            report = json.loads(line)
            if "processor" in report:
                self.processor[report["file"]] += report["processor"]
                continue
            name = report["id"]
            self.seconds[name.partition("::")[0]] += report["seconds"]
            if self.outcomes.get(name) != "failed" and (report["when"] == "call" or report["outcome"] != "passed"):
                self.outcomes[name] = report["outcome"]
            if report["reason"].startswith(programs.LEFT_OUT):
                self.left_out[report["reason"].removeprefix(programs.LEFT_OUT)] += 1

    def count(self, outcome: str) -> int:
        """Return how many tests ended so."""
        return sum(each == outcome for each in self.outcomes.values())

    @property
    def failed(self) -> list[str]:
        """Return the tests that failed in any phase."""
        return [name for name, outcome in self.outcomes.items() if outcome == "failed"]

    def dearest(self) -> list[str]:
        """Return a line for each of the files that took most of the processors."""
        first = sorted(self.processor, key=lambda name: -self.processor[name])[:DEAREST]
        return [f"  {self.seconds[name]:6.1f} s, {self.processor[name]:5.1f} of processor  {name}" for name in first]


def main(workers: int, arguments: list[str]) -> int:
    """Return 0 if every worker's tests passed, else the exit code of one that failed."""
    if not os.environ.get("CI"):
        programs.fetch()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="suite.", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)  # hosts/installation.py has installations there that every user may run
        shared, written = Path(folder, "next"), Path(folder, "results")  # the first is how names begin
        written.touch()
        command = _pytest(f"--share={shared}", f"--results={written}", *arguments)
        running = []
        kinds: list[list[str]] = [[]] * workers + [["--pure"]] * (workers > 1)
        for number, kind in enumerate(kinds, 1):
            # A folder each: pytest's own for a user is cleared by the first worker that ends, while others write there.
            # Its name is short: a socket's path has 108 bytes.
            options = [f"--basetemp={Path(folder, f'w{number}')}", *kind]
            environment = _environment(folder, f"{number}/{len(kinds)}")
            running.append(subprocess.Popen([*command, *options], env=environment))
        codes = [process.wait() for process in running]
        results = Results(written)
    print(f"the {DEAREST} dearest files:", *results.dearest(), sep="\n")
    for reason, count in results.left_out.items():
        program, _, remedy = reason.partition(": ")
        print(f"left out {count} tests: {program} is missing, `{remedy}` brings it")
    code = next((code for code in codes if code), 0)
    failed = len(results.failed)
    if not results.outcomes:
        print("no test was found")
        code = code or 5
    if code and os.environ.get("CI"):
        code, failed = _once_more(code, codes, results.failed)
    seconds, processor = time.monotonic() - began, sum(os.times()[2:4])
    print(f"{workers} workers: {seconds:.0f} s, {processor:.0f} of processor, {'failed' if code else 'all passed'}")
    print(f"{results.count('passed') + len(results.failed) - failed} passed, {failed} failed")
    return code


def _once_more(code: int, codes: list[int], failed: list[str]) -> tuple[int, int]:
    """Run the files of what failed once more, alone; return the exit code, and how many tests failed for good."""
    again = [name for name in failed if name.startswith(REAL)]
    files = _files_of(again)  # whole: some tests judge what the others did, and some share a host that has failed
    if {*codes} - {0, 1} or len(again) < len(failed) or not 0 < len(files) <= AGAIN_MAX:
        return code, len(failed)
    print(f"once more, alone: {' '.join(files)} for {' '.join(again)}", flush=True)
    with tempfile.NamedTemporaryFile(prefix="tlsrt-again.") as written:
        done = subprocess.run(_pytest(f"--results={written.name}", *files), check=False)
        still = Results(Path(written.name)).failed
    flaky = sorted({*again} - {*still}) if done.returncode in (0, 1) else []
    for name in flaky:
        print(f"flaky: {name} failed, and passed alone")
    if (count := len(_files_of(flaky))) > FLAKY_MAX:
        print(f"tests in {count} files are flaky, at most in {FLAKY_MAX} they may be")
        return code, len(failed)
    return (0 if done.returncode == 0 else code), len(failed) - len(flaky)


def _environment(folder: str, hand: str) -> dict[str, str]:
    """Name a folder for what is made once for all workers (hosts/installation.py), and whose ports a worker takes."""
    return {**os.environ, "SUITE_SHARED": folder, "SUITE_HAND": hand}


def _files_of(names: list[str]) -> list[str]:
    return sorted({name.partition("::")[0] for name in names})


def _pytest(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pytest", "-q", *arguments]


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main(max(1, int(sys.argv[1])), sys.argv[2:]))
