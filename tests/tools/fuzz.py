"""`make fuzz MINUTES=10`: the properties of what a stranger reaches, with other random bytes again and again.

Each round has a seed of its own, which is printed: SEED=N begins with that one. The first failure ends it.
"""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FACTOR = 40  # times the examples of the suite, a round


def main() -> int:
    """Return 0 when the time is over without a failure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=None)
    asked = parser.parse_args()
    end = time.monotonic() + asked.minutes * 60
    seed, rounds = asked.seed, 0
    while rounds == 0 or time.monotonic() < end:
        seed = secrets.randbelow(1 << 32) if seed is None else seed
        print(f"round {rounds + 1}, seed {seed}", flush=True)
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-o", "timeout=0", f"--hypothesis-seed={seed}",
             "tests/property/test_before_authentication.py", "tests/property/test_http_before_authentication.py",
             "tests/property/test_web_before_authentication.py", "tests/property/test_sip.py"],
            cwd=ROOT, env={**os.environ, "FUZZ": str(FACTOR)}, check=False,
        )  # fmt: skip
        if done.returncode:
            print(f"failed: make fuzz SEED={seed} shows it again")
            return done.returncode
        seed, rounds = None, rounds + 1
    print(f"{rounds} rounds, nothing found")
    return 0


if __name__ == "__main__":
    sys.exit(main())
