"""The secrets service without a host: versions, grace, leases, rights, bounds, keys that are replaced, damage."""

from __future__ import annotations

import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tlsrt import Transaction
from tlsrt.errors import ConfigError, Conflict, Denied, Failed, InvalidArgument, NotFound
from tlsrt.loops.secondary.secrets import Secrets
from tlsrt.testing import FakeEvents, running_sync

OLDER = Path(__file__).parents[3] / "vectors/older/secrets-2026-12-01.tar.xz"
ROOT = bytes(range(32))
NEEDS = {
    "state_mb": 8,
    "secrets": [{"name": "root", "why": "it seals"}],
    "alerts": [{"name": "rolled_back", "why": "an older copy is back"}],
}
VALUE = "correct horse battery staple"


class ClockedSecrets(Secrets):
    now_ms = 1_000_000

    def wall_ms(self) -> int:
        return type(self).now_ms


class FakeStore:
    """What the witness needs of the store."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    def get(self, key: str, namespace: str | None = None) -> Any:
        if key not in self.kept:
            raise NotFound("none")
        return self.kept[key]

    def put(self, key: str, value: Any, namespace: str | None = None) -> dict[str, int]:
        self.kept[key] = value
        return {"revision": 1}


@pytest.fixture(autouse=True)
def clock() -> None:
    ClockedSecrets.now_ms = 1_000_000


@contextmanager
def service(
    folder: Path, *, root: bytes = ROOT, store: FakeStore | None = None, events: FakeEvents | None = None,
    **options: Any,
) -> Iterator[Any]:  # fmt: skip
    options = {"witness": store is not None, **options}
    with running_sync(
        ClockedSecrets, options=options, state=folder, address="secondary/secrets", needs=NEEDS,
        secrets={"root": root}, peers={"secondary/store": store or FakeStore()},
        events=events or FakeEvents(),
    ) as it:  # fmt: skip
        yield it


def put(it: Any, name: str, value: str | bytes = VALUE, **more: Any) -> int:
    data = value.encode() if isinstance(value, str) else value
    more = {"kind": "text" if isinstance(value, str) else "bytes", **more}
    version: int = it.upload("put", data, name, **more)["version"]
    return version


def value(it: Any, name: str, **more: Any) -> Any:
    return it.call("get", name, **more)["value"]


def sql(folder: Path, *statements: str) -> list[Any]:
    """Change a closed database behind its back; return the rows of the last statement."""
    with closing(sqlite3.connect(folder / "data.sqlite", isolation_level=None)) as connection:
        return [connection.execute(statement).fetchall() for statement in statements][-1]


def test_what_was_put_is_read_as_it_came_and_lies_sealed(tmp_path: Path) -> None:
    with service(tmp_path) as it:
        first = put(it, "broker", VALUE + "\n")
        put(it, "key", b"\xff\x00\n")
        assert value(it, "broker") == VALUE
        assert value(it, "key") == b"\xff\x00\n"
        assert [each["name"] for each in it.call("names")] == ["broker", "key"]
        assert it.call("history", "broker")[0]["version"] == first
        assert VALUE not in str([it.call(each) for each in ("names", "leases", "namespaces", "metrics")])
    for path in tmp_path.iterdir():
        assert VALUE.encode() not in path.read_bytes(), path
    with service(tmp_path) as it:
        assert value(it, "broker") == VALUE


def test_a_change_happens_only_to_the_version_that_was_expected(tmp_path: Path) -> None:
    with service(tmp_path) as it:
        first = put(it, "broker", "one", if_version=0)
        with pytest.raises(Conflict, match=f"'broker' is at version {first}, not at 0"):
            put(it, "broker", "two", if_version=0)
        second = put(it, "broker", "two", if_version=first)
        assert second > first
        with pytest.raises(Conflict):
            it.call("delete", "broker", if_version=first)
        with pytest.raises(Conflict):
            it.call("rotate", "broker", password="*{24}", if_version=first)
        assert it.call("delete", "broker", if_version=second) == {"before": second}
        assert put(it, "broker", "three") > second, "no version is given twice"


def test_an_older_version_opens_until_its_grace_is_over_and_then_is_erased(tmp_path: Path) -> None:
    with service(tmp_path) as it:
        first = put(it, "broker", "one")
        second = put(it, "broker", "two", grace_s=10)
        got = it.call("get", "broker", version=first, lease_s=3600)
        assert (got["value"], got["present"], got["ends_in_s"]) == ("one", second, 10.0)
        assert [each["state"] for each in it.call("history", "broker")] == ["present", "grace"]
        ClockedSecrets.now_ms += 10_000
        with pytest.raises(NotFound, match=f"version {first} of 'broker' is over: read the present one, {second}"):
            value(it, "broker", version=first)
        it.run(it.component.look_for_ends())
        assert [each["state"] for each in it.call("history", "broker")] == ["present", "erased"]
        third = put(it, "broker", "three")
        with pytest.raises(NotFound):
            value(it, "broker", version=second)
        assert value(it, "broker") == "three"
        assert it.call("destroy", "broker", third) == {"version": third}
        with pytest.raises(NotFound, match="has no value any more, as it was destroyed"):
            value(it, "broker")
    assert sql(tmp_path, "SELECT count(*) FROM versions WHERE sealed IS NOT NULL") == [(0,)]


def test_made_values_are_of_their_kind_and_never_told(tmp_path: Path) -> None:
    with service(tmp_path) as it:
        assert set(it.call("rotate", "key", random_bytes=32)) == {"version", "before", "before_opens_until"}
        assert len(value(it, "key")) == 32
        it.call("rotate", "login", password="Aaaa-9999-*{16}")
        made = value(it, "login")
        assert len(made) == 26 and made[4] == made[9] == "-" and made[5:9].isdigit()
        for wrong in ({}, {"random_bytes": 32, "password": "*{24}"}):
            with pytest.raises(InvalidArgument, match="give either"):
                it.call("rotate", "key", **wrong)
        with pytest.raises(InvalidArgument, match="gives 13 bits to guess, at least 64"):
            it.call("rotate", "key", password="9999")


def test_a_reader_whose_lease_ends_is_told_why(tmp_path: Path) -> None:
    with service(tmp_path) as it:
        first = put(it, "broker", "one")
        told = it.stream("held")
        assert next(told) == {"why": "listening"}
        lease = it.call("get", "broker", lease_s=60)["lease"]
        assert it.call("get", "broker", lease_s=90)["lease"] == lease, "one lease of a version"
        assert [each["lease"] for each in it.call("leases")] == [lease]
        put(it, "broker", "two", grace_s=5)
        found = next(told)
        assert (found["why"], found["version"], found["ends_at"]) == ("rotated", first, 1005.0)
        ClockedSecrets.now_ms += 5000
        it.run(it.component.look_for_ends())
        assert next(told)["why"] == "ended"
        with pytest.raises(NotFound, match="there is no such lease, or it has ended: read the secret again"):
            it.call("renew", lease)
        second = it.call("get", "broker", lease_s=60)["lease"]
        assert it.call("renew", second, 600)["ends_in_s"] == 600.0
        it.call("revoke", second)
        assert next(told)["why"] == "revoked"
        it.call("get", "broker")
        put(it, "broker", "three")
        assert next(told)["why"] == "replaced"
        it.call("get", "broker")
        it.call("delete", "broker")
        assert next(told)["why"] == "deleted"
        assert len(it.call("readers", "broker")) == 5, "who has read stays when it is deleted"


def test_leases_outlive_a_restart_and_end_by_the_clock(tmp_path: Path) -> None:
    with service(tmp_path) as it:
        put(it, "broker")
        lease = it.call("get", "broker", lease_s=60)["lease"]
    with service(tmp_path) as it:
        assert [each["lease"] for each in it.call("leases")] == [lease]
        told = it.stream("held")
        next(told)
        ClockedSecrets.now_ms += 60_000
        it.run(it.component.look_for_ends())
        assert next(told)["why"] == "ended"
        assert it.call("leases") == []


def test_each_caller_has_a_namespace_of_its_own_and_others_only_by_name(tmp_path: Path) -> None:
    named = {
        "shared": {"read": ["external/*"], "write": ["client/admin"]},
        "external/login": {"read": ["client/admin"]},
    }
    with service(tmp_path, namespaces=named) as it:
        put(it, "broker", "own", caller="external/login")
        put(it, "broker", "of all", caller="client/admin", namespace="shared")
        assert value(it, "broker", caller="external/login") == "own"
        assert value(it, "broker", caller="external/login", namespace="shared") == "of all"
        assert value(it, "broker", caller="client/admin", namespace="external/login") == "own"
        with pytest.raises(NotFound):
            value(it, "broker", caller="external/other")
        sentence = "external/other may not read in namespace 'external/login': the operator may name it there under"
        with pytest.raises(Denied, match=sentence):
            value(it, "broker", caller="external/other", namespace="external/login")
        refused: list[tuple[str, str, tuple[Any, ...]]] = [
            ("external/other", "shared", ("delete", "broker")),
            ("client/admin", "shared", ("get", "broker")),
            ("client/admin", "external/login", ("readers", "broker")),
            ("external/login", "shared", ("rotate_key",)),
            ("external/other", "nowhere", ("names",)),
            ("external/other", "external/login", ("leases",)),
        ]
        for caller, namespace, call in refused:
            with pytest.raises(Denied):
                it.call(*call, namespace=namespace, caller=caller)
        readers = it.call("readers", "broker", namespace="shared", caller="client/admin")
        assert [each["reader"] for each in readers] == ["external/login"]
        assert [each["namespace"] for each in it.call("namespaces", caller="external/other")] == ["shared"]
        lease = it.call("get", "broker", caller="external/login", namespace="shared")["lease"]
        with pytest.raises(NotFound):
            it.call("revoke", lease, caller="external/other")
        assert it.call("revoke", lease, caller="client/admin")["reader"] == "external/login"


def test_every_bound_is_one_sentence(tmp_path: Path) -> None:
    named = {"small": {"read": ["client/*"], "write": ["client/*"], "max_keys": 2, "max_bytes": 100}}
    with service(tmp_path, namespaces=named, max_bytes=65536) as it:
        for name in ("a", "b"):
            put(it, name, "x" * 50, namespace="small", caller="client/a")
        wrong = [
            ("c", "x", "namespace 'small' holds 2 names and may hold 2: delete some, or raise max_keys"),
            ("a", "x" * 51, "namespace 'small' holds 100 bytes and may hold 100, so 1 more do not fit"),
        ]
        for name, data, sentence in wrong:
            with pytest.raises(Failed, match=sentence):
                put(it, name, data, namespace="small", caller="client/a")
        put(it, "a", "y" * 50, namespace="small", caller="client/a")  # what it replaces makes room
        with pytest.raises(Failed, match="100 bytes and may hold 100"):
            put(it, "a", "z", namespace="small", caller="client/a", grace_s=60)  # but not while it still opens
        put(it, "large", "x" * 65000)
        with pytest.raises(Failed, match="all secrets hold 65100 bytes and may hold 65536"):
            put(it, "more", "x" * 1000)
        for sent, sentence in ((b"", "the value is empty"), (b"x" * 65537, "more than 65536 bytes")):
            with pytest.raises(InvalidArgument, match=sentence):
                it.upload("put", sent, "a")
        with pytest.raises(InvalidArgument, match="no UTF-8 text: give kind=bytes"):
            it.upload("put", b"\xff", "a")
        with pytest.raises(InvalidArgument, match="expected a length of 1 to 256"):
            put(it, "n" * 257)
        with pytest.raises(InvalidArgument, match="printable"):
            put(it, "a\nb")
        for _ in range(25):
            put(it, "b", "x", namespace="small", caller="client/a")
        assert len(it.call("history", "b", namespace="small", caller="client/a")) == 20
        assert it.call("namespaces", caller="client/a")[0]["bytes"] == 51


def test_a_replaced_key_seals_everything_anew_also_when_it_is_replaced_in_the_middle(tmp_path: Path) -> None:
    with service(tmp_path) as it:
        for number in range(100):
            put(it, f"n{number}", f"value {number}")
        assert it.call("rotate_key") == {"key": 2, "to_reseal": 100}
        assert it.call("rotate_key")["key"] == 3
        put(it, "late", "value late")
        while it.call("namespaces")[0]["to_reseal"]:
            continue
        while sql_rows(it, "SELECT count(*) FROM data_keys") != [(1,)]:
            continue
        assert [value(it, f"n{number}") for number in range(100)] == [f"value {number}" for number in range(100)]
    with service(tmp_path) as it:
        assert value(it, "late") == "value late"
        assert it.run(it.component.healthy()) is None


def sql_rows(it: Any, query: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in it.run(it.component.db.read(query))]


def test_what_is_damaged_is_told_by_its_name_and_all_else_is_served(tmp_path: Path) -> None:
    with service(tmp_path) as it:
        for name in ("a", "b", "c", "d", "e"):
            put(it, name, f"value {name}")
        put(it, "a", "value of another", caller="client/other")
    rows = sql(tmp_path, "SELECT name, sealed FROM versions ORDER BY version")
    flipped = bytearray(rows[0][1])
    flipped[20] ^= 1
    sql(
        tmp_path,
        f"UPDATE versions SET sealed = X'{flipped.hex()}' WHERE version = 1",
        "UPDATE versions SET sealed = (SELECT sealed FROM versions WHERE version = 6) WHERE version = 2",  # swapped
        "DELETE FROM entries WHERE name = 'd'",
        "UPDATE entries SET changed = changed - 1 WHERE name = 'e'",
    )
    with service(tmp_path) as it:
        told = str(it.run(it.component.healthy()))
        assert "(the value of its version 1 is damaged)" in told
        assert "entries are missing, or older than they were: restore this component, or call `accept`" in told
        for name in ("a", "b", "d", "e"):
            with pytest.raises(Failed, match=f"the secret '{name}' is not served, since .* on the disk; put it anew"):
                value(it, name)
        assert value(it, "c") == "value c"
        assert value(it, "a", caller="client/other") == "value of another"
        for name in ("a", "b", "d"):
            put(it, name, "new")
            assert value(it, name) == "new"
        it.call("delete", "e")
        it.call("accept")
        assert it.run(it.component.healthy()) is None
    with service(tmp_path) as it:
        assert it.run(it.component.healthy()) is None


def test_rows_of_an_older_copy_are_found_by_their_name(tmp_path: Path) -> None:
    with service(tmp_path) as it:
        put(it, "broker", "one")
        put(it, "gone", "one")
    older = {table: sql(tmp_path, f"SELECT * FROM {table}") for table in ("entries", "versions")}
    with service(tmp_path) as it:
        put(it, "broker", "two")
        it.call("delete", "gone")
    connection = sqlite3.connect(tmp_path / "data.sqlite", isolation_level=None)
    for table, rows in older.items():
        connection.execute(f"DELETE FROM {table}")
        marks = ", ".join("?" * len(rows[0]))
        connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
    connection.close()
    with service(tmp_path) as it:
        told = str(it.run(it.component.healthy()))
        assert "'broker' of client/test (it is older than it was)" in told
        assert "'gone' of client/test (it was deleted, and is there again)" in told
        for name in ("broker", "gone"):
            with pytest.raises(Failed, match="is not served"):
                value(it, name)


def test_an_older_copy_of_the_whole_is_noticed_by_the_witness(tmp_path: Path) -> None:
    store, folder, copy = FakeStore(), tmp_path / "state", tmp_path / "copy"
    folder.mkdir()
    copy.mkdir()
    with service(folder, store=store) as it:
        put(it, "broker", "one")
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    with service(folder, store=store) as it:
        it.run(it.component.look_at_witness())
        put(it, "broker", "two")
        it.run(it.component.look_at_witness())
    assert store.kept["revision"]["revision"] == 2
    events = FakeEvents()
    with service(copy, store=store, events=events) as it:
        it.run(it.component.look_at_witness())
        assert events.alerts == ["rolled_back"]
        sentence = "the secrets are those of change 1, and there were 2: an older copy was put back"
        assert sentence in str(it.run(it.component.healthy()))
        assert it.call("accept") == {"revision": 2}
        it.run(it.component.look_at_witness())
        assert it.run(it.component.healthy()) is None
        assert put(it, "broker", "three") == 3, "no number is given twice"
    with service(copy, root=ROOT, store=store) as it:
        store.kept["revision"] = {"revision": 99, "seal": bytes(16)}
        it.run(it.component.look_at_witness())
        assert "is not of this root" in str(it.run(it.component.healthy()))


def test_another_root_is_one_sentence_with_the_remedy(tmp_path: Path) -> None:
    with service(tmp_path) as it:
        put(it, "broker")
    with (
        pytest.raises(ConfigError, match=r"sealed under another root .* put back secrets/secondary.secrets"),
        service(tmp_path, root=bytes(32)),
    ):
        pass
    with (
        pytest.raises(
            ConfigError, match="has 3 bytes and must have 32 random ones: make it by `tlsrt-supervisor secret"
        ),
        service(tmp_path, root=b"abc"),
    ):
        pass
    with service(tmp_path) as it:
        assert value(it, "broker") == VALUE


def test_changes_are_watched_by_name_and_version_and_a_hole_is_told(tmp_path: Path) -> None:
    with service(tmp_path) as it:
        first = put(it, "broker", "one")
        told = it.stream("watch", since=0)
        assert next(told) == {"operation": "put", "name": "broker", "version": first, "revision": first}
        put(it, "broker", "of another", caller="client/other")
        it.call("rotate", "broker", password="*{24}", grace_s=1)
        assert next(told)["operation"] == "rotate"
        ClockedSecrets.now_ms += 1000
        it.run(it.component.look_for_ends())
        found = next(told)
        assert (found["operation"], found["version"]) == ("close", first)
        with pytest.raises(InvalidArgument, match="since: 99 is not yet there"):
            next(it.stream("watch", since=99))


def test_nothing_that_is_shown_by_accident_holds_a_value(tmp_path: Path) -> None:
    with service(tmp_path) as it:
        put(it, "broker")
        tables = it.component._tables
        shown = [repr(each) for each in (tables, tables.keys, tables.log, it.component, it.component._work)]
        with pytest.raises(Conflict) as caught:
            put(it, "broker", VALUE, if_version=77)
        assert VALUE not in str([shown, caught.value])


def test_who_may_read_no_more_renews_no_lease(tmp_path: Path) -> None:
    with service(tmp_path, namespaces={"mqtt": {"read": ["client/a"], "write": ["client/b"]}}) as it:
        put(it, "broker", namespace="mqtt", caller="client/b")
        lease = it.call("get", "broker", namespace="mqtt", caller="client/a")["lease"]
        assert it.call("renew", lease, 60, caller="client/a")["ends_in_s"] == 60.0
        with pytest.raises(NotFound):
            it.call("renew", lease, caller="client/b")
    with service(tmp_path, namespaces={"mqtt": {"write": ["client/b"]}}) as it, pytest.raises(NotFound):
        it.call("renew", lease, caller="client/a")


def test_a_file_that_was_cut_refuses_everything_in_one_sentence_and_comes_back_whole(tmp_path: Path) -> None:
    with service(tmp_path) as it:
        for number in range(50):
            put(it, f"n{number}", "x" * 2000)
    path = tmp_path / "data.sqlite"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2 // 4096 * 4096])
    with service(tmp_path) as it:
        for call in (("get", "n1"), ("names",), ("namespaces",), ("rotate_key",)):
            with pytest.raises(Failed, match=r"restore data[.]sqlite from a backup, then restart this loop"):
                it.call(*call)
        with pytest.raises(Failed):
            put(it, "n1")
        assert "its database is damaged" in str(it.run(it.component.healthy()))
    path.write_bytes(whole)
    with service(tmp_path) as it:
        assert value(it, "n49") == "x" * 2000
        assert it.run(it.component.healthy()) is None


def test_an_older_page_of_the_database_is_found(tmp_path: Path) -> None:
    """Each page that an older copy has otherwise is put back alone: no former value is served as the present one."""
    with service(tmp_path) as it:
        put(it, "a", "first")
        put(it, "b", "first")
    older = (tmp_path / "data.sqlite").read_bytes()
    with service(tmp_path) as it:
        put(it, "a", "second")
    path = tmp_path / "data.sqlite"
    newer = path.read_bytes()
    pages = [at for at in range(0, min(len(older), len(newer)), 4096) if older[at : at + 4096] != newer[at : at + 4096]]
    assert len(pages) > 3
    told = 0
    for at in pages:
        path.write_bytes(newer[:at] + older[at : at + 4096] + newer[at + 4096 :])
        with service(tmp_path) as it:
            told += it.run(it.component.healthy()) is not None
            try:
                assert value(it, "a") == "second", at
            except (Failed, NotFound):
                continue
    assert told >= 2


def older(folder: Path) -> Path:
    """Return a state of 61 changes as an earlier version has written it; see tests/vectors/older."""
    with tarfile.open(OLDER) as archive:
        for name in ("data.sqlite", "data.mark"):
            member = archive.extractfile(name)
            assert member is not None
            (folder / name).write_bytes(member.read())
    return folder


def test_a_database_of_the_format_before_comes_along_whole(tmp_path: Path) -> None:
    assert len(sql(older(tmp_path), "SELECT entries FROM whole")[0][0]) == 16
    for _ in range(2):
        with service(tmp_path) as it:
            assert it.component.healthy and it.run(it.component.healthy()) is None
            assert value(it, "name03") == "newer 3" and value(it, "name02") == "value 2"
            put(it, "more")
    assert len(sql(tmp_path, "SELECT entries FROM whole")[0][0]) == 32
    assert sql(tmp_path, "SELECT count(*) FROM entries WHERE bucket IS NULL") == [(0,)]
    sql(tmp_path, "DELETE FROM entries WHERE name = 'name05'", "DELETE FROM changes WHERE name = 'name05'")
    with service(tmp_path) as it:
        assert "entries are missing, or older" in (it.run(it.component.healthy()) or "")


def test_what_was_missing_in_the_format_before_is_told_until_it_is_accepted(tmp_path: Path) -> None:
    where = "WHERE name = 'name05'"
    sql(older(tmp_path), f"DELETE FROM entries {where}", f"DELETE FROM changes {where}")
    for _ in range(2):
        with service(tmp_path) as it:
            assert "entries are missing, or older" in (it.run(it.component.healthy()) or "")
            put(it, "more")
    with service(tmp_path) as it:
        it.call("accept")
        assert it.run(it.component.healthy()) is None
    with service(tmp_path) as it:
        assert it.run(it.component.healthy()) is None


def test_a_change_does_not_take_for_its_own_what_was_exchanged_meanwhile(tmp_path: Path) -> None:
    """In the same bucket, and while the service runs: it has 4096, so one of 300 names meets another."""
    with service(tmp_path) as it:
        for number in range(300):
            put(it, f"n{number}")
        tree = it.component._tables.log._tree
        known: dict[int, str] = {}
        for number in range(300):
            first = known.setdefault(tree.bucket(("client/test", f"n{number}")), f"n{number}")
            if first != f"n{number}":
                break

        def behind(transaction: Transaction, statement: str, *values: object) -> list[Any]:
            return [tuple(row) for row in transaction.read(statement, *values)]

        def have(statement: str, *values: object) -> list[Any]:
            found: list[Any] = it.run(it.component.db.transaction(behind, statement, *values))
            return found

        [old] = have("SELECT version, changed, seal FROM entries WHERE name = ?", first)
        put(it, first)
        have("UPDATE entries SET version = ?, changed = ?, seal = ? WHERE name = ?", *old, first)
        have("DELETE FROM changes WHERE name = ?", first)
        put(it, f"n{number}")
        assert "entries are missing, or older" in (it.run(it.component.healthy()) or "")
        put(it, f"n{number}")
    with service(tmp_path) as it:
        assert "entries are missing, or older" in (it.run(it.component.healthy()) or "")


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM tree", "UPDATE tree SET seal = zeroblob(32)", "DELETE FROM tree WHERE node < 64",
        "INSERT OR REPLACE INTO tree VALUES (5, zeroblob(32))",
    ],
)  # fmt: skip
def test_a_damaged_node_is_made_anew_as_it_follows_from_the_entries(tmp_path: Path, damage: str) -> None:
    with service(tmp_path) as it:
        for number in range(20):
            put(it, f"n{number}")
    sql(tmp_path, damage)
    with service(tmp_path) as it:
        assert it.run(it.component.healthy()) is None
        put(it, "n3")
    with service(tmp_path) as it:
        assert it.run(it.component.healthy()) is None


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE entries SET bucket = (bucket + 1) % 4096 WHERE name = 'n1'",
        "UPDATE entries SET bucket = NULL WHERE name = 'n1'",
        "UPDATE whole SET entries = zeroblob(32)",
        "UPDATE whole SET revision = revision - 1",
    ],
)
def test_what_the_top_does_not_have_is_told(tmp_path: Path, change: str) -> None:
    with service(tmp_path) as it:
        for number in range(5):
            put(it, f"n{number}")
    sql(tmp_path, change)
    with service(tmp_path) as it:
        assert "entries are missing, or older" in (it.run(it.component.healthy()) or "")
        it.call("accept")
        put(it, "n1")
    with service(tmp_path) as it:
        assert it.run(it.component.healthy()) is None
