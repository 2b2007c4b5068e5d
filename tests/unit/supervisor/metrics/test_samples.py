"""What processes say of their metrics, and the text that is made of it."""

from __future__ import annotations

import json
import math
import subprocess
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tools.programs import need

from tlsrt.channels.control.figures import BOUNDS_US, BUCKETS, PAGE_BYTES, bucket_of, decode_page_untrusted, encode_page
from tlsrt.errors import MisuseError, PeerError
from tlsrt.supervisor.metrics.exposition import escaped, exposition
from tlsrt.supervisor.metrics.families import FAMILIES, Family, Kind, Source
from tlsrt.supervisor.metrics.samples import LABEL_MAX, ROWS_MAX, Row, decode_untrusted

NASTY = ['a"} 1 # tlsrt_up 0', "back\\slash", "ключ", ""]
UNPRINTABLE = ['a"} 1\ntlsrt_up 0', "\0", "\ud800", "\udfff", "\r", "\u2028"]


def value_of(family: Family) -> Any:
    return {Kind.HISTOGRAM: (1,) * BUCKETS + (0.5,), Kind.SUMMARY: (2, 0.5)}.get(family.kind, 1)


def all_rows(label: str = "x") -> list[Row]:
    return [(name, (label,) * len(family.labels), value_of(family)) for name, family in FAMILIES.items()]


def decoded(tree: object, source: Source = Source.SUPERVISOR, process: str = "") -> tuple[list[Row], int]:
    return decode_untrusted(json.dumps(tree).encode(), source, process)


def test_what_is_said_comes_back() -> None:
    tree = {"tlsrt_epoch": [[[], 3]], "tlsrt_sessions": [[["primary"], 2], [["third"], 0.5]]}
    assert decoded(tree) == (
        [("tlsrt_epoch", (), 3), ("tlsrt_sessions", ("primary",), 2), ("tlsrt_sessions", ("third",), 0.5)], 0
    )  # fmt: skip


@pytest.mark.parametrize(
    "tree",
    [
        {"tlsrt_else": [[[], 1]]},
        {"tlsrt_metrics_requests": [[["200"], 1]]},  # which the metrics process says of itself alone
        {"tlsrt_epoch": [[["more"], 1]]},
        {"tlsrt_epoch": [[[], True]]},
        {"tlsrt_epoch": [[[], "1"]]},
        {"tlsrt_epoch": [[[], 1 << 80]]},
        {"tlsrt_epoch": [[[], math.nan]]},
        {"tlsrt_epoch": [[[], math.inf]]},
        {"tlsrt_epoch": 1},
        {"tlsrt_epoch": [1]},
        {"tlsrt_sessions": [[[1], 1]]},
        {"tlsrt_process_restarts": [[["third"], -1]]},
    ],
)
def test_what_the_table_does_not_have_is_left_out(tree: object) -> None:
    assert decoded(tree) == ([], 1)


def test_nothing_is_said_twice_or_without_end() -> None:
    assert decoded({"tlsrt_epoch": [[[], 1], [[], 2]]}) == ([("tlsrt_epoch", (), 1)], 1)
    tree = {"tlsrt_component_value": [[["a", str(one)], 1] for one in range(ROWS_MAX + 5)]}
    rows, refused = decoded(tree, Source.PROCESS, "third")
    assert (len(rows), refused) == (ROWS_MAX, 5)
    [(_, (label,), _)], _ = decoded({"tlsrt_sessions": [[["a" * 10_000], 1]]})
    assert label == "a" * LABEL_MAX


def test_nothing_that_the_supervisor_says_is_cut_off() -> None:
    rows, refused = decoded({"tlsrt_component_ready": [[["third", str(one)], 1] for one in range(ROWS_MAX + 5)]})
    assert (len(rows), refused) == (ROWS_MAX + 5, 0)


