"""The record of uids: given once, read back, and refused when it is damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.config.door import DoorConfig
from tlsrt.config.schema import Config, KeySource
from tlsrt.errors import ConfigError
from tlsrt.supervisor.process.uids import FILE, Uids, give_numbers, parse_numbers, read_numbers, remember

NAMES = st.lists(st.sampled_from([f"l{i}" for i in range(9)] + [f"l{i}.p{j}" for i in range(3) for j in range(5)]))


@given(st.lists(NAMES, max_size=6))
def test_a_number_is_given_once_and_for_ever(lives: list[list[str]]) -> None:
    known: dict[str, int] = {}
    for names in lives:
        after = give_numbers(known, names)
        assert known.items() <= after.items() and set(names) <= set(after)
        assert len(set(after.values())) == len(after)
        assert parse_numbers(json.dumps({"version": 1, "uids": after}).encode(), Path(FILE)) == after
        known = after


def test_when_all_numbers_are_given_it_says_what_to_do() -> None:
    known = {f"l{number}": number for number in range(1, 256)}
    with pytest.raises(ConfigError, match=r"there is no uid left for more: 255 processes have had one.*uids\.json"):
        give_numbers(known, ["more"])
    assert give_numbers(known, ["l1.part"])["l1.part"] == 256


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{", "null", "[" * 100_000, '{"version": 2, "uids": {}}', '{"version": 1}',
        '{"version": 1, "uids": {"a": 1, "b": 1}}', '{"version": 1, "uids": {"a": 256}}',
        '{"version": 1, "uids": {"a": true}}',
        '{"version": 1, "uids": {"a": 0}}', '{"version": 1, "uids": {"a.b": 4096}}',
    ],
)  # fmt: skip
def test_a_damaged_record_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / FILE
    path.write_text(text)
    with pytest.raises(ConfigError, match="is damaged; put it back from a backup"):
        read_numbers(path)


def test_it_is_written_only_where_uids_are_given(tmp_path: Path) -> None:
    door = DoorConfig("127.0.0.1", 0, tmp_path, tmp_path, tmp_path)
    key = KeySource("file", tmp_path)
    here = Config(tmp_path, bytes(16), key, tmp_path, "strict", tmp_path, tmp_path, tmp_path, door, (), (), (), ())
    remember(here, Uids(True, 1000, 771000))
    assert not (tmp_path / FILE).exists()
    remember(here, Uids(False, 0, 771000, {"primary": 1}))
    first = (tmp_path / FILE).stat()
    assert read_numbers(tmp_path / FILE) == {"primary": 1}
    remember(here, Uids(False, 0, 771000, {"primary": 1}))
    again = (tmp_path / FILE).stat()
    assert (again.st_ino, again.st_mtime_ns) == (first.st_ino, first.st_mtime_ns), "it is not written again"
