"""The lamp without a host: `pytest` here."""

from __future__ import annotations

from lamp import WATTS, Lamp

from tlsrt.testing import running_sync


def test_it_is_what_it_was_turned_to_and_takes_power_only_then() -> None:
    with running_sync(Lamp) as lamp:
        lamp.call("on")
        assert lamp.call("look") == {"is_on": True, "watts": WATTS, "blinks": 0}
        lamp.call("off")
        assert lamp.call("blink", 2) == 2
        assert lamp.call("look") == {"is_on": False, "watts": 0.0, "blinks": 2}
