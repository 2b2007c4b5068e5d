"""What `rotate` prints."""

from __future__ import annotations

from tlsrt.supervisor.cli.rotate import lines


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
