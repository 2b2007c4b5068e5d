"""Where metrics are served: on this host only."""

from __future__ import annotations

import pytest

from tlsrt.config.metrics import MonitoringPlace, parse_place


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("127.0.0.1:9464", MonitoringPlace("127.0.0.1", 9464)),
        ("[::1]:9464", MonitoringPlace("::1", 9464)),
        ("unix:/run/tlsrt/metrics.sock", MonitoringPlace(path="/run/tlsrt/metrics.sock")),
    ],
)
def test_places(text: str, place: MonitoringPlace) -> None:
    assert parse_place(text) == place


@pytest.mark.parametrize("text", ["0.0.0.0:9464", "192.0.2.1:80", "[::]:9464", "[2001:db8::1]:9464"])
def test_another_address_is_refused_with_one_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no loopback address: .* to this host only"):
        parse_place(text)


@pytest.mark.parametrize(
    "text", ["localhost:9464", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:70000", "unix:metrics", "unix:/run/", ":9464"]
)
def test_what_is_no_place(text: str) -> None:
    with pytest.raises(ValueError, match="neither ADDRESS:PORT"):
        parse_place(text)
