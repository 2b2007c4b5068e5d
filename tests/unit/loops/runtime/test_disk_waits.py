"""What a loop tells of its disk: a long wait with each beat, its end once, and nothing else."""

from __future__ import annotations

import errno
from types import SimpleNamespace
from typing import Any

import pytest

from tlsrt.loops.runtime.disk_waits import DiskWaits, is_of_disk


def test_a_long_wait_is_told_with_each_beat_and_its_end_once() -> None:
    waits = [0.0, 0.0]
    disks = [SimpleNamespace(waits_s=lambda number=number: waits[number]) for number in range(2)]
    components: list[Any] = [SimpleNamespace(_tlsrt_database=None, disk_threads=[disk]) for disk in disks]
    reports = DiskWaits(components)

    def tell() -> int | None:
        report = reports.next_report()
        assert reports.next_report() == report, "not told before it was sent"
        if report is not None:
            reports.told(report)
        return report

    assert tell() is None
    waits[0] = 0.9
    assert tell() is None, "no disk is always quick"
    waits[:] = [1.5, 2.25]
    assert [tell() for _ in range(2)] == [2250, 2250]
    waits[1] = 0.0
    assert tell() == 1500
    waits[0] = 0.0
    assert [tell() for _ in range(2)] == [0, None]
    assert DiskWaits(()).next_report() is None


@pytest.mark.parametrize(
    ("error", "is_so"),
    [(OSError(errno.EIO, ""), True), (OSError(errno.EROFS, ""), True), (OSError(errno.EPERM, ""), False),
     (ValueError(), False), (OSError(errno.ETIMEDOUT, ""), False), (OSError(errno.ENODEV, ""), False),
     (OSError(errno.ENXIO, ""), False)],
)  # fmt: skip
def test_an_error_of_the_disk_is_told_from_others(error: Exception, is_so: bool) -> None:
    assert is_of_disk(error) is is_so
