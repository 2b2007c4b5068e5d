"""What a waiver voids is known for every layer, and what would give the layer is said to whom it concerns."""

from __future__ import annotations

import pytest

from tlsrt.sandbox.profile.profile import WAIVABLE
from tlsrt.sandbox.report.waivers import VOIDS, remedy


def test_every_layer_says_what_its_waiver_voids() -> None:
    assert set(VOIDS) == set(WAIVABLE)
    assert all((len(words) < 240 and words[0].islower()) or words[0].isdigit() for words in VOIDS.values())


@pytest.mark.parametrize(
    ("layer", "lost"),
    [
        ("mount_namespace", ("path-named UNIX sockets", "file modes allow")),
        ("net_namespace", ("abstract UNIX sockets", "UDP")),
        ("seccomp_reports", ("not reported", "egress rules do not hold", "over UDP", "a listed TCP port", "64 ports")),
    ],
)
def test_a_waiver_names_the_ways_out_that_it_opens(layer: str, lost: tuple[str, ...]) -> None:
    assert all(words in VOIDS[layer] for words in lost)


@pytest.mark.parametrize("layer", WAIVABLE)
def test_advice_is_for_whoever_starts(layer: str) -> None:
    as_root, as_user = remedy(layer, is_root=True), remedy(layer, is_root=False)
    if layer.endswith("_namespace"):
        assert "CAP_SYS_ADMIN" in as_root and "user namespaces" in as_user
    else:
        assert "user.max_user_namespaces" not in as_root
