"""The policy as lines and as a picture."""

from __future__ import annotations

import re

from tlsrt.config.access import PolicyRule
from tlsrt.supervisor.cli.policy import dot, rule_lines

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
