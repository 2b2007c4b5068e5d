"""What `make callgrind` counts: `gate_work.py SINGLES GROUPS`.

Makes the same frames every time, then passes SINGLES of them through the gate and GROUPS of bundles of 16. Two runs
that differ in one number differ by the instructions of just those frames. The first frames of a session take the long
way through the gate, so a few hundred pass before.
"""

from __future__ import annotations

import gc
import sys

from bench.gates import NOW, TESTS, OurGate

SIZE, WARM, JOINED = 64, 400, 16


def main(singles: int, groups: int) -> None:
    sys.path.append(str(TESTS))
    from fakes.memory_host import MemoryHost

    gate = OurGate(MemoryHost(now=NOW))
    gate.prepare(SIZE, WARM, 1)()
    gate.prepare(SIZE, 2 * JOINED, JOINED)()
    one_by_one, joined = gate.work(SIZE, 1000, 1), gate.work(SIZE, 200 * JOINED, JOINED)
    gc.collect()
    gc.disable()
    gate.passing(one_by_one[:singles])()
    gate.passing(joined[:groups])()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
