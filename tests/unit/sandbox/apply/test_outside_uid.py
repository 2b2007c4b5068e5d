"""The uid of the outside, as the map of a user namespace says it."""

from __future__ import annotations

import pytest

from tlsrt.sandbox.apply.outside_uid import outside_uid


@pytest.mark.parametrize(
    ("uid_map", "uid", "outside"),
    [
        ("         0       1000          1\n", 0, 1000),
        ("0 0 4294967295\n", 0, 0),
        ("0 1000 1\n1 100000 65536\n", 5, 100004),
        ("1 100000 65536\n", 0, 0),
        ("", 7, 7),
    ],
)
def test_a_uid_is_what_its_range_says(uid_map: str, uid: int, outside: int) -> None:
    assert outside_uid(uid_map, uid) == outside
