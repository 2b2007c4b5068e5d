"""The measurer: the same bytes as measuring here, and every failure is a sentence."""

from __future__ import annotations

import os

import msgpack
import pytest

from tlsrt.errors import ConfigError
from tlsrt.supervisor.process.measurement import Measurement


def test_the_result_crosses_the_pipe_whole() -> None:
    entries = {f"file {number}": os.urandom(32) for number in range(5_000)}
    assert msgpack.unpackb(Measurement(lambda: entries).result()) == entries


def test_what_cannot_be_measured_is_said() -> None:
    def fail() -> dict[str, bytes]:
        raise ConfigError(["package x is not installed", "y neither"])

    with pytest.raises(ConfigError) as caught:
        Measurement(fail).result()
    assert caught.value.problems == ("package x is not installed", "y neither")


def test_a_measurer_that_dies_is_no_measurement() -> None:
    with pytest.raises(ConfigError, match="could not be measured"):
        Measurement(lambda: os._exit(0)).result()
