"""Services of the network: bounded, plain text, whatever they say; their ages."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.loops.external.discovered import ADDRESSES_MAX, ENTRIES_MAX, DiscoveredServices, Found, found_of, plain
from tlsrt.loops.external.discovery import Discovery, Service

KIND = "_http._tcp.local."
LAMP = Found("lamp", KIND, "lamp.local.", 80, ("10.0.0.2",), {"path": "/"})


@given(st.text(max_size=400), st.text(max_size=400), st.dictionaries(st.binary(), st.none() | st.binary(), max_size=40))
def test_whatever_a_service_says_it_is_bounded_plain_text(name: str, host: str, txt: dict[bytes, bytes | None]) -> None:
    found = found_of(f"{name}.{KIND}", KIND, host, 80, ["10.0.0.1"] * 20, txt)
    assert len(found.name) <= 255 and len(found.host) <= 255 and len(found.addresses) <= ADDRESSES_MAX
    assert len(found.txt) <= ENTRIES_MAX and all(value is None or len(value) <= 255 for value in found.txt.values())
    said = (found.name, found.host, *found.txt, *(value for value in found.txt.values() if value is not None))
    assert all(sign.isprintable() for one in said for sign in one)


@pytest.mark.parametrize(
    ("text", "shown"), [("\x1b[2J", "\\x1b[2J"), ("\u202eabc", "\\u202eabc"), ("é ü", "é ü"), ("a\\b", "a\\\\b")]
)
def test_what_a_terminal_would_obey_is_shown(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_the_table_is_bounded_and_tells_what_is_news_and_how_old_it_is() -> None:
    table = DiscoveredServices(2)
    assert table.put("a", LAMP, 10.0) and not table.put("a", LAMP, 12.0) and table.put("a", replace(LAMP, port=81), 13)
    assert table.put("b", LAMP, 13) and not table.put("c", LAMP, 13) and table.left_out == 1
    (first, _) = table.all(15.0)
    assert (first["port"], first["age_s"], first["heard_s"]) == (81, 5.0, 2.0)
    assert table.stale(80.0, 67.0) == [(KIND, "a"), (KIND, "b")] and table.stale(15.0, 60.0) == []
    assert table.next_stale(60.0) == 73.0 and DiscoveredServices(2).next_stale(60.0) is None
    assert table.remove("b") == LAMP and table.remove("b") is None and not table.has("b")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"host": "a.b"}, "host must be one label"),
        ({"browse": ("http",)}, "no type of a service"),
        ({"browse": tuple(f"_x{number}._tcp" for number in range(17))}, "at most 16 types"),
        ({"announce": {"x\x1b": Service("_http._tcp", 80)}}, "must be printable"),
        ({"announce": {"x" * 64: Service("_http._tcp", 80)}}, "at most 63 bytes"),
        ({"announce": {"x": Service("_http._tcp", 80, {"a=b": "c"})}}, "a key has no `=`"),
        ({"announce": {"x": Service("_http._tcp", 80, {"a": "c" * 255})}}, "at most 255 bytes"),
        ({"announce": {"x": Service("http", 80)}}, "no type of a service"),
    ],
)
def test_options_that_cannot_be_are_one_sentence(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Discovery.Options(**options)  # type: ignore[arg-type]
