"""The words of the command line, and results as text."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.channels.cli import main
from tlsrt.channels.cli.arguments import arguments_of, signature
from tlsrt.channels.cli.verbs import COMMAND
from tlsrt.command_line.parse import parse
from tlsrt.errors import InvalidArgument
from tlsrt.output import records, to_json, to_line, to_text
from tlsrt.text import printable

STR: dict[str, Any] = {"type": "string"}
INT: dict[str, Any] = {"type": "integer"}


def method(**schemas: dict[str, Any]) -> dict[str, Any]:
    return {
        "parameters": [
            {"name": name, "type": str(schema.get("type", "any")), "schema": schema, "required": True}
            for name, schema in schemas.items()
        ]
    }


@pytest.mark.parametrize(
    ("schema", "word", "value"),
    [
        (STR, "5", "5"), (STR, "null", "null"), (STR, "", ""), (STR, '"quoted"', '"quoted"'), ({}, "5", 5),
        ({}, "hello", "hello"), ({}, '"5"', "5"), ({}, "[1, 2]", [1, 2]), ({}, "NaN", "NaN"), (INT, "-5", -5),
        ({"type": "number"}, "1.5", 1.5), ({"type": "number"}, "2", 2), ({"type": "boolean"}, "true", True),
        ({"type": "array"}, "[]", []), ({"type": "object"}, '{"a": 1}', {"a": 1}), ({"type": "null"}, "null", None),
        ({"type": "string", "contentEncoding": "base64"}, "data", b"data"), ({"enum": ["a", 1]}, "a", "a"),
        ({"enum": ["a", 1]}, "1", 1), ({"anyOf": [STR, {"type": "null"}]}, "null", None),
        ({"anyOf": [STR, {"type": "null"}]}, "x", "x"), ({"anyOf": [STR, INT]}, "7", 7), ({}, "[" * 9999, "[" * 9999),
    ],
)  # fmt: skip
def test_words_become_values(schema: dict[str, Any], word: str, value: object) -> None:
    args, kwargs = arguments_of([word], method(value=schema))
    assert (args, kwargs) == ([value], {}) and type(args[0]) is type(value)


@pytest.mark.parametrize(
    ("schema", "word"),
    [
        (INT, "x"), (INT, "1.5"), (INT, "true"), (INT, '"5"'), ({"type": "boolean"}, "1"), ({"type": "array"}, "{}"),
        ({"type": "object"}, "{"), ({"enum": ["a", 1]}, "true"), ({"anyOf": [INT, {"type": "null"}]}, "x"),
        ({"type": "number"}, "NaN"),
    ],
)  # fmt: skip
def test_words_that_fit_no_type_name_the_parameter(schema: dict[str, Any], word: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^count: "):
        arguments_of([word], method(count=schema))


def test_arguments_by_name_and_position() -> None:
    spec = method(key=STR, value={}, ttl_s=INT)
    spec["parameters"][2]["required"] = False
    assert arguments_of(["greeting", "5"], spec) == (["greeting", 5], {})
    assert arguments_of(["greeting", "a=b", "ttl_s=60"], spec) == (["greeting", "a=b"], {"ttl_s": 60})
    assert arguments_of(["value=x", "key=y"], spec) == ([], {"value": "x", "key": "y"})
    for words, message in (
        (["a"], "value is missing"), (["a", "b", "3", "d"], "too many arguments: it takes 3"),
        (["a", "key=b", "c"], "key is given twice"), (["key=a", "b"], "key is given twice"),
        (["key=a", "key=b"], "key is given twice"),
        (["a", "b", "ttl=60"], "ttl_s: 'ttl=60' is not of type integer, did you mean ttl_s\\?$"),
        (["a", "b", "3", "tl_s=60"], "too many arguments: it takes 3: .*, did you mean ttl_s\\?$"),
        (["a", "b", "ttl_s=x=y"], "ttl_s: 'x=y' is not of type integer$"),
    ):  # fmt: skip
        with pytest.raises(InvalidArgument, match=message):
            arguments_of(words, spec)
    with pytest.raises(InvalidArgument, match="by position only"):
        arguments_of(["timeout_s=1"], method(timeout_s=INT))
    assert arguments_of(["5", "x"], None) == ([5, "x"], {})


@pytest.mark.parametrize("kind", ["array", "object"])
def test_a_plain_word_for_a_list_or_table_is_told_to_be_json(kind: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^tags: 'home' is not of type \w+; write it as JSON$"):
        arguments_of(["home"], method(tags={"type": kind}))


def test_signature() -> None:
    spec = {**method(key=STR), "stream": True, "upload": True, "returns": {"type": "int"}}
    spec["parameters"].append({"name": "after", "type": "str", "required": False, "default": None})
    assert signature(spec) == "(key: string, after: str = null, < data) -> stream of int"


def test_text_for_people() -> None:
    assert to_text({"name": "x", "longer name": 1.0, "none": None, "flag": True, "list": [1, 2]}) == (
        "name:        x\nlonger name: 1\nnone:        -\nflag:        true\nlist:        1, 2"
    )
    assert to_text({"a": {"b": 1}, "c": []}) == "a:\n  b: 1\nc: -"
    assert to_text([{"name": "eth0", "mtu": 1500}, {"name": "lo", "up": None}]) == (
        "name  mtu   up\neth0  1500\nlo          -"
    )
    assert to_text("two\nlines") == "two\nlines"
    assert to_text([1, "x", [1, 2]]) == "1\nx\n1, 2"
    assert to_text(b"\x00\x01") == "2 bytes: 0001"
    assert records([{"n": 5}, {"n": 50}]) == [" n", " 5", "50"]


def test_json_and_lines() -> None:
    assert to_json({1: b"\xff", "t": (1, "ü")}) == '{"1": "/w==", "t": [1, "ü"]}'
    assert to_line({"a": "x\ny"}) == '{"a": "x\\ny"}'
    assert to_line("a\nb") == "a\\nb"


def test_nothing_drives_the_terminal() -> None:
    evil = "\x1b]0;title\x07\x9b2J\u202e\r"
    for text in (to_text(evil), to_text({evil: evil}), to_text([{evil: evil}]), to_line(evil), to_line([evil])):
        assert all(character.isprintable() or character == "\n" for character in text)
    assert printable("a\tb\n", keep="\n\t") == "a\tb\n"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_every_value_has_a_text_and_a_line(value: object) -> None:
    assert isinstance(to_text(value), str) and isinstance(to_json(value), str)
    assert "\n" not in to_line(value)
    assert all(character.isprintable() or character in "\n\t" for character in to_text(value))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "say what to do"), (["fly"], 'there is no verb "fly"'), (["call"], "TARGET"), (["call", "a/b"], "METHOD"),
        (["whoami", "--timeout", "0"], "invalid duration"), (["whoami", "x"], "too many arguments: x"),
        (["--bun", "x", "whoami"], "--bun"),
    ],
)  # fmt: skip
def test_mistakes_are_one_sentence_and_64(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main.main(arguments)
    captured = capsys.readouterr()
    assert code == 64 and captured.out == ""
    assert captured.err.startswith("tlsrt: ") and sentence in captured.err and captured.err.count("\n") == 1


def test_options_before_and_after_the_verb() -> None:
    verb, asked = parse(COMMAND, ["--bundle", "x", "--json", "call", "a/b", "m", "1", "--timeout", "5", "-5"])
    assert verb.name == "call"
    assert (asked.bundle, asked.json, asked.timeout, asked.words) == ("x", True, 5.0, ["1", "-5"])
    _, asked = parse(COMMAND, ["--timeout", "9", "whoami", "--bundle", "y"])
    assert (asked.bundle, asked.json, asked.timeout) == ("y", False, 9.0)


def test_help_and_mistakes_load_nothing_heavy() -> None:
    script = (
        "import sys\nfrom tlsrt.channels.cli import main\n"
        "main.main(['--help'])\n"
        "heavy = {'asyncio', 'ssl', 'msgpack', 'cryptography', 'yaml', 'zmq'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr
    assert "describe" in done.stdout


def test_a_missing_bundle_is_a_sentence(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TLSRT_BUNDLE", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert main.main(["whoami"]) == 78
    assert capsys.readouterr().err.startswith("tlsrt: there is no client bundle")
