"""A walk by itself, of any length: `python -m chaos.soak --seed N --minutes M`, which is `make soak`.

It ends with 0 if nothing was found, else with 1 and the findings; the ledger is kept then.
"""

from __future__ import annotations

import argparse
import secrets
import shutil
import sys

from chaos.host import ChaosHost
from chaos.walk import Walk

SHOWN = 50


def soak(seed: int, minutes: float) -> int:
    """Walk once and print; return the exit code."""
    print(f"seed {seed}, {minutes:g} minutes; once more: make soak SEED={seed} MINUTES={minutes:g}", flush=True)
    host = ChaosHost()
    print(f"ledger {host.ledger}", flush=True)
    try:
        host.start()
        walk = Walk(host, seed, minutes * 60, lambda text: print(text, flush=True))
        ledger, findings = walk.run()
    except BaseException:
        host.print_logs()
        raise
    finally:
        host.close()
    print(walk.summary(ledger))
    if not findings:
        shutil.rmtree(host.ledger)
        print("nothing found")
        return 0
    print(f"{len(findings)} findings:", *findings[:SHOWN], sep="\n  ")
    return 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 31))
    parser.add_argument("--minutes", type=float, default=60.0)
    arguments = parser.parse_args()
    sys.exit(soak(arguments.seed, arguments.minutes))
