"""Attacked sentence: a model of a worker that is exchanged while the host runs is not loaded."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hosts.running_host import RunningHost, running

from tlsrt import Unavailable

WORKING = Path(__file__).parent.parent / "hosts" / "worker_package" / "working"
OPEN, WHY = "third/open", "a test calls it"


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHost]:
    weights = tmp_path_factory.mktemp("weights") / "weights_of_a_model"
    weights.mkdir()
    (weights / "__init__.py").touch()
    (weights / "model.bin").write_bytes(b"weights")
    program = {"worker": "working.model", "why": WHY, "imports": ["weights_of_a_model", "a_model_that_is_not_there"]}
    programs = {"model": program, "broken": {"worker": "working.broken", "why": WHY}}
    yield from running(
        request, components={OPEN: {"class": "working.component:Open", "programs": programs}},
        policy={f"client/admin -> {OPEN}": "*"}, packages=[WORKING, weights],
    )  # fmt: skip


def size(host: RunningHost) -> Any:
    return host.client().call(OPEN, "one", "size", [b"abc"])


def end_worker(host: RunningHost) -> None:
    def running_ones() -> list[Any]:
        return [one for entry in host.loop("third.open")["programs"] for one in entry["running"]]

    for one in running_ones():
        os.kill(one["pid"], signal.SIGKILL)
    host.until(lambda status: not running_ones(), "the end of the worker")


def test_a_model_that_was_swapped_is_refused_until_it_is_what_was_measured(host: RunningHost) -> None:
    assert size(host) == 3
    assert host._code is not None
    model = host._code / "weights_of_a_model" / "model.bin"
    end_worker(host)
    evil = model.with_name("evil.bin")
    evil.write_bytes(b"poisons")
    kept = model.with_name("kept.bin")
    os.link(model, kept)
    evil.rename(model)
    with pytest.raises(Unavailable, match="changed"):
        size(host)
    assert size_after_a_seal(host, model) == 3


def size_after_a_seal(host: RunningHost, model: Path) -> Any:
    """The operator looks at it, seals and reloads: then it is what was measured."""
    from hosts.reloading_host import reload, seal_host

    model.with_name("kept.bin").unlink()
    seal_host(host)
    reload(host)
    return size(host)
