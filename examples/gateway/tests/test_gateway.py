"""The gateway without a host: what is kept, what people are told, and what is left out."""

from __future__ import annotations

from typing import Any

import pytest
from sensor_gateway import Gateway

from tlsrt import InvalidArgument, NotFound
from tlsrt.testing import running_sync


class Store:
    """What the gateway needs of the store."""

    def __init__(self) -> None:
        self.values: dict[str, list[Any]] = {}

    def put(self, key: str, value: Any, namespace: str) -> dict[str, int]:
        self.values.setdefault(key, []).append(value)
        return {"revision": len(self.values[key])}

    def get(self, key: str, namespace: str) -> Any:
        if key not in self.values:
            raise NotFound("there is none")
        return self.values[key][-1]

    def keys(self, namespace: str) -> list[str]:
        return sorted(self.values)

    def history(self, key: str, limit: int, namespace: str) -> list[dict[str, Any]]:
        if key not in self.values:
            raise NotFound("there is none")
        return [{"revision": number} for number in range(len(self.values[key]), 0, -1)][:limit]

    def version(self, key: str, revision: int, namespace: str) -> Any:
        return self.values[key][revision - 1]


class Notify:
    """What the gateway needs of notify."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def send(self, title: str, body: str = "", **more: Any) -> dict[str, int]:
        self.told.append(title)
        return {"id": len(self.told)}

    def withdraw(self, key: str) -> bool:
        self.told.append(f"{key} is good again")
        return True


def test_readings_are_kept_and_people_are_told_once() -> None:
    notify = Notify()
    peers = {"secondary/store": Store(), "third/notify": notify, "third/serial": object(), "forth/power": object()}
    options = {"bounds": {"temperature": {"low": 5, "high": 30}}}
    with running_sync(Gateway, options=options, address="third/gateway", peers=peers) as it:
        for line in (
            "temperature=21.5",
            "temperature=31",
            "temperature=32",
            "noise",
            "a b=1",
            "x=nan",
            "temperature=20\r",
        ):
            it.run(it.component.take(line))
        assert it.call("readings")["temperature"]["value"] == 20
        assert [one["value"] for one in it.call("history", "temperature", 3)] == [20, 32, 31]
        with pytest.raises(InvalidArgument, match="there is no reading 'noise'"):
            it.call("history", "noise")
        assert it.call("metrics")["counters"] == {"kept": 4, "damaged": 3}
        assert it.call("report") == "temperature: 20"
    assert notify.told == [
        "temperature is good again", "temperature is 31, above 30", "temperature is good again", "readings of today",
    ]  # fmt: skip
