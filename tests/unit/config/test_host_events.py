"""Event grants in a configuration: what is taken, and the sentence for what is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tlsrt.config.components import ComponentConfig
from tlsrt.config.host_events import HostEventsConfig, prefix, refusal_of_events
from tlsrt.config.needs import NeedsConfig
from tlsrt.errors import ConfigError
from tlsrt.sandbox.profile import requested

PRESSURE = {"kind": "pressure", "resource": "memory", "ms": 150, "why": "a test"}


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"kind": "uevents"}, ""),
        (PRESSURE, ""),
        (PRESSURE | {"stall": "full", "within_ms": 2000, "optional": True}, ""),
        ({"kind": "kernel_log", "prefixes": ["usb "]}, ""),
        ({"kind": "network", "interfaces": ["eth0", "wlan*"]}, ""),
        ({"kind": "network"}, "interfaces is missing"),
        ({"kind": "network", "interfaces": ["*"], "every_s": 3}, "every_s does not go with kind network"),
        ({"kind": "uevents", "level": "info"}, "level does not go with kind uevents"),
        ({"kind": "pressure", "ms": 5}, "resource is missing"),
        ({"kind": "kernel_log", "level": "info"}, "prefixes is missing"),
        (PRESSURE | {"prefixes": ["x"]}, "prefixes does not go with"),
        (PRESSURE | {"ms": 2001}, "ms must be at most within_ms, 2000, not 2001"),
        (PRESSURE | {"resource": "cpu", "stall": "full"}, "ask for some"),
    ],
)
def test_an_entry_as_a_whole(entry: dict[str, Any], words: str) -> None:
    sentence = refusal_of_events(entry)
    assert words in sentence and bool(words) == bool(sentence)


@pytest.mark.parametrize("text", ["  ", "a\n", "a\\x0a", "\x1b[", "é "])
def test_what_is_no_prefix(text: str) -> None:
    with pytest.raises(ValueError, match="printable"):
        prefix(text)


def test_what_this_kernel_has_not_is_one_sentence_or_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.path.exists", lambda path: False)
    events = HostEventsConfig("pressure", "a test", resource="memory", ms=150, where="tlsrt.yaml:7:9")
    component = ComponentConfig("third", "x", "x:X", needs=NeedsConfig(events=(events,)))
    with pytest.raises(ConfigError, match=r"tlsrt.yaml:7:9: third/x cannot hear pressure: .* /proc/pressure/memory"):
        requested._check_events(component)
    requested._check_events(replace(component, needs=NeedsConfig(events=(replace(events, optional=True),))))


def test_a_window_that_takes_a_capability_is_refused_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.path.exists", lambda path: True)
    short = HostEventsConfig("pressure", "a test", resource="memory", ms=150, within_ms=1000)
    for is_there in (False, True):
        monkeypatch.setattr(requested, "has_capability", lambda name, is_there=is_there: is_there)
        assert bool(requested.untold(short)) is not is_there and not requested.untold(replace(short, within_ms=4000))
