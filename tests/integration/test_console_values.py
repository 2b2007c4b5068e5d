"""The console's pure modules, run by node: what is typed, shown, counted, and said as a command line."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from tools.programs import need

import tlsrt.loops

PAGE = Path(tlsrt.loops.__path__[0]) / "third" / "console" / "page"
pytestmark = pytest.mark.once
WORDS = ["", " ", "it's", "a b", "$(id)", "`id`", "x\ny", '"', "\\", "é", "-n", "a=b", "*", "~", "!x", "#x", "'''"]


def run(words: str) -> object:
    """Run a module that has all of values.js as `v` and prints one value as JSON."""
    script = f"import * as v from {json.dumps((PAGE / 'values.js').as_uri())}\nconsole.log(JSON.stringify({words}))"
    done = subprocess.run(
        [need("node"), "--input-type=module", "-e", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_shell_reads_every_word_back() -> None:
    written = run(f"{json.dumps(WORDS)}.map(v.shellWord)")
    assert isinstance(written, list)
    said = subprocess.run(["sh", "-c", f"printf '%s\\0' {' '.join(written)}"], capture_output=True, check=True).stdout
    assert said.decode().split("\0")[:-1] == WORDS


@pytest.mark.parametrize(
    ("schema", "word", "found"),
    [
        ({"type": "string", "maxLength": 3}, "abc", {"value": "abc"}),
        ({"type": "string", "maxLength": 3}, "abcd", {"error": "x is too long: it has at most 3 characters"}),
        ({"type": "integer", "minimum": 0, "maximum": 7}, "8", {"error": "x is out of range: type t"}),
        ({"type": "integer"}, "1.5", {"error": "x is no number: type t"}),
        ({"type": "number"}, "1.5", {"value": 1.5}),
        ({"anyOf": [{"type": "number"}, {"type": "null"}]}, "soon", {"error": "x is no number: type t"}),
        ({"type": "boolean"}, "false", {"value": False}),
        ({"type": "array"}, "[1, 2]", {"value": [1, 2]}),
        ({"type": "array"}, "1, 2", {"error": 'x is no JSON: type t, such as ["a", "b"]'}),
        ({}, "plain", {"value": "plain"}),
        ({}, "12", {"value": 12}),
        ({"type": "integer"}, "", {"error": "x is missing: type t"}),
    ],
)
def test_what_is_typed_becomes_a_value_or_a_sentence(schema: object, word: str, found: object) -> None:
    parameter = {"name": "x", "type": "t", "required": True, "schema": schema}
    assert run(f"v.typed({json.dumps(parameter)}, {json.dumps(word)})") == found


def test_what_is_left_out_is_not_sent() -> None:
    assert run("v.typed({name: 'x', type: 't', required: false, schema: {type: 'string'}}, '')") == {"left": True}


def test_a_map_with_any_key_is_a_plain_object_without_a_prototype() -> None:
    shown = run("(one => [Object.getPrototypeOf(one), Object.keys(one), one.__proto__, one['0x01ff']])"
                "(v.plain(new Map([['__proto__', 1], ['constructor', new Map([['a', 2n]]).size], "
                "[Uint8Array.of(1, 255), 3]])))")  # fmt: skip
    assert shown == [None, ["__proto__", "constructor", "0x01ff"], 1, 3]


def test_long_and_large_values_are_one_bounded_line() -> None:
    lines = "[v.line({a: 2n ** 63n}), v.line(new Uint8Array(100)).length < 130, v.line('x'.repeat(9999)).length]"
    assert run(lines) == ['{"a":"9223372036854775808"}', True, 401]
    assert run("[v.bytesText(1536), v.bytesText(null), v.durationText(3661), v.durationText(90000)]") == [
        "1.5 KiB", "–", "1 h 1 min", "1 d 1 h",
    ]  # fmt: skip


def test_troubles_are_found_and_a_well_host_has_none() -> None:
    well = {"door": {"locked": False}, "loops": [{"name": "a", "state": "active", "health": "good", "components": []}]}
    assert run(f"v.troubles({json.dumps(well)})") == []
    ill = {"door": {"locked": True}, "warnings": ["w"], "loops": [
        {"name": "a", "state": "backoff", "health": "dead", "violations": 2,
         "components": [{"name": "c", "health": "failing"}]}]}  # fmt: skip
    assert run(f"v.troubles({json.dumps(ill)})") == [
        ["the host is locked", ""], ["is backoff", "a"], ["its heartbeat is dead", "a"],
        ["says that it is failing", "a: c"], ["made 2 forbidden calls", "a"], ["w", ""],
    ]  # fmt: skip


def test_a_story_has_what_one_subject_did_and_what_was_done() -> None:
    def event(name: str, subject: str, at: str) -> dict[str, str]:
        return {"name": name, "subject": subject, "at": at, "kind": "security", "severity": "alarm"}

    events = [event("decoy_touched", "client/x", "1"), event("epoch", "client/x", "2"),
              event("response", "client/x", "3"), event("violation", "third", "4")]  # fmt: skip
    found = run(f"v.stories({json.dumps(events)}).map(one => [one.subject, one.first, one.last, one.events.length])")
    assert found == [["third", "4", "4", 1], ["client/x", "1", "3", 2]]


def test_what_is_flat_is_told_as_people_write_it_and_looks_like_nothing_else() -> None:
    lines = (
        "[{up: true, mtu: 1500, speed: null}, ['a', 'b'], [], {}, {at: 'fd00::1'}, ['a, b', 'c'], {'a: 1, b': 2},"
        " {a: '1, b: 2'}, ['', '\"a\"', ' a'], {a: {b: 1}}, [['a']], 'a, b', null, new Uint8Array([1])]"
        ".map((one) => v.cellText(one))"
    )
    assert run(lines) == [
        "up: true, mtu: 1500, speed: –", "a, b", "–", "–", "at: fd00::1", '"a, b", c', '"a: 1, b": 2', 'a: "1, b: 2"',
        '"", "\\"a\\"", " a"', '{"a":{"b":1}}', '[["a"]]', "a, b", "–", "1 B: 01",
    ]  # fmt: skip


def test_a_fact_is_told_with_its_unit_and_what_is_in_it_not_as_json() -> None:
    lines = (
        "[['memory_bytes', 27273820075], ['mtu_bytes', 1500], ['uptime_s', 76197.25], ['age_ms', 90],"
        " ['main_pid', 13212],"
        " ['received_packets', 13777055], ['speed_bytes', null], ['is_up', true], ['parts', ['a, b', 'c']],"
        " ['counters', {sent_bytes: 20480, sent_errors: 0}], ['counters', {sent_errors: 0}],"
        " ['since_wall_ms', 8.65e15],"
        " ['routes', [v.plain({metric: 0, via: null}), {metric: 1}]], ['a_b', 'x_bytes'], ['n_bytes', 'many']]"
        ".map((one) => v.factText(...one))"
    )
    assert run(lines) == [
        ["memory", "25.4 GiB"], ["mtu", "1500 B"], ["uptime", "21 h 9 min"], ["age", "90 ms"], ["main pid", "13212"],
        ["received packets", "13,777,055"], ["speed", "–"], ["is up", "true"], ["parts", '"a, b", c'],
        ["counters", "sent: 20.0 KiB"], ["counters", "–"], ["since", "100115740 d 17 h"],
        ["routes", "(metric: 0, via: –), (metric: 1)"], ["a b", "x_bytes"], ["n bytes", "many"],
    ]  # fmt: skip
    assert run("['since_wall_ms', 'at_s'].map((name) => v.factText(name, 1796277082)[1]).join().includes('/26')")
    assert run("[[0, 9], [1, 5000], [1, 3], [9999, 10000], [4, 4]].map((one) => v.shareText(...one))") == [
        "none", "less than 0.1 %", "33 %", "99 %", "100 %",
    ]  # fmt: skip
