"""The configuration service without a host: types, whole documents, revisions, rollback, rights, bounds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tlsrt.errors import ConfigError, Conflict, Denied, InvalidArgument, NotFound
from tlsrt.loops.secondary.config import Config
from tlsrt.loops.secondary.config_schema import Document, Field, difference, problems
from tlsrt.testing import FakeEvents, running_sync

FIELDS = {
    "mqtt.host": {"type": "str", "pattern": "[a-z0-9.-]+", "default": "localhost"},
    "mqtt.port": {"type": "int", "low": 1, "high": 65535, "default": 1883},
    "level": {"type": "str", "choices": ["low", "high"]},
    "rate": {"type": "float", "low": 0},
    "on": {"type": "bool", "default": False},
    "tags": {"type": "list[str]", "high": 2},
}
OPERATOR, READER, STRANGER = "client/operator", "external/login", "third/nosy"


def document(fields: dict[str, Any] = FIELDS, **more: Any) -> dict[str, Any]:
    return {"fields": fields, "read": [OPERATOR, READER], "write": [OPERATOR], **more}


@contextmanager
def service(folder: Path, events: FakeEvents | None = None, **documents: Any) -> Iterator[Any]:
    with running_sync(
        Config, options={"documents": documents or {"house": document()}}, state=folder, address="secondary/config",
        needs={"state_mb": 8}, events=events or FakeEvents(),
    ) as it:  # fmt: skip
        yield it


def put(it: Any, values: dict[str, Any], **more: Any) -> Any:
    return it.call("put", "house", values, caller=OPERATOR, **more)


def values(it: Any, **more: Any) -> Any:
    return it.call("get", "house", caller=READER, **more)["values"]


def test_defaults_then_changes_with_author_comment_and_revisions(tmp_path: Path) -> None:
    with service(tmp_path) as it:
        assert values(it) == {
            "mqtt.host": "localhost", "mqtt.port": 1883, "level": None, "rate": None, "on": False, "tags": None,
        }  # fmt: skip
        told = put(it, {"mqtt.host": "broker.lan", "rate": 2}, comment="moved")
        assert told["changed"] == [
            {"key": "mqtt.host", "before": "localhost", "after": "broker.lan"},
            {"key": "rate", "before": None, "after": 2},
        ]
        assert put(it, {"rate": 2})["revision"] == told["revision"] == 1, "the same again is no revision"
        assert put(it, {}, unset=["mqtt.host"])["revision"] == 2
        assert it.call("value", "house", "mqtt.host", caller=READER) == "localhost"
        assert values(it, revision=1)["mqtt.host"] == "broker.lan"
        latest, first = it.call("history", "house", caller=READER)
        assert (first["author"], first["comment"], latest["revision"]) == (OPERATOR, "moved", 2)
        assert it.call("diff", "house", 0, 1, caller=READER) == [
            {"key": "mqtt.host", "before": None, "after": "broker.lan"}, {"key": "rate", "before": None, "after": 2},
        ]  # fmt: skip
    with service(tmp_path) as it:
        assert values(it)["rate"] == 2, "over a restart"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"mqtt.port": 0}, "mqtt.port: expected at least 1, got 0"),
        ({"mqtt.port": 65536}, "expected at most 65535"),
        ({"mqtt.port": True}, "expected int, got bool"),
        ({"mqtt.port": 1.5}, "expected int, got float"),
        ({"rate": float("nan")}, "finite"),
        ({"level": "middle"}, "expected one of 'low', 'high', got 'middle'"),
        ({"mqtt.host": "a b"}, "matches"),
        ({"mqtt.host": "a\n"}, "matches"),
        ({"on": 1}, "expected bool, got int"),
        ({"tags": ["a", 1]}, r"tags: \[1\]: expected str, got int"),
        ({"tags": ["a", "b", "c"]}, "expected at most 2 items"),
        ({"mqtt": "x"}, "there is no such key"),
        ({"mqtt.port": 0, "on": 1}, "mqtt.port: .*; on: "),
    ],
)
def test_what_does_not_fit_changes_nothing_and_says_why(tmp_path: Path, wrong: dict[str, Any], words: str) -> None:
    with service(tmp_path) as it:
        with pytest.raises(InvalidArgument, match=words):
            put(it, {"rate": 1.0, **wrong} if "rate" not in wrong else wrong)
        assert it.call("history", "house", caller=READER) == []


def test_compare_and_set_and_dry_run(tmp_path: Path) -> None:
    with service(tmp_path) as it:
        assert put(it, {"on": True}, dry_run=True) == {
            "revision": 1, "before": 0, "changed": [{"key": "on", "before": False, "after": True}], "dry_run": True,
        }  # fmt: skip
        assert values(it)["on"] is False
        with pytest.raises(InvalidArgument):
            put(it, {"on": 1}, dry_run=True)
        put(it, {"on": True}, if_revision=0)
        with pytest.raises(Conflict, match="has revision 1 and not 0: read it again"):
            put(it, {"on": False}, if_revision=0)


def test_rollback_is_a_new_revision_and_must_fit_the_schema_of_now(tmp_path: Path) -> None:
    with service(tmp_path) as it:
        put(it, {"mqtt.port": 7000})
        put(it, {"mqtt.port": 8000})
        told = it.call("rollback", "house", 1, caller=OPERATOR, comment="back")
        assert (told["revision"], values(it)["mqtt.port"]) == (3, 7000)
        assert it.call("history", "house", caller=READER)[0]["operation"] == "rollback to 1"
        with pytest.raises(NotFound, match="revision 9 of house is not kept"):
            it.call("rollback", "house", 9, caller=OPERATOR)
        it.call("rollback", "house", 0, caller=OPERATOR)
        assert values(it)["mqtt.port"] == 1883
    narrow = {**FIELDS, "mqtt.port": {"type": "int", "low": 1, "high": 7500, "default": 1883}}
    with (
        service(tmp_path, house=document(narrow)) as it,
        pytest.raises(InvalidArgument, match=r"nothing was changed: mqtt.port: expected at most 7500"),
    ):
        it.call("rollback", "house", 2, caller=OPERATOR)


def test_a_schema_that_changed_ignores_what_no_longer_fits_and_says_so(tmp_path: Path) -> None:
    with service(tmp_path) as it:
        put(it, {"mqtt.port": 8000, "on": True})
    changed = {"mqtt.port": {"type": "int", "high": 7500, "default": 1883}}
    with service(tmp_path, house=document(changed)) as it:
        told = it.call("get", "house", caller=READER)
        assert told["values"] == {"mqtt.port": 1883}
        assert told["ignored"] == {
            "on": "there is no such key any more", "mqtt.port": "expected at most 7500, got 8000",
        }  # fmt: skip
        assert "is ignored" in it.run(it.component.healthy())
        put(it, {"mqtt.port": 7000})
        assert it.call("get", "house", caller=READER)["ignored"] == {}
        assert it.run(it.component.healthy()) is None


def test_rights_are_by_document_and_the_same_whether_it_exists(tmp_path: Path) -> None:
    with service(tmp_path) as it:
        for method, words in (("get", ()), ("history", ()), ("schema", ()), ("diff", (0,)), ("value", ("on",))):
            for name in ("house", "other"):
                with pytest.raises(Denied, match=f"may not read in namespace '{name}'"):
                    it.call(method, name, *words, caller=STRANGER)
        for method, word in (("put", {"on": True}), ("rollback", 0)):
            with pytest.raises(Denied):
                it.call(method, "house", word, caller=READER)
        with pytest.raises(InvalidArgument, match="has no document third/nosy"):
            it.call("get", STRANGER, caller=STRANGER)
        assert it.call("documents", caller=STRANGER) == []
        assert it.call("documents", caller=READER) == [{"document": "house", "rights": ["read"], "revision": 0}]


def test_who_watches_gets_the_present_and_then_the_latest(tmp_path: Path) -> None:
    with service(tmp_path) as it:
        watch = it.stream("watch", "house", caller=READER)
        assert next(watch)["revision"] == 0
        put(it, {"mqtt.port": 7000})
        assert next(watch)["values"]["mqtt.port"] == 7000
        watch.close()
        put(it, {"mqtt.port": 7001})
        watch = it.stream("watch", "house", since=1, caller=READER)
        assert next(watch)["revision"] == 2
        watch.close()


def test_what_is_kept_is_bounded(tmp_path: Path) -> None:
    with service(tmp_path, house=document(kept=3)) as it:
        for number in range(6):
            put(it, {"mqtt.port": 7000 + number})
        assert [one["revision"] for one in it.call("history", "house", caller=READER)] == [6, 5, 4]
    fields = {f"k{number}": Field(type="str") for number in range(20)}
    said = problems(Document(fields=fields), dict.fromkeys(fields, "x" * 4000))
    assert "make it several" in said[0]


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ({"type": "int", "low": 2, "high": 1}, "low 2 is above high 1"),
        ({"type": "int", "default": "x"}, "the default: expected int"),
        ({"type": "int", "pattern": "a"}, "a pattern is for str"),
        ({"type": "str", "pattern": "("}, "the pattern cannot be read"),
        ({"type": "str", "choices": [1]}, "choices: expected str"),
        ({"type": "int", "required": True, "default": 1}, "what is required has no default"),
        ({"type": "date"}, "date"),
    ],
)
def test_a_wrong_schema_is_a_sentence(tmp_path: Path, field: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught, service(tmp_path, house=document({"a": field})):
        pass
    assert words in str(caught.value)


def test_1_and_1_0_and_true_are_three_values() -> None:
    assert difference({"a": 1}, {"a": True}) == [{"key": "a", "before": 1, "after": True}]
    assert difference({"a": 1}, {"a": 1}) == []


def test_what_is_required_must_be_set_with_the_rest(tmp_path: Path) -> None:
    fields = {"a": {"type": "str", "required": True}, "b": {"type": "int"}}
    with service(tmp_path, house=document(fields)) as it:
        with pytest.raises(InvalidArgument, match="a: is required"):
            put(it, {"b": 1})
        put(it, {"a": "x", "b": 1})
        with pytest.raises(InvalidArgument, match="a: is required"):
            put(it, {}, unset=["a"])
        with pytest.raises(InvalidArgument, match="is in values and in unset"):
            put(it, {"b": 2}, unset=["b"])
        with pytest.raises(InvalidArgument, match="no such key"):
            put(it, {}, unset=["zz"])


def test_no_value_holds_the_service_up_by_its_pattern(tmp_path: Path) -> None:
    """`re` would try 2 ** 4000 ways of `(a+)+` before it says no."""
    fields = {"name": {"type": "str", "pattern": "(a+)+"}, "names": {"type": "list[str]", "pattern": "(.*a)*.*b"}}
    with service(tmp_path, house=document(fields)) as it:
        began = time.process_time()
        with pytest.raises(InvalidArgument, match=r"expected a text that matches \(a\+\)\+"):
            put(it, {"name": "a" * 4000 + "!"})
        with pytest.raises(InvalidArgument, match=r"names: \[0\]: expected a text that matches"):
            put(it, {"names": ["a" * 4000] * 15})
        put(it, {"name": "a" * 4000})
        assert time.process_time() - began < 5


def test_a_pattern_whose_time_has_no_bound_is_refused_with_its_key(tmp_path: Path) -> None:
    fields = {"name": {"type": "str", "pattern": r"(a+)\1"}}
    with pytest.raises(ConfigError, match="a reference to a group"), service(tmp_path, house=document(fields)):
        pass


def test_who_may_write_and_not_read_learns_no_value(tmp_path: Path) -> None:
    fields = {"pin": {"type": "str", "pattern": "[0-9]+"}, "name": {"type": "str"}}
    secret = {"fields": fields, "read": [READER], "write": [OPERATOR]}
    with service(tmp_path, house=secret) as it:
        put(it, {"pin": "4711"})
        assert put(it, {"pin": "1234", "name": "x"})["changed"] == [
            {"key": "name", "before": None, "after": "x"}, {"key": "pin", "before": None, "after": "1234"},
        ]  # fmt: skip
        told = it.call("rollback", "house", 1, caller=OPERATOR)
        assert told["changed"] == [{"key": key, "before": None, "after": None} for key in ("name", "pin")]
        assert values(it)["pin"] == "4711"
        with pytest.raises(InvalidArgument, match=r"pin: expected a text .* got 'abc'"):
            put(it, {"pin": "abc"})
    fields["pin"] = {"type": "str", "pattern": "[a-z]+"}
    with service(tmp_path, house=secret) as it, pytest.raises(InvalidArgument) as refused:
        put(it, {"name": "y"})
    assert "pin does not fit" in str(refused.value) and "4711" not in str(refused.value)


def test_a_change_is_told_though_its_caller_does_not_wait_any_more(tmp_path: Path) -> None:
    with service(tmp_path) as it:
        watch = it.stream("watch", "house", caller=READER)
        assert next(watch)["revision"] == 0
        component = it.component

        async def leave() -> None:
            known = component._documents["house"]
            component._rights.open = lambda *args: None
            work = component._change("house", known, "put", lambda now, t: {"level": "low"}, {}, None, "", False)
            task = asyncio.create_task(work)
            while not component._changing:
                await asyncio.sleep(0)
            task.cancel()

        with patched_caller(component):
            it.run(leave())
        assert next(watch)["values"]["level"] == "low"


@contextmanager
def patched_caller(component: Any) -> Iterator[None]:
    kind = type(component)
    before = kind.caller
    kind.caller = OPERATOR
    try:
        yield
    finally:
        kind.caller = before
