"""What `rotate` prints."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

from tlsrt.errors import EX_CONFIG, EX_TEMPFAIL
from tlsrt.supervisor.cli.rotate import _report, lines


def test_an_epoch() -> None:
    answer = {"epoch": 7, "took_ms": 312.4, "committed_ms": 9, "late": [], "key_version": 1, "previous_verifies_s": 0.0}
    assert lines(answer) == ["epoch 7: in every loop after 0.31 s, committed after 9 ms"]


def test_another_master_key_and_who_was_late() -> None:
    answer = {
        "epoch": 7, "took_ms": 2400.0, "committed_ms": 2000, "late": ["forth", "third"], "key_version": 3,
        "previous_verifies_s": 299.6,
    }  # fmt: skip
    assert lines(answer)[1:] == [
        "late, so refused and restarted: forth, third",
        "master_key version 3; tokens of version 2 verify for 300 s more",
    ]


@pytest.mark.parametrize(("answer", "code"), [({"passes": True}, EX_TEMPFAIL), ({}, EX_CONFIG)])
def test_what_passes_by_itself_is_no_mistake_of_the_configuration(answer: dict[str, Any], code: int) -> None:
    assert (
        _report(argparse.Namespace(json=False), {"refused": ["the authority is not serving now"], **answer}, []) == code
    )
