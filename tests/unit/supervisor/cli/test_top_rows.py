"""Rows of the screen of `top`: what they say, how they are sorted and filtered, and that they steer nothing."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tlsrt.supervisor.cli.top_rows import COLUMNS, NAME_LEAST, ORDERS, arranged, columns_for, fitted, rows_of


def loop(name: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name, "state": "active", "pid": 7, "uptime_s": 1.0, "restarts": 0, "health": "good", "memory_kib": 10,
        "beat_age_s": 0.3, "frames": {"in": 0, "out": 0, "refused": 0}, "components": [], "programs": [],
        "usage": None, **more,
    }  # fmt: skip


def component(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "health": "good", "fails": 0, "ready": None, "task_restarts": 2, "checked_s": 1.5, **more}


def status(*loops: dict[str, Any]) -> dict[str, Any]:
    authority = {key: value for key, value in loop("authority").items() if key not in ("name", "frames")}
    return {"supervisor": {"pid": 1, "stopping": False}, "authority": authority, "loops": [*loops]}


def test_a_loop_has_its_components_and_programs_below_it() -> None:
    program = {
        "name": "third/kettle/say", "is_down": False, "begun": 5, "ends": {}, "last": "",
        "running": [{"pid": 70, "memory_kib": 1024}, {"pid": 71, "memory_kib": 1024}],
    }  # fmt: skip
    usage = {"cpu_percent": 12.34, "frames_in_s": 99.6}
    third = loop("third", usage=usage, components=[component("kettle", ready=False)], programs=[program])
    *_, row = rows_of(status(third))
    assert row.cells == ("third", "active", "7", "10.0 KiB", "12.3", "0", "0.3 s", "100")
    kettle, say = row.below
    assert kettle.cells == ("  kettle", "not ready", "", "", "", "2", "1.5 s", "") and not kettle.is_fine
    assert say.cells == ("  third/kettle/say x2", "active", "70", "2.0 MiB", "", "3", "", "")
    assert kettle.loop == say.loop == "third"


def test_a_suspect_process_is_not_shown_as_active() -> None:
    *_, row = rows_of(status(loop("third", health="suspect")))
    assert row.cells[1] == "suspect" and not row.is_fine


def test_sorting_puts_the_largest_first_and_leaves_components_with_their_loop() -> None:
    rows = rows_of(status(loop("a", memory_kib=1, components=[component("x")]), loop("b", memory_kib=900)))
    assert [row.cells[0] for row in arranged(rows, "memory", "")][:2] == ["b", "authority"]
    names = [row.cells[0] for row in arranged(rows, "memory", "")]
    assert names.index("  x") == names.index("a") + 1


def test_a_filter_keeps_what_matches_by_name_or_state_and_its_loop() -> None:
    rows = rows_of(
        status(loop("third", components=[component("kettle"), component("pot")]), loop("b", state="waiting"))
    )
    assert [row.cells[0] for row in arranged(rows, "name", "KETT")] == ["third", "  kettle"]
    assert [row.cells[0] for row in arranged(rows, "name", "wait")] == ["b"]
    assert [row.cells[0] for row in arranged(rows, "name", "thi")] == ["third", "  kettle", "  pot"]


@given(st.text(max_size=300), st.text(max_size=40), st.sampled_from(ORDERS))
def test_no_word_steers_a_terminal_or_makes_a_line(name: str, state: str, order: str) -> None:
    rows = rows_of(status(loop(name, state=state, components=[component(name, health=state)])))
    for row in arranged(rows, order, ""):
        assert len(row.cells) == len(COLUMNS)
        assert all(cell.isprintable() and cell.isascii() for cell in row.cells)


def test_columns_leave_room_for_a_name_in_80() -> None:
    assert 80 - 2 - sum(width for _, width in COLUMNS) >= 24
    assert fitted("abcdef", 4) == "abc~" and fitted("abcdef", 0) == "" and fitted("abcd", 4) == "abcd"


@given(st.integers(1, 300))
def test_columns_fit_every_width_and_the_name_is_never_left_out_for_another(width: int) -> None:
    columns = columns_for(width)
    assert [title for _, title, _ in columns][:2] == ["NAME", "STATE"]
    assert [at for at, _, _ in columns] == sorted(at for at, _, _ in columns)
    if width >= NAME_LEAST + 10:
        assert sum(each for _, _, each in columns) == width and columns[0][2] >= NAME_LEAST
    assert len(columns_for(78)) == len(COLUMNS) and len(columns_for(118)) == len(COLUMNS) + 1
