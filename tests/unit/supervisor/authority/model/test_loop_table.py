"""Loops that come, change and go while the authority serves."""

from __future__ import annotations

import pytest

from tlsrt.errors import PeerError
from tlsrt.supervisor.authority.model.loop_table import LoopTable

IO, NOTES, STORE = "third/io", "third/notes", "secondary/store"


@pytest.fixture
def table() -> LoopTable:
    table = LoopTable([("third", (IO,)), ("third.notes", (NOTES,)), ("secondary", (STORE,))])
    for number, entry in enumerate(table, 1):
        table.begin(entry, number)
    return table


def test_one_that_is_removed_is_known_until_its_process_is_gone(table: LoopTable) -> None:
    table.change({"third": (IO,), "secondary": (STORE,)})
    notes = table["third.notes"]
    assert table.has(NOTES) and notes.is_removed
    table.end(notes, is_gone=False)  # its channel broke: the process may live and do wrong
    assert table.find("third.notes") is notes
    table.end(notes, is_gone=True)
    assert table.find("third.notes") is None and not table.has(NOTES) and NOTES not in table.components
    with pytest.raises(PeerError):
        table["third.notes"]


def test_one_that_is_added_has_its_components_at_once(table: LoopTable) -> None:
    placed = {entry.loop: entry.components for entry in table}
    table.change({**placed, "forth.more": ("forth/more",)})
    assert table.of("forth/more").loop == "forth.more" and "forth.more" in table.names
    assert table.mailbox("forth/more") == 0, "it has no keys yet"


def test_a_component_moves_when_both_processes_have_made_room(table: LoopTable) -> None:
    table.change({"third": (IO, NOTES), "secondary": (STORE,)})
    assert table.of(NOTES).loop == "third.notes"
    table.end(table["third.notes"], is_gone=True)
    assert not table.has(NOTES) and table["third"].components == (IO,)
    table.begin(table["third"], 9)
    third = table.of(NOTES)
    assert (third.loop, third.components) == ("third", (IO, NOTES))


def test_one_that_comes_back_before_it_was_gone_is_not_removed(table: LoopTable) -> None:
    placed = {entry.loop: entry.components for entry in table}
    table.change({"third": (IO,), "secondary": (STORE,)})
    table.change(placed)
    table.end(table["third.notes"], is_gone=True)
    assert table.of(NOTES).loop == "third.notes" and not table["third.notes"].is_removed
