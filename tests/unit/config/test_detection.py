"""`detection` in a configuration: what it means, and a sentence for every name that is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlsrt.config.detection import ALLOWED, DETECTORS, DetectionConfig, Mode, detector_of
from tlsrt.config.load import parse_config
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError

FILE = """\
version: 1
install: "00112233445566778899aabbccddeeff"
master_key: {provider: file, path: master.key}
boot_token: boot.token
door: {certificate: server.crt, key: server.key, client_ca: ca.crt}
"""


def load(detection: str) -> Config:
    return parse_config(f"{FILE}detection: {detection}\n".encode(), Path("/t.yaml"))


def test_without_a_word_every_detector_acts_and_only_local_addresses_are_allowed() -> None:
    detection = parse_config(FILE.encode(), Path("/t.yaml")).detection
    assert detection == DetectionConfig() and detection.allow == ALLOWED
    only_told = {name for name, one in DETECTORS.items() if detection.mode_of(one) is not Mode.ACT}
    assert only_told == {"health", "recipient", "over_budget", "alert_warning", "alert_critical"}


def test_modes_and_the_allow_list_are_read() -> None:
    detection = load(
        "{mode: observe, detectors: {replay: {mode: ignore}}, "
        "allow: [10.0.0.0/8, third, primary/kernel, '2001:db8::1']}"
    ).detection
    assert detection.mode is Mode.OBSERVE
    assert detection.mode_of(DETECTORS["replay"]) is Mode.IGNORE
    assert detection.allow == ("10.0.0.0/8", "third", "primary/kernel", "2001:db8::1")
    assert load("{allow: []}").detection.allow == ()


@pytest.mark.parametrize(
    ("detection", "sentence"),
    [
        ("{detectors: {repaly: {mode: act}}}", "detection: there is no detector repaly, did you mean replay?"),
        ("{detectors: {replay: {}}}", "mode is missing"),
        ("{allow: [10.0.0.1/8]}", "detection: 10.0.0.1/8 is no address, network, loop, component or client"),
        ("{allow: [thrid]}", "detection: thrid is no address, network, loop, component or client, did you mean third?"),
        ("{mode: on}", "mode must be"),
    ],
)
def test_what_cannot_be_meant_is_said(detection: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(detection)
    assert any(sentence in problem for problem in caught.value.problems), caught.value.problems


def test_every_detector_says_what_it_finds_and_triggers_weigh_more_than_what_may_be_chance() -> None:
    for name, one in DETECTORS.items():
        assert one.name == name and one.about and 0 <= one.points <= 100
        assert not one.is_trigger or one.points > 50
    assert detector_of("another").points == 0
