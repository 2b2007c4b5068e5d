"""Manual pages: every verb, option and exit code, and nothing that roff would take for a request."""

from __future__ import annotations

import re

import pytest

from tlsrt.channels.cli.verbs import COMMAND as CLIENT
from tlsrt.command_line.man import man_page
from tlsrt.command_line.table import Argument, Command, Verb
from tlsrt.command_line.tree import node_of, nodes
from tlsrt.supervisor.cli.verbs import COMMAND as SUPERVISOR

REQUESTS = re.compile(r"\.(TH .*|SH .*|SS .*|TP|nf|fi|B .*)")


@pytest.mark.parametrize("command", [CLIENT, SUPERVISOR], ids=lambda command: command.program)
def test_a_page_has_every_verb_and_option_and_no_stray_request(command: Command) -> None:
    page = man_page(command, 8, "1.2", ["other(1)"])
    plain = page.replace("\\-", "-")
    for node in nodes(node_of(command)):
        if node.path[1:] and not node.verbs:
            assert f'\n.SS "{" ".join(node.path[1:])}' in plain
        for option in node.options:
            assert all(f"\\fB{word.replace('-', chr(92) + '-')}\\fR" in page for word in option.words)
    assert all(REQUESTS.fullmatch(line) for line in page.splitlines() if line.startswith((".", "'")))
    assert "130" in page and "\\fBother\\fR(1)" in page


def test_words_that_steer_roff_are_words() -> None:
    verb = Verb("go", ".SH is 'no' \\fBrequest", (Argument(("--dash-ed",), ".TP", "X-Y"),))
    page = man_page(Command("c", "p", "t", (), (verb,), ""), 1, "1", [])
    assert "\n\\&.SH is \\(aqno\\(aq \\efBrequest." in page
    assert "\\fB\\-\\-dash\\-ed\\fR \\fIX\\-Y\\fR\n\\&.TP" in page
