"""The tables of the search: replacing, quotas, models that change, and ids of others that a worker may name."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tlsrt import Failed, NotFound, Transaction
from tlsrt.loops.secondary import search_tables as tables
from tlsrt.loops.secondary.namespaces import Quota
from tlsrt.loops.secondary.passages import Passage
from tlsrt.loops.secondary.search_tables import KINDS, Source

ANY = Quota(None, None)


@pytest.fixture
def transaction() -> Iterator[Transaction]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for step in tables.STEPS:
        connection.executescript(step)
    connection.execute("PRAGMA foreign_keys = ON")
    yield Transaction(connection)
    connection.close()


def source(space: str, name: str, *texts: str, model: str = "m1", kind: str = "note") -> Source:
    parts = [Passage(10 * at, text) for at, text in enumerate(texts)]
    vectors = b"".join(struct.pack("<2e", len(text), at) for at, text in enumerate(texts))
    return Source(space, name, KINDS.index(kind), 1000, model, parts, vectors, "client/anna")


def ids(transaction: Transaction, space: str, model: str = "m1") -> list[int]:
    found = tables.index(transaction, space, model)
    return [*struct.unpack(f"<{len(found.ids) // 8}q", found.ids)]


def test_a_source_takes_the_place_of_the_one_of_its_name_with_all_its_passages(transaction: Transaction) -> None:
    assert not tables.add(transaction, source("a", "n", "one", "two"), ANY, 100)
    assert tables.add(transaction, source("a", "n", "three", kind="file"), ANY, 100)
    (number,) = ids(transaction, "a")
    assert tables.found(transaction, "a", [number]) == {
        number: {"source": "n", "kind": "file", "at_ms": 1000, "author": "client/anna", "start": 0, "text": "three"}
    }
    index = tables.index(transaction, "a", "m1")
    assert (index.kinds, index.vectors, index.outdated) == (bytes([1]), struct.pack("<2e", 5, 0), 0)
    assert tables.remove(transaction, "a", "n") == 1 and not ids(transaction, "a")
    assert transaction.read("SELECT count(*) FROM passages")[0][0] == 0
    with pytest.raises(NotFound, match="no source 'n'; `sources` lists them"):
        tables.remove(transaction, "a", "n")


def test_an_id_of_another_namespace_shows_nothing(transaction: Transaction) -> None:
    tables.add(transaction, source("a", "mine", "one"), ANY, 100)
    tables.add(transaction, source("b", "theirs", "two"), ANY, 100)
    (theirs,) = ids(transaction, "b")
    assert tables.found(transaction, "a", [theirs, 10**9]) == {}
    with pytest.raises(NotFound):
        tables.remove(transaction, "a", "theirs")


def test_what_has_no_room_is_refused_in_one_sentence(transaction: Transaction) -> None:
    tables.add(transaction, source("a", "n", "one", "two"), ANY, 3)
    with pytest.raises(Failed, match="the index holds 2 passages and may hold 3"):
        tables.add(transaction, source("b", "m", "three", "four"), ANY, 3)
    assert tables.add(transaction, source("a", "n", "x", "y", "z"), ANY, 3), "those that it replaces make room"
    with pytest.raises(Failed, match="holds 1 names and may hold 1"):
        tables.add(transaction, source("a", "other", "one"), Quota(None, 1), 100)
    with pytest.raises(Failed, match="bytes and may hold 20"):
        tables.add(transaction, source("a", "n", "a long text, much longer than that"), Quota(20, None), 100)


def test_one_caller_leaves_room_for_the_others(transaction: Transaction) -> None:
    def add(caller: str, name: str) -> bool:
        return tables.add(transaction, replace(source(caller, name, "one", "two"), author=caller), ANY, 20)

    for number in range(5):
        add("client/eve", f"n{number}")
    with pytest.raises(Failed, match="10 passages of yours are there, and one caller may hold as many as are left"):
        add("client/eve", "n5")
    assert add("client/eve", "n0"), "in place of what is there"
    add("client/anna", "n")
    add("client/bob", "n")
    for number in range(3):
        tables.add(transaction, replace(source("house", f"n{number}", "x", "y"), author="client/eve"), ANY, 20)
    with pytest.raises(Failed, match="the index holds 20 passages"):
        tables.add(transaction, source("house", "more", "x"), ANY, 20)


def test_vectors_of_another_model_are_left_out_and_made_anew(transaction: Transaction) -> None:
    tables.add(transaction, source("a", "old", "one", "two", model="m0"), ANY, 100)
    tables.add(transaction, source("a", "new", "three"), ANY, 100)
    assert tables.index(transaction, "a", "m1").outdated == 2 and len(ids(transaction, "a")) == 1
    found = tables.outdated(transaction, "m1")
    assert found is not None and found[1:] == ("a", ["one", "two"])
    tables.renew(transaction, found[0], "m1", struct.pack("<4e", 1, 2, 3, 4))
    assert tables.outdated(transaction, "m1") is None
    assert struct.pack("<4e", 1, 2, 3, 4) in tables.index(transaction, "a", "m1").vectors
    tables.renew(transaction, 10**6, "m2", b"1234")  # removed meanwhile: nothing happens


def test_more_rows_than_one_read_may_have_are_all_in_the_index(transaction: Transaction) -> None:
    for number in range(3):
        tables.add(transaction, source("a", f"n{number}", *["x"] * 2500), ANY, 10_000)
    assert len(set(ids(transaction, "a"))) == 7500


def test_sources_are_listed_page_by_page(transaction: Transaction) -> None:
    for name in "abc":
        tables.add(transaction, source("s", name, "x"), ANY, 10)
    assert [one["name"] for one in tables.sources(transaction, "s", "a", 1)] == ["b"]
    assert tables.sources(transaction, "other", "", 10) == []


def test_a_part_counts_for_its_owner_and_is_listed_for_it_alone(transaction: Transaction) -> None:
    def add(space: str, name: str) -> bool:
        one = replace(source(space, name, "one", "two"), author=tables.owner_of(space), mark="m7")
        return tables.add(transaction, one, ANY, 20)

    for number in range(5):
        add(f"third/files:t{number % 2}", f"n{number}")
    with pytest.raises(Failed, match="10 passages of yours are there"):
        add("third/files:t3", "more")
    with pytest.raises(Failed, match="10 passages of yours are there"):
        add("third/files", "more")
    add("third/filesystem:x", "n")
    assert tables.parts(transaction, "third/files") == ["t0", "t1"]
    assert tables.parts(transaction, "third") == []
    assert {one["mark"] for one in tables.sources(transaction, "third/files:t0", "", 10)} == {"m7"}
