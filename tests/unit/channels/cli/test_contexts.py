"""Names for several hosts: which bundle and address a command takes, and files that others could have written."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tlsrt.channels.cli import main
from tlsrt.channels.cli.arguments import arguments_of
from tlsrt.channels.cli.calls import _content
from tlsrt.channels.cli.contexts import chosen, contexts_file, parse_contexts
from tlsrt.config.init import initialise
from tlsrt.errors import EX_CONFIG, EX_USAGE, ConfigError, InvalidArgument


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the user a configuration folder of their own, and return a bundle."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("TLSRT_BUNDLE", raising=False)
    monkeypatch.delenv("TLSRT_CONTEXT", raising=False)
    initialise(tmp_path / "host", host="127.0.0.1", port=7443, now=datetime.now(UTC))
    return tmp_path / "host" / "admin.tlsrt"


def options(**named: str | None) -> Namespace:
    return Namespace(**{"bundle": None, "context": None, "address": None, **named})


def test_the_first_is_in_use_and_others_when_they_are_named(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen(options()) == (None, None), "the search for a bundle goes on as without contexts"
    assert main.main(["context", "add", "kettle", str(bundle)]) == 0
    assert main.main(["context", "add", "car", str(bundle), "--address", "10.1.1.1:7443"]) == 0
    path = str(bundle)
    assert chosen(options()) == (path, None)
    assert chosen(options(context="car")) == (path, "10.1.1.1:7443")
    assert chosen(options(context="car", address="10.9.9.9")) == (path, "10.9.9.9")
    assert chosen(options(bundle="other")) == ("other", None)
    monkeypatch.setenv("TLSRT_CONTEXT", "car")
    assert chosen(options()) == (path, "10.1.1.1:7443")
    monkeypatch.setenv("TLSRT_BUNDLE", "/elsewhere")
    assert chosen(options()) == (None, None), "$TLSRT_BUNDLE is found by the search"
    assert chosen(options(context="car")) == (path, "10.1.1.1:7443"), "an option counts more"
    with pytest.raises(InvalidArgument, match="leave one out"):
        chosen(options(bundle="x", context="car"))


def test_use_list_and_remove(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("kettle", "car"):
        assert main.main(["context", "add", name, str(bundle)]) == 0
    assert main.main(["context", "use", "car"]) == 0
    capsys.readouterr()
    assert main.main(["context", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["*", "car"], ["kettle", "-"]]
    assert main.main(["context", "remove", "car"]) == 0
    assert bundle.exists() and chosen(options()) == (None, None)
    assert main.main(["context", "use", "kettel"]) == EX_USAGE
    assert "did you mean kettle?" in capsys.readouterr().err


def test_what_is_no_bundle_or_no_name_is_refused(bundle: Path) -> None:
    assert main.main(["context", "add", "kettle", str(bundle.parent / "ca.crt")]) == EX_CONFIG
    assert main.main(["context", "add", "../x", str(bundle)]) == EX_USAGE
    assert not contexts_file().exists()


def test_a_file_that_another_user_could_write_is_not_believed(bundle: Path) -> None:
    main.main(["context", "add", "kettle", str(bundle)])
    assert contexts_file().stat().st_mode & 0o777 == 0o600
    contexts_file().chmod(0o666)
    with pytest.raises(ConfigError, match="could be exchanged by another user"):
        chosen(options())
    os.unlink(contexts_file())
    contexts_file().write_text("{}")
    with pytest.raises(ConfigError, match="it is damaged"):
        chosen(options())


@pytest.mark.parametrize(
    "tree",
    [
        [], 5, {"format": 2, "use": "", "contexts": {}}, {"format": 1, "use": "x", "contexts": {}},
        {"format": 1, "use": "", "contexts": {"a": {"bundle": "relative"}}},
        {"format": 1, "use": "", "contexts": {"A/../b": {"bundle": "/x"}}},
        {"format": 1, "use": "", "contexts": {"a": {"bundle": "/x", "address": 5}}},
    ],
)  # fmt: skip
def test_a_damaged_file_is_one_sentence(tree: object) -> None:
    with pytest.raises(ConfigError, match="it is damaged"):
        parse_contexts(json.dumps(tree).encode(), Path("/x"))


# @FILE

BYTES: dict[str, object] = {"type": "string", "contentEncoding": "base64"}


def test_a_file_stands_for_bytes_and_for_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"\x00\xff")

    def converted(schema: dict[str, object], word: str) -> object:
        spec = {"parameters": [{"name": "value", "type": "x", "schema": schema, "required": True}]}
        args, kwargs = arguments_of([word], spec, _content)
        return (args or list(kwargs.values()))[0]

    named = f"@{tmp_path / 'data'}"
    assert converted(BYTES, named) == b"\x00\xff" and converted(BYTES, f"value={named}") == b"\x00\xff"
    assert converted({"anyOf": [BYTES, {"type": "null"}]}, named) == b"\x00\xff"
    assert converted({"type": "string"}, named) == named, "text stays text"
    assert converted({"anyOf": [BYTES, {"type": "string"}]}, named) != b"\x00\xff"
    assert converted(BYTES, "@@home") == b"@home" and converted(BYTES, "plain") == b"plain"
    os.mkfifo(tmp_path / "pipe")
    for wrong in (tmp_path / "missing", tmp_path / "pipe", tmp_path):
        with pytest.raises(InvalidArgument, match=f"@{wrong}: "):
            converted(BYTES, f"@{wrong}")
