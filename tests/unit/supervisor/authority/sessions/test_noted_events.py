"""Every event that the authority notes is one that the supervisor takes from it. Found by reading the source.

A name that is missing in `OF_AUTHORITY` is told as "unrecognised event from the authority", which no other test sees.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from tlsrt import supervisor
from tlsrt.supervisor.authority.sessions.event_notes import EVENT_OF_SESSION
from tlsrt.supervisor.events.catalog import EVENTS
from tlsrt.supervisor.events.sources import OF_AUTHORITY

ROOM = Path(supervisor.__path__[0])
HOLDERS = frozenset({"notes", "_notes", "service", "_service"})  # whose method `note` makes an event
# What no reading of one file tells: a table in another one, and a function that is handed on.
TOLD = {
    ("event_notes.py", "stepped"): set(EVENT_OF_SESSION.values()),
    ("service.py", "_tell"): {"detected", "over_budget"},
    ("admin.py", "done"): {"client_added", "client_renewed", "client_changed"},
}


def functions_around(tree: ast.Module) -> dict[ast.AST, ast.FunctionDef]:
    """Return the innermost function with a name that each node is in."""
    found: dict[ast.AST, ast.FunctionDef] = {}
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            found |= dict.fromkeys(ast.walk(function), function)  # inner ones come later and win
    return found


def name_of(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


class Source:
    """One file, and what its expressions may be."""

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        tree = ast.parse(text)
        self.calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        self._around = functions_around(tree)

    def noted(self) -> Iterator[tuple[int, set[str]]]:
        """Give the line of each call that makes an event, and the names that it may have."""
        for call in self.calls:
            func = call.func
            if not isinstance(func, ast.Attribute) or func.attr != "note" or not call.args:
                continue
            is_self = self.name == "event_notes.py" and name_of(func.value) == "self"
            if name_of(func.value) not in HOLDERS and not is_self:
                continue
            function = self._around[call]
            if function.name != "note":  # which only hands on
                yield call.lineno, TOLD.get((self.name, function.name)) or self.values(call.args[0], call)

    def values(self, node: ast.expr, place: ast.AST) -> set[str]:
        """Return every text that an expression may be; nothing for one that this cannot tell."""
        match node:
            case ast.Constant(str(text)):
                return {text}
            case ast.IfExp():
                return self.values(node.body, place) | self.values(node.orelse, place)
            case ast.JoinedStr():
                parts = [self.values(part, place) for part in node.values]
                return {"".join(each) for each in product(*parts)}
            case ast.FormattedValue():
                return self.values(node.value, place)
            case ast.Name():
                return self._argument(node.id, self._around[place])
            case _:
                return set()

    def _argument(self, name: str, function: ast.FunctionDef) -> set[str]:
        """Return what a function is given under this name by the calls in its file."""
        names = [argument.arg for argument in function.args.args if argument.arg != "self"]
        found: set[str] = set()
        if name in names:
            for call in self.calls:
                if name_of(call.func) == function.name and len(call.args) > names.index(name):
                    found |= self.values(call.args[names.index(name)], call)
        return found


Found = list[tuple[str, int, set[str]]]  # file, line, names


@pytest.fixture(scope="module")
def found() -> Found:
    sources = [Source(path.read_text(), path.name) for path in sorted(ROOM.rglob("*.py"))]
    return [(source.name, line, names) for source in sources for line, names in source.noted()]


def test_every_event_that_the_authority_notes_is_taken_from_it(found: Found) -> None:
    unread = [f"{file}:{line}" for file, line, names in found if not names]
    assert not unread, "which event that is cannot be read: name it, or say it in TOLD"
    unknown = {f"{file}:{line} {name}" for file, line, names in found for name in names - (OF_AUTHORITY & set(EVENTS))}
    assert not unknown


def test_the_reading_finds_what_is_there(found: Found) -> None:
    names = set().union(*(names for _, _, names in found))
    assert {"detected", "client_added", "client_renewed", "lock_refused", "unlock_refused", "unlocked"} <= names
    assert len(found) > 20


@pytest.mark.parametrize(("text", "names"), [
    ("class A:\n def f(self): self._service.note('made_up', 'x')", {"made_up"}),
    ("def f(notes, a): notes.note('one' if a else 'two', 'x')", {"one", "two"}),
    ("class A:\n def f(self, a): self.notes.note(f'{a}_refused', 'x')\n def g(self): self.f('made')", {"made_refused"}),
    ("def f(notes, a): notes.note(a.name, 'x')", set()),
    ("def f(notes, a): notes.note(a, 'x')", set()),
])  # fmt: skip
def test_a_name_that_is_missing_or_cannot_be_read_is_found(text: str, names: set[str]) -> None:
    assert [each for _, each in Source(text, "some.py").noted()] == [names]
    assert not names <= OF_AUTHORITY or not names
