"""The bill of materials: what its format asks for, and what the wheel and the tested environment are."""

from __future__ import annotations

import json
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from hosts.installation import CHECKOUT, run, scratch, wheel


def write(name: str) -> Path:
    place = scratch() / name
    run(sys.executable, CHECKOUT / "distribution/sbom.py", wheel(), place)
    return place


@cache
def bill() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(write("sbom.json").read_text())
    return document


def test_it_is_a_cyclonedx_document() -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill())) is None
    broken = {**bill(), "components": [{"name": "without a type"}]}
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(broken)) is not None


def test_it_names_the_wheel_and_the_versions_that_were_tested() -> None:
    subject = bill()["metadata"]["component"]
    assert subject["name"] == "tlsrt" and subject["licenses"] == [{"expression": "Apache-2.0"}]
    versions = {one["name"]: one["version"] for one in bill()["components"]}
    assert versions.keys() >= {"cryptography", "PyYAML", "pyzmq", "msgpack", "psutil", "h11", "cffi"}
    assert versions == {name: metadata.version(name) for name in versions}
    assert {one["name"] for one in bill()["components"] if one["scope"] == "optional"} == {"h11"}


def test_everything_is_reached_from_the_wheel_and_nothing_twice() -> None:
    edges = {one["ref"]: one["dependsOn"] for one in bill()["dependencies"]}
    reached, waiting = set[str](), [bill()["metadata"]["component"]["bom-ref"]]
    while waiting:
        one = waiting.pop()
        reached.add(one)
        waiting += [each for each in edges[one] if each not in reached]
    refs = [one["bom-ref"] for one in bill()["components"]]
    assert sorted(reached) == sorted([*refs, bill()["metadata"]["component"]["bom-ref"]])
    assert len(set(refs)) == len(refs)


def test_the_same_wheel_gives_the_same_bytes() -> None:
    assert write("again.json").read_bytes() == write("sbom.json").read_bytes()
