"""A running host says that the door's certificate ends, has ended, or has not begun."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from tlsrt.channels.clock import Moment
from tlsrt.supervisor.authority.door.certificate_clock import LOOK_MS, CertificateClock
from tlsrt.supervisor.authority.door.files import DoorFiles

BEGINS, ENDS = datetime(2030, 1, 1, tzinfo=UTC), datetime(2030, 12, 31, tzinfo=UTC)


def ms(year: int, month: int, day: int) -> int:
    return int(datetime(year, month, day, tzinfo=UTC).timestamp() * 1000)


def test_each_change_is_told_once_and_a_new_certificate_ends_it() -> None:
    told: list[Any] = []
    files = DoorFiles(0, 0, 0, 0, (), None, BEGINS, ENDS)
    door: Any = SimpleNamespace(files=files)
    clock = CertificateClock(door, SimpleNamespace(tell=lambda name, *said: told.append((name, *said))))
    for at, wall in enumerate((ms(2029, 6, 1), ms(2030, 6, 1), ms(2030, 12, 25), ms(2030, 12, 25), ms(2031, 4, 1))):
        clock.tick(Moment(at * LOOK_MS, wall))
        clock.tick(Moment(at * LOOK_MS + 1, ms(2035, 1, 1)))  # once a minute
    door.files = DoorFiles(0, 0, 0, 0, (), None, BEGINS, datetime(2032, 1, 1, tzinfo=UTC))
    assert clock.next_due() == 5 * LOOK_MS
    clock.tick(Moment(5 * LOOK_MS, ms(2031, 4, 1)))
    assert [name for name, *_ in told] == ["certificate_time"] * 5
    first, then, soon, over, renewed = (said for _, said, _ in told)
    assert "has not begun" in first[0] and "clock" in first[0] and then == renewed == []
    assert [ends for _, _, ends in told] == [int(ENDS.timestamp())] * 4 + [ms(2032, 1, 1) // 1000]
    assert "certificate ends on" in soon[0] and "certificate ended on" in over[0]
