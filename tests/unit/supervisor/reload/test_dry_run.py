"""The verdict of a dry run, and the differences that it lists."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Literal

import pytest

from tlsrt.config.init import initialise
from tlsrt.config.load import load_config
from tlsrt.config.measure import measure
from tlsrt.config.schema import Config
from tlsrt.supervisor.reload.dry_run import LINES_MAX, _differences, _verdict


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("dry") / "host"
    initialise(folder, host="127.0.0.1", port=7443, now=datetime.now(UTC))
    return load_config(folder / "tlsrt.yaml")


def verdict(present: Config, mode: Literal["strict", "warn"], /, **changed: bytes) -> dict[str, Any]:
    taken = replace(present, measure=mode)
    before = measure(present)
    renewal: Any = SimpleNamespace(config=taken, measure=lambda: {**before, **changed}, code=dict)
    return _verdict(taken, renewal, before)


OTHER = hashlib.sha256(b"other").digest()


def test_a_host_as_it_was_sealed(config: Config) -> None:
    assert verdict(config, "strict") == {"changed": [], "refused": [], "warnings": [], "door": []}


def test_under_strict_what_is_not_sealed_is_refused(config: Config) -> None:
    (sentence,) = verdict(config, "strict", config=OTHER)["refused"]
    assert sentence.startswith("not as it was sealed: changed config")
    found = verdict(config, "warn", config=OTHER)
    assert found["warnings"] == [sentence] and not found["refused"]


def test_code_of_tlsrt_is_taken_by_a_restart_of_the_host_only(config: Config) -> None:
    found = verdict(config, "strict", **{"tlsrt/errors.py": OTHER})
    assert any("taken by a restart only" in sentence for sentence in found["refused"])


def test_the_door_is_compared_by_what_is_measured_of_it(config: Config) -> None:
    assert verdict(config, "warn", **{"client-ca": OTHER})["door"] == ["client-ca"]


def test_differences_are_named_and_bounded(config: Config) -> None:
    found = _differences({"a": 1, "b": 1, "c": 1}, {"b": 2, "c": 1, "d": 1})
    assert found == {"added": ["d"], "removed": ["a"], "changed": ["b"]}
    many = _differences({}, {str(number): 1 for number in range(LINES_MAX + 5)})
    assert len(many["added"]) == LINES_MAX + 1 and many["added"][-1] == "and 5 more"
