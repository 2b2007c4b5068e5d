"""Run the suite in several processes that share its files: `run.py WORKERS [pytest arguments]`.

Not pytest-xdist, whose workers have a second thread from birth on: what is tested here forks, and refuses to do that
beside a thread. Every worker runs its part of the small files, and then the next large one that nobody has
(tests/conftest.py).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time


def main(workers: int, arguments: list[str]) -> int:
    """Return 0 if every worker's tests passed, else the exit code of one that failed."""
    began = time.monotonic()
    with tempfile.NamedTemporaryFile(prefix="tlsrt-shared.") as shared:
        command = [sys.executable, "-m", "pytest", "-q", "--durations=20", f"--share={shared.name}", *arguments]
        hands = [f"--hand={number}/{workers}" for number in range(1, workers + 1)]
        running = [subprocess.Popen([*command, hand]) for hand in hands]
        codes = [process.wait() for process in running]
    print(f"{workers} workers: {time.monotonic() - began:.0f} s, {'failed' if any(codes) else 'all passed'}")
    return next((code for code in codes if code), 0)


if __name__ == "__main__":
    os.chdir(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    sys.exit(main(max(1, int(sys.argv[1])), sys.argv[2:]))
