"""Namespaces: rights and quotas, and the store that has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fakes.store_bench import StoreBench

from tlsrt.errors import ConfigError, Conflict, Denied, Failed, InvalidArgument, NotFound
from tlsrt.loops.secondary.namespaces import Namespace, Namespaces, Quota, is_namespace

NAMED = {
    "weather": {"read": ["third/*", "client/a"], "write": ["third/sensor"], "max_keys": 2, "max_bytes": 100},
    "client/b": {"read": ["client/a"]},
}


def test_a_right_is_that_of_the_pattern_and_no_more() -> None:
    spaces = Namespaces(
        "secondary/store", {"w": Namespace(read=("third/*", "*/admin"), write=("*/*",))}, Quota(None, None)
    )
    found = {
        caller: [right for right in ("read", "write") if spaces.allows(caller, "w", right)]
        for caller in ("third/a", "thirds/a", "client/admin", "client/administrator", "")
    }
    assert found == {
        "third/a": ["read", "write"], "thirds/a": ["write"], "client/admin": ["read", "write"],
        "client/administrator": ["write"], "": [],
    }  # fmt: skip


@pytest.mark.parametrize("name", ["", "a/b/c", "/", "a/", "A", "*", "client/*", "a" * 65, "a b", "é", "../x"])
def test_what_is_no_name_of_a_namespace(name: str) -> None:
    assert not is_namespace(name)
    with pytest.raises(InvalidArgument):
        Namespaces("secondary/store", {}, Quota(None, None)).open("client/a", name, "read")


def test_a_wrong_option_is_one_sentence(tmp_path: Path) -> None:
    wrong = [
        ({"x": {"read": ["third"]}}, "'third' is no caller: write client/NAME or LOOP/NAME, with * for a whole side"),
        ({"X": {}}, "namespaces: 'X' is no name: write a-z, 0-9, _ and -, or the address of a caller"),
    ]
    for named, sentence in wrong:
        with pytest.raises(ConfigError) as caught:
            StoreBench(tmp_path, namespaces=named)
        assert sentence in str(caught.value)


@pytest.mark.parametrize("default", ["shared", "per_subject"])
def test_a_namespace_of_the_store_is_open_to_whom_it_names(tmp_path: Path, default: str) -> None:
    bench = StoreBench(tmp_path, namespace=default, namespaces=NAMED)
    bench("put", "wind", 3, subject="third/sensor", namespace="weather")
    bench("put", "wind", "mine", subject="client/b", namespace="client/b")
    assert bench("get", "wind", subject="client/a", namespace="weather") == 3
    assert bench("get", "wind", subject="client/a", namespace="client/b") == "mine"
    assert bench("keys", subject="client/b", namespace="client/b") == ["wind"]
    with pytest.raises(NotFound):
        bench("get", "wind", subject="client/a")
    if default == "per_subject":
        assert bench("get", "wind", subject="client/b") == "mine", "the same as without a name"
    denied: list[tuple[str, str, tuple[Any, ...]]] = [
        ("client/a", "weather", ("put", "wind", 1)), ("client/a", "weather", ("delete", "wind")),
        ("client/b", "weather", ("get", "wind")), ("client/b", "weather", ("keys",)),
        ("client/b", "weather", ("entry", "wind")), ("client/b", "weather", ("history", "wind")),
        ("client/b", "weather", ("version", "wind", 1)), ("client/a", "client/b", ("put", "wind", 1)),
        ("client/a", "nowhere", ("keys",)), ("client/c", "client/b", ("get", "wind")),
    ]  # fmt: skip
    for subject, namespace, call in denied:
        with pytest.raises(Denied, match=f"{subject} may not (read|write) in namespace '{namespace}'"):
            bench(*call, subject=subject, namespace=namespace)
    bench.stop()


def test_a_quota_counts_keys_and_bytes_over_changes_and_restarts(tmp_path: Path) -> None:
    def sensor(*call: object, **more: object) -> object:
        return bench(*call, subject="third/sensor", namespace="weather", **more)  # type: ignore[arg-type]

    bench = StoreBench(tmp_path, namespaces=NAMED)
    sensor("put", "a", "x" * 40)
    sensor("put", "b", "x" * 40)
    with pytest.raises(
        Failed, match="namespace 'weather' holds 2 names and may hold 2: delete some, or raise max_keys"
    ):
        sensor("put", "c", 1)
    with pytest.raises(Failed, match="namespace 'weather' holds 84 bytes and may hold 100, so 21 more do not fit"):
        sensor("put", "a", "x" * 61)
    sensor("put", "a", "x" * 50)
    bench.stop()
    bench = StoreBench(tmp_path, namespaces=NAMED)
    with pytest.raises(Failed, match="holds 94 bytes"):
        sensor("put", "b", "x" * 60)
    sensor("delete", "a")
    sensor("put", "c", "x" * 50)
    with pytest.raises(Conflict):
        sensor("put", "b", "x", if_revision=1)
    bench("put", "shared", "x" * 1000)
    bench.stop()


def test_a_bound_of_each_namespace_leaves_the_shared_one_alone(tmp_path: Path) -> None:
    bench = StoreBench(tmp_path, namespace_keys=1, namespace_bytes=10)
    for key in ("a", "b"):
        bench("put", key, "x" * 100)
    bench("put", "a", 1, namespace="client/a")
    with pytest.raises(Failed, match="namespace 'client/a' holds 1 names and may hold 1"):
        bench("put", "b", 1, namespace="client/a")
    bench.stop()
