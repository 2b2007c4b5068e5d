"""Installing filters for real: threads, hosts that hide the layer, foreign code that forges the seal, the cost."""

from __future__ import annotations

import pytest
from probes.sandbox_runner import SandboxRunner


def test_an_older_thread_is_filtered_and_a_diverged_one_stops_the_seal(stage: SandboxRunner) -> None:
    found = stage.run("threads")
    assert found["older"] == {"thread": "EPERM", "main": "EPERM", "modes": [2, 2], "end": "exit 0"}
    assert "cannot be synchronised" in found["diverged"]["outcome"] and found["diverged"]["main"] == "allowed"
    assert found["privileged"]["outcome"] == "no_new_privs is not set"


def test_a_host_that_hides_a_layer_is_refused_by_name_or_reported_when_waived(stage: SandboxRunner) -> None:
    found = stage.run("hidden_layers")
    words = {
        "seccomp_absent": ("seccomp", "no seccomp filters"),
        "seccomp_refused": ("seccomp", "refuses the filter"),
        "landlock_absent": ("landlock", "no Landlock"),
        "landlock_off": ("landlock", "lsm="),
        "landlock_refused": ("landlock", "cannot restrict"),
    }
    assert set(found) >= set(words) | {f"{name}_waived" for name in words}
    for name, (layer, word) in words.items():
        assert found[name]["layer"] == layer and word in found[name]["reason"], found[name]
        accepted = found[f"{name}_waived"]
        assert [waived for waived, _ in accepted["waived"]] == [layer, f"{layer}_sealed"]
        assert all(word in reason for _, reason in accepted["waived"])
        assert not {layer, f"{layer}_sealed"} & set(accepted["layers"]) and "no_new_privs" in accepted["layers"]


def test_foreign_code_cannot_put_its_own_filter_in_the_place_of_the_seal(stage: SandboxRunner) -> None:
    """It would answer seccomp(2) with success and keep the number of filters right; the first filter kills it."""
    found = stage.run("forged_seal")
    assert found["end"] == "SIGSYS" and found["said"] == "" and found["differences"] != []


@pytest.mark.parametrize("layer", ["landlock", "seccomp"])
def test_sealing_is_fast(stage: SandboxRunner, layer: str) -> None:
    """Measured: about 0.8 ms each; the bound is for a loaded machine."""
    found = stage.run("costs")
    assert found["ends"] == ["exit 0"] * 9
    assert found["median_ms"][layer] < 10
