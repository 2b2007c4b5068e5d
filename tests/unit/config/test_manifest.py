"""Manifests: what a package says of its component."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlsrt.config.manifest import manifest_of_entry, parse_manifest, path_in
from tlsrt.errors import ConfigError

PATH = Path("kettle/tlsrt.yaml")
GOOD = """\
manifest: 1
component: third/kettle
class: "kettle:Kettle"
title: boils water
process: shared
needs: {memory_mb: 8}
calls:
  primary/kernel: {methods: [uname], why: it shows the release}
"""


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_manifest(text.encode(), PATH)
    return list(caught.value.problems)


def test_a_manifest_is_a_component_of_a_configuration_with_an_address_a_title_and_its_calls() -> None:
    made = parse_manifest(GOOD.encode(), PATH)
    assert (made.address, made.title) == ("third/kettle", "boils water")
    assert made.calls == {"primary/kernel": ("uname",)}
    assert made.reasons == {"primary/kernel": "it shows the release"}
    assert made.tree == {"class": "kettle:Kettle", "process": "shared", "needs": {"memory_mb": 8}}
    assert made.places["needs", "memory_mb"] == "kettle/tlsrt.yaml:6:9"


def test_every_mistake_is_a_sentence_with_its_place() -> None:
    wrong = GOOD.replace("memory_mb: 8", "memori_mb: 8").replace("methods", "method").replace("manifest: 1", "")
    assert problems(wrong) == [
        "kettle/tlsrt.yaml:2:1: manifest is missing: The version of this format.",
        "kettle/tlsrt.yaml:6:9: unknown key 'memori_mb' in needs, did you mean memory_mb?",
        'kettle/tlsrt.yaml:8:19: calls.primary/kernel.methods is missing: The methods, or "*" for all.',
        "kettle/tlsrt.yaml:8:20: unknown key 'method' in primary/kernel, did you mean methods?",
    ]


def test_options_are_the_operators() -> None:
    assert problems(GOOD + "options: {watts: 3}\n") == [
        "kettle/tlsrt.yaml:9:1: unknown key 'options', did you mean topics?"
    ]


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"- 1", b"manifest: 1"])
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ConfigError):
        parse_manifest(data, PATH)


def test_an_entry_point_names_a_package_or_one_of_its_manifests() -> None:
    assert manifest_of_entry("kettle") == ("kettle", "tlsrt.yaml")
    assert manifest_of_entry("home:kettle") == ("home", "kettle.tlsrt.yaml")
    assert manifest_of_entry("home.kitchen:kettle") == ("home.kitchen", "kettle.tlsrt.yaml")
    assert path_in(*manifest_of_entry("home.kitchen:kettle")) == Path("home/kitchen/kettle.tlsrt.yaml")


@pytest.mark.parametrize(
    "value", ["", "../kettle", "kettle..sub", ".kettle", "kettle.", "kettle:../etc/passwd", "kettle:a:b", "kettle [x]"]
)
def test_an_entry_point_that_names_another_place_is_refused(value: str) -> None:
    with pytest.raises(ConfigError, match="names no manifest"):
        manifest_of_entry(value)
