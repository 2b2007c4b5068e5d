"""The policy as lines and as a picture."""

from __future__ import annotations

import json
import re

import pytest

from tlsrt.config.access import PolicyRule
from tlsrt.errors import ConfigError
from tlsrt.supervisor.cli.policy import dot, parse_counts_untrusted, rule_lines, used_lines

RULES = [
    PolicyRule("client/admin", "third/io", ("*",)), PolicyRule("third/io", "secondary/store", ("get",)),
    PolicyRule("third/io", "secondary/store", ("put", "get")),
]  # fmt: skip


def test_lines_join_what_is_of_one_pair() -> None:
    assert [line.split() for line in rule_lines(RULES)[1:]] == [
        ["client/admin", "third/io", "*"],
        ["third/io", "secondary/store", "get,", "put"],
    ]


def test_the_picture_has_a_box_for_each_loop_and_an_arrow_for_each_pair() -> None:
    found = dot(RULES, ["forth/power"])
    text = "\n".join(found)
    assert found[0] == "digraph policy {" and found[-1] == "}" and text.count("{") == text.count("}")
    assert sorted(re.findall(r'subgraph "cluster_(\w+)"', text)) == ["client", "forth", "secondary", "third"]
    assert '"third/io" -> "secondary/store" [label="get\\nput"];' in text
    assert '"client/admin" -> "third/io" [label="all"];' in text
    assert '"forth/power";' in text


def test_no_name_ends_its_quotes() -> None:
    found = dot([PolicyRule('a/"]; evil', "b/c\\", ("x",))], [])
    assert any('"a/\\"]; evil" -> "b/c\\\\"' in line for line in found)


def counts(*rows: list[object], **more: object) -> str:
    return json.dumps({"since": 1_764_662_400_000, "called": rows, "next": None, "rest": {}, **more})


def test_what_was_called_stands_beside_what_may_be_and_never_was() -> None:
    rules = [*RULES, PolicyRule("client/*", "forth/*", ("*",)), PolicyRule("third/io", "third/io", ("x",))]
    said = counts(
        ["client/admin", "third/io", "put", 3, 0], ["third/io", "secondary/store", "get", 5, 0],
        ["third/io", "secondary/store", "delete", 0, 2], ["client/web", "secondary/logs", "query", 1, 0],
    )  # fmt: skip
    lines = used_lines(rules, parse_counts_untrusted(said))
    assert lines[0] == "counted by the gate since 2025-12-02 08:00:00Z"
    rows = [re.split(r" {2,}", line) for line in lines[2:]]
    assert rows == [
        ["client/*", "forth/*", "-", "*"],
        ["client/admin", "third/io", "put 3", "-"],
        ["client/web", "secondary/logs", "query 1 (by a right of its own)", "-"],
        ["third/io", "secondary/store", "get 5, delete 0 (refused 2)", "put"],
        ["third/io", "third/io", "-", "x"],
    ]
    assert "one page of the counts" in used_lines(rules, parse_counts_untrusted(counts(next=768)))[0]


@pytest.mark.parametrize(
    "text",
    [
        "", "null", "[]", "{", '{"called": 1}', counts(["a", "b", "c", -1, 0]), counts(["a", "b", "c", 1]),
        counts(["a", "b", "c", True, 0]), counts([1, "b", "c", 1, 0]), counts(["a" * 999, "b", "c", 1, 0]),
        counts(since=1 << 60), counts(since="x"), "[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_count_of_a_gate_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(ConfigError, match="no counts of a gate"):
        parse_counts_untrusted(text)


def test_a_method_of_a_caller_cannot_steer_a_terminal() -> None:
    lines = used_lines(RULES, parse_counts_untrusted(counts(["client/\x1b", "x/\n", "\x1b[2J\u202e", 1, 0])))
    assert all(line.isprintable() and line.isascii() for line in lines)