def test_no_label_has_readers_refuse_the_text() -> None:
    said = {"tlsrt_component_value": [[["a", label], 1] for label in [*NASTY, *UNPRINTABLE]]}
    rows, refused = decoded(said, Source.PROCESS, "third")
    assert [labels[2] for _, labels, _ in rows] == NASTY and refused == len(UNPRINTABLE)


def test_a_process_speaks_of_itself_alone() -> None:
    said = {
        "tlsrt_calls": [[["notes", "add", "result"], 3], [["third", "notes", "add", "result"], 3]],
        "tlsrt_component_counted": [[['a"} 1', "b"], 1]], "tlsrt_sessions": [[["primary"], 9]],
        "tlsrt_gate_frames": [[["passed"], 9]],
    }  # fmt: skip
    rows, refused = decoded(said, Source.PROCESS, "third.notes")
    assert {labels[0] for _, labels, _ in rows} == {"third.notes"} and (len(rows), refused) == (2, 3)
    rows, refused = decoded(said, Source.PRIMARY, "primary")
    assert ("tlsrt_gate_frames", ("passed",), 9) in rows and refused == 2


@given(st.binary(max_size=200) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*FAMILIES, "x"]), inner, max_size=4),
    max_leaves=20,
).map(lambda tree: json.dumps(tree).encode()))  # fmt: skip
def test_all_bytes_are_rows_or_the_one_error(data: bytes) -> None:
    try:
        rows, _ = decode_untrusted(data, Source.SUPERVISOR)
    except PeerError:
        return
    assert exposition(rows, is_openmetrics=True).endswith(b"# EOF\n")


def test_a_deep_tree_is_the_one_error() -> None:
    with pytest.raises(PeerError):
        decode_untrusted(b"[" * 100_000, Source.SUPERVISOR)


@pytest.mark.parametrize("label", [*NASTY, *UNPRINTABLE])
def test_a_label_ends_neither_its_quotes_nor_its_line(label: str) -> None:
    plain = exposition(all_rows(), is_openmetrics=True).decode()
    text = exposition(all_rows(label), is_openmetrics=True).decode()
    assert text.count("\n") == plain.count("\n")
    assert escaped(label).replace("\\\\", "").replace('\\"', "").count('"') == 0


def test_a_histogram_is_cumulative() -> None:
    assert bucket_of(0) == 0 and bucket_of(1e9) == BUCKETS - 1
    for index, bound in enumerate(BOUNDS_US):
        assert bucket_of((bound - 1) / 1e6) <= index
    for seconds in (1e-6, 0.000031, 0.0001, 0.5, 16.0):
        assert seconds * 1e6 <= BOUNDS_US[bucket_of(seconds)]


def test_names_follow_the_conventions() -> None:
    for name, family in FAMILIES.items():
        assert name.startswith("tlsrt_") and not name.endswith(("_total", "_info", "_count", "_sum", "_bucket"))
        assert not family.unit or name.endswith(f"_{family.unit}")
        assert family.unit in ("", "seconds", "bytes", "ratio") and family.help.endswith(".")
        assert len(set(family.labels)) == len(family.labels) and "le" not in family.labels
        assert family.labels[:1] == ("process",) or family.source is not Source.PROCESS


@pytest.mark.parametrize("label", ["x", *NASTY[:3]])
def test_promtool_finds_nothing_to_complain_of(label: str) -> None:
    done = subprocess.run(
        [need("promtool"), "check", "metrics"], input=exposition(all_rows(label), is_openmetrics=False),
        capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_page_is_whole_or_refused() -> None:
    page = encode_page(b"figures").ljust(PAGE_BYTES, b"\0")
    assert decode_page_untrusted(page) == b"figures"
    assert decode_page_untrusted(bytes(PAGE_BYTES)) == b"" == decode_page_untrusted(b"")
    with pytest.raises(PeerError):
        decode_page_untrusted(page.replace(b"figures", b"changed"))
    with pytest.raises(PeerError):
        decode_page_untrusted(b"\xff" * 64)
    with pytest.raises(MisuseError):
        encode_page(bytes(PAGE_BYTES))
