"""A short walk that is always the same. `make stress` has two more, one of the day, and `make soak` walks for hours."""

from __future__ import annotations

import time

import pytest

from chaos.host import ChaosHost
from chaos.walk import Walk

LASTS_S = 6.0


TODAY = pytest.param(int(time.strftime("%Y%m%d")), id="today", marks=pytest.mark.stress)


@pytest.mark.parametrize("seed", [1, pytest.param(4, marks=pytest.mark.stress), TODAY])
@pytest.mark.timeout(400)
def test_a_walk_loses_and_doubles_nothing(seed: int) -> None:
    print(f"seed {seed}; once more: make soak SEED={seed} MINUTES={LASTS_S / 60:.2f}")
    with ChaosHost() as host:
        walk = Walk(host, seed, LASTS_S)
        ledger, findings = walk.run()
        print(walk.summary(ledger))
        assert findings == []
        assert walk.sealed > 1000 and len(ledger.faults) > 1
        assert sum(call.outcome == "ok" for call in ledger.calls) > 100
