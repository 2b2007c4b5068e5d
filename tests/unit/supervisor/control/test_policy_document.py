"""The policy as a document: every line, up to what an answer has room for."""

from __future__ import annotations

import json

from tlsrt.config.access import PolicyRule
from tlsrt.supervisor.control.policy_document import BYTES_MOST, policy_document


def test_lines_are_those_of_the_configuration_and_bounded() -> None:
    rules = [PolicyRule("client/*", "secondary/store", ("get", "put")), PolicyRule("third/io", "*/*", ("*",))]
    lines = [["client/*", "secondary/store", ["get", "put"]], ["third/io", "*/*", ["*"]]]
    assert policy_document(rules) == {"lines": lines, "left_out": 0}
    many = policy_document(rules * 2000)
    assert 0 < many["left_out"] == 4000 - len(many["lines"])
    assert len(json.dumps(many, separators=(",", ":"))) <= BYTES_MOST + 100
