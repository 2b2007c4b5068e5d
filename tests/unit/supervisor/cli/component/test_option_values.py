"""Options that a component cannot run without: given, typed at a terminal, or one sentence that says how."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tlsrt.config.manifest import parse_manifest
from tlsrt.config.required_options import RequiredOption
from tlsrt.errors import EX_USAGE, InvalidArgument
from tlsrt.supervisor.cli.component.option_values import complete_options, given_options, lacking

MANIFEST = b'manifest: 1\ncomponent: third/bell\nclass: "bell:Bell"\ntitle: rings\nneeds: {memory_mb: 8}\n'
SOURCE = b"class Bell:\n    class Options:\n        tune: str\n        loud: int\n        often: int = 1\n"
TUNE = RequiredOption("tune", "What it rings.", "TEXT")
LOUD = RequiredOption("loud", "", "NUMBER")


def asked(*, yes: bool = False) -> argparse.Namespace:
    return argparse.Namespace(yes=yes, json=False)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The other end of a terminal that is standard input."""
    ours, theirs = os.openpty()
    with open(theirs) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield ours
    os.close(ours)


def test_values_are_yaml_and_what_is_none_is_text() -> None:
    assert given_options(["a=3", "b={x: [1]}", "c=: {", "d="]) == {"a": 3, "b": {"x": [1]}, "c": ": {", "d": None}
    for wrong in ("a", "=3", "a b=3"):
        with pytest.raises(InvalidArgument, match="is no option: write NAME=VALUE"):
            given_options([wrong])


def test_what_is_not_given_is_lacking() -> None:
    manifest = parse_manifest(MANIFEST, Path("tlsrt.yaml"))
    found = lacking(manifest, {"bell": SOURCE}.get, {"tune": "ding"})
    assert [one.name for one in found] == ["loud"]
    assert lacking(manifest, {"bell": SOURCE}.get, {"tune": "ding", "loud": 1}) == []


def test_without_a_terminal_one_sentence_names_all_and_how_to_give_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("ding\n7\n"))
    with pytest.raises(InvalidArgument) as refused:
        complete_options("third/bell", [TUNE, LOUD], asked(), " with --only bell")
    assert refused.value.exit_code == EX_USAGE
    assert str(refused.value) == (
        "third/bell does not run without the options tune (What it rings), loud: nothing was added; add it with "
        "--option 'tune=TEXT' --option 'loud=NUMBER' with --only bell"
    )


def test_at_a_terminal_they_are_typed(terminal: int) -> None:
    os.write(terminal, b"ding dong\n7\n")
    assert complete_options("third/bell", [TUNE, LOUD], asked()) == {"tune": "ding dong", "loud": 7}


def test_what_is_not_typed_is_refused_and_yes_asks_nothing(terminal: int) -> None:
    os.write(terminal, b"ding\n\n")
    with pytest.raises(InvalidArgument, match="without the option loud: nothing was added"):
        complete_options("third/bell", [TUNE, LOUD], asked())
    with pytest.raises(InvalidArgument, match="without the options tune"):
        complete_options("third/bell", [TUNE, LOUD], asked(yes=True))


def test_words_of_a_package_steer_no_terminal() -> None:
    with pytest.raises(InvalidArgument) as refused:
        complete_options("third/bell", [RequiredOption("tune", "\x1b[2Jred", "TEXT")], asked(yes=True))
    assert "\x1b" not in str(refused.value)
