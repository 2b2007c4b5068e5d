"""The speech of examples/models on a running host: faster-whisper as it comes, on a model of random weights."""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fakes.whisper_model import write_whisper_model
from hosts.running_host import RunningHost, running

PACKAGE = Path(__file__).parents[2] / "examples" / "models" / "tlsrt_ai"
SPEECH = "secondary/speech"
SECOND = b"".join(int(9000 * math.sin(step / 4)).to_bytes(2, "little", signed=True) for step in range(16_000))


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHost]:
    if importlib.util.find_spec("faster_whisper") is None and os.environ.get("CI") != "true":
        pytest.skip("left out: needs faster-whisper (pip install 'tlsrt[speech]')")
    manifest = yaml.safe_load((PACKAGE / "speech.tlsrt.yaml").read_text())
    model = tmp_path_factory.mktemp("model")
    for folder in (model, *model.parents[:2]):
        folder.chmod(0o755)
    write_whisper_model(model)
    (whisper,) = manifest["programs"].values()
    programs = {"whisper": whisper | {"read": [str(model)], "environment": {"WHISPER_MODEL": str(model)}}}
    component = {"class": manifest["class"], "programs": programs}
    yield from running(
        request, components={SPEECH: component}, policy={f"client/admin -> {SPEECH}": "*"}, packages=[PACKAGE]
    )  # fmt: skip


def worker(host: RunningHost) -> dict[str, Any]:
    (entry,) = host.loop("secondary.speech")["programs"]
    return dict(entry)


def test_faster_whisper_as_it_comes_transcribes_in_a_worker(host: RunningHost) -> None:
    client = host.client()
    for seconds in (1, 3):
        said = client.upload(SPEECH, "transcribe", iter([SECOND] * seconds), timeout_s=120)
        assert said["audio_s"] == seconds and isinstance(said["text"], str)
        print(f"{seconds} s of sound took {said['took_s']} s")
    assert host.loop("secondary.speech")["violations"] == 0
    entry = worker(host)
    assert (entry["begun"], entry["ends"]) == (1, {})
    print(entry)
