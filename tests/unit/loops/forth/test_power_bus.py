"""What upowerd says, as far as it can be: a daemon that lies is not known, and counted."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from tlsrt.errors import OutcomeUnknown, Unavailable
from tlsrt.loops.forth.policy_rules import Sample
from tlsrt.loops.forth.power_bus import PowerBus


def heard(on_battery: object, **device: Any) -> tuple[Sample, int]:
    bus = PowerBus("", lambda: None)
    return bus.sample_untrusted(on_battery, device), bus.odd


def test_what_can_be_is_taken() -> None:
    assert heard(True, IsPresent=True, Type=2, Percentage=40.5) == (Sample(True, 40.5), 0)
    assert heard(False, IsPresent=False, Type=2, Percentage=0.0) == (Sample(False, None), 0)


@pytest.mark.parametrize("percent", [300, -1, math.nan, math.inf, "50", None, True, [], 10**400])
def test_a_charge_that_cannot_be_is_not_known(percent: object) -> None:
    assert heard(True, IsPresent=True, Type=2, Percentage=percent) == (Sample(True, None), 1)


@pytest.mark.parametrize("on_battery", ["yes", 1, None])
def test_what_is_no_truth_value_is_not_known(on_battery: object) -> None:
    assert heard(on_battery) == (Sample(), 1)


class LostBus:
    """A bus that is gone when it is asked, as when the machine ends."""

    async def call(self, message: object) -> None:
        raise EOFError


def test_what_is_lost_over_the_end_of_the_machine_may_have_been_done(monkeypatch: pytest.MonkeyPatch) -> None:
    bus = PowerBus("", lambda: None)
    monkeypatch.setattr(bus._bus, "_bus", LostBus())
    with pytest.raises(OutcomeUnknown, match="the bus was lost: EOFError; it may have been done"):
        asyncio.run(bus.end_machine("power_off"))
    with pytest.raises(Unavailable, match="the bus was lost"):
        asyncio.run(bus.sample())
