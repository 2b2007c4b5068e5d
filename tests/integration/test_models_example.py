"""examples/models on a running host: numpy, as it comes, in a sealed worker; a job that is given up ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hosts.running_host import RunningHost, running
from tools.extras import need_extra

from tlsrt import DeadlineExceeded

PACKAGE = Path(__file__).parents[2] / "examples" / "models" / "tlsrt_ai"
AI = "secondary/ai"


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    need_extra("ai", "numpy")
    manifest = yaml.safe_load((PACKAGE / "ai.tlsrt.yaml").read_text())
    component = {"class": manifest["class"], "programs": manifest["programs"]}
    yield from running(
        request, components={AI: component}, policy={f"client/admin -> {AI}": "*"}, packages=[PACKAGE]
    )  # fmt: skip


def test_its_jobs_are_done_and_nothing_of_the_library_is_patched(host: RunningHost) -> None:
    client = host.client()
    assert client.call(AI, "heavy_numpy", 0.2, 200) > 0
    assert client.call(AI, "big", 64) == 64 << 20
    assert [one["done"] for one in client.stream(AI, "count", 3, 1)] == [1, 2, 3]
    assert host.loop("secondary.ai")["violations"] == 0
    (entry,) = host.loop("secondary.ai")["programs"]
    assert (entry["begun"], entry["ends"]) == (1, {})


def test_a_job_that_is_given_up_is_ended_and_the_next_one_is_done(host: RunningHost) -> None:
    client = host.client()
    with pytest.raises(DeadlineExceeded):
        client.call(AI, "heavy_numpy", 50.0, timeout_s=0.5)
    host.until(lambda document: not host.loop("secondary.ai")["programs"][0]["running"], "the end of the worker")
    assert client.call(AI, "heavy_numpy", 0.1, 200) > 0
    assert "worker models: ended, as its call was given up" in host.log("secondary.ai")
    assert host.client().call(AI, "metrics")["counters"]["worker.models.cancelled"] >= 1
