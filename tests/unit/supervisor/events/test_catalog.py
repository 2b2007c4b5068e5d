"""What is known of events and exit codes: each has cause, remedy and an example, and every place says the same."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest
from tools.reference.pages import ROOT, document

from tlsrt.command_line.exit_code_advice import ADVICE
from tlsrt.command_line.table import Verb
from tlsrt.errors import EXIT_CODES, InvalidArgument
from tlsrt.supervisor.cli.explain import explained
from tlsrt.supervisor.cli.verbs import VERBS
from tlsrt.supervisor.events.catalog import EVENTS
from tlsrt.supervisor.events.event_fields import FIELDS
from tlsrt.supervisor.events.event_kinds import EventName
from tlsrt.supervisor.events.explanation import example_line, explanation
from tlsrt.supervisor.events.journal_catalog import catalog_text
from tlsrt.supervisor.process.exit_reason import Cause

WIDE = 10_000
EMITTERS = frozenset({"emit", "_emit", "note"})
CLIENT_VERBS = frozenset({"tlsrt"})
PROGRAMS = frozenset({"journalctl", "systemctl", "getent", "df"})
CODES = re.compile(r"`([^`]+)`")


def verbs(table: tuple[Verb, ...], before: str = "") -> Iterator[str]:
    for verb in table:
        yield f"{before}{verb.name}"
        yield from verbs(verb.verbs, f"{before}{verb.name} ")


NAMES = frozenset(verbs(VERBS))


def is_known(word: str) -> bool:
    """Tell whether what a remedy puts into backquotes is there: a verb, an event, a field, a program, or a setting."""
    first, *rest = word.split()
    if first in PROGRAMS or first in EVENTS or first in FIELDS:
        return True
    if first in ("tlsrt", "tlsrt-supervisor"):
        return first == "tlsrt" or is_known(" ".join(rest))
    nested = {name for name in NAMES if name.startswith(f"{first} ")}
    if nested and rest and not first.isupper():
        return f"{first} {rest[0]}" in nested
    return first in NAMES


@pytest.mark.parametrize("event", EVENTS.values(), ids=lambda event: event.name)
def test_an_event_has_a_cause_a_remedy_and_an_example(event: EventName) -> None:
    assert event.cause and event.remedy
    assert not event.cause.endswith(".") and not event.remedy.endswith(".")
    assert set(event.example.fields) <= set(FIELDS)
    assert event.example.subject and event.sentence in example_line(event)


def test_every_field_is_of_an_event() -> None:
    assert {field for event in EVENTS.values() for field in event.example.fields} == set(FIELDS)


def test_an_exit_code_has_a_cause_and_a_remedy() -> None:
    assert set(ADVICE) == set(EXIT_CODES)
    assert all(one.cause and one.remedy and not one.remedy.endswith(".") for one in ADVICE.values())


def test_remedies_name_what_there_is() -> None:
    """A verb, an event or a field that was renamed would leave a remedy that does not help."""
    others = {*Cause, "needs", "egress", "programs", "limits", "within", "listen", "self.work", "healthy", "start"}
    told = [(event.name, event.remedy) for event in EVENTS.values()]
    told += [(str(code), one.remedy) for code, one in ADVICE.items()]
    unknown = [
        (name, word)
        for name, remedy in told
        for word in CODES.findall(remedy)
        if not is_known(word) and word not in others and not re.search(r"[._:$]|^(seconds|memory_mb|observe|--)", word)
    ]
    assert not unknown


def test_what_the_code_emits_has_fields_of_its_example() -> None:
    found = 0
    for path in sorted((ROOT / "supervisor").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Attribute(attr=attribute), args=[ast.Constant(value=str(name)), *_]) if (
                    attribute in EMITTERS and name in EVENTS
                ):
                    found += 1
                    fields = {keyword.arg for keyword in node.keywords if keyword.arg is not None}
                    assert fields <= set(EVENTS[name].example.fields), f"{path}:{node.lineno}: {name}"
    assert found > len(EVENTS) // 2


def in_one_line(page: str) -> str:
    """Return a page without bold and without breaks of lines."""
    return " ".join(page.replace("**", "").split())


def test_explain_the_journal_and_the_reference_say_the_same() -> None:
    catalog, page = catalog_text(), document("events")
    prose, codes = in_one_line(page), in_one_line(document("exit-codes"))
    for event in EVENTS.values():
        shown = "\n".join(explained(event.name, WIDE))
        for paragraph in explanation(event):
            assert paragraph in catalog and paragraph in prose and paragraph in shown
        assert example_line(event) in page and example_line(event) in shown
        assert explained(event.message_id, WIDE) == explained(event.name, WIDE)
    for code in EXIT_CODES:
        assert all(line in codes for line in explained(str(code), WIDE)[1:])


def test_explain_fits_and_knows_what_is_meant() -> None:
    assert max(map(len, explained("69", 80))) <= 80
    with pytest.raises(InvalidArgument, match="did you mean given_up"):
        explained("givenup", 80)
    with pytest.raises(InvalidArgument, match="no event and no exit code"):
        explained("99", 80)
