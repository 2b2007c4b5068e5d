"""What external/xmpp keeps on the disk: once is once, and the oldest goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tlsrt import Component, database
from tlsrt.errors import Unavailable
from tlsrt.loops.external import xmpp
from tlsrt.loops.external import xmpp_tables as tables
from tlsrt.loops.external.xmpp_options import PersonOptions, XmppOptions
from tlsrt.testing import running_sync

OWN = "house@example.org"


class Kept(Component):
    db = database(steps=tables.STEPS)


def with_tables(steps: Callable[[Callable[..., Any]], None], tmp_path: Any) -> None:
    with running_sync(Kept, needs={"state_mb": 8, "threads": 4}, state=tmp_path) as kept:

        def act(function: Any, *words: Any) -> Any:
            return kept.run(kept.component.db.transaction(function, *words))

        steps(act)


def test_a_message_without_its_archive_id_is_the_one_that_the_archive_has_later(tmp_path: Any) -> None:
    def steps(act: Callable[..., Any]) -> None:
        act(tables.keep_heard, "", "said yes", None, OWN, 1)
        assert act(tables.is_heard, "", "said yes")
        assert act(tables.is_heard, "archive 1", "said yes")
        act(tables.keep_heard, "archive 1", "said yes", None, OWN, 2)
        assert act(tables.is_heard, "archive 1", "said yes")
        assert not act(tables.is_heard, "archive 2", "said yes")  # said again

    with_tables(steps, tmp_path)


def test_a_receipt_counts_for_the_person_to_whom_it_was_sent(tmp_path: Any) -> None:
    def steps(act: Callable[..., Any]) -> None:
        act(tables.keep_taken, "w", "anna@example.org", "m", "client/bob", 5)
        act(tables.keep_taken, "w", "anna@example.org", "m", "client/bob", 9)
        act(tables.keep_received, "w", "eve@example.org", 9)
        assert act(tables.sent, "w") == tables.Sent(2, 9, False)
        assert act(tables.answered, "w", "eve@example.org") is None
        assert act(tables.answered, "w", "anna@example.org") == ("m", "client/bob")
        act(tables.keep_received, "w", "anna@example.org", 9)
        assert act(tables.sent, "w").is_done
        act(tables.keep_received, "before", "anna@example.org", 9)
        assert act(tables.sent, "before").is_done and act(tables.answered, "before", "anna@example.org") is None

    with_tables(steps, tmp_path)


def test_the_place_is_that_of_one_account_and_what_is_old_goes(tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(tables, "ROWS", 2)

    def steps(act: Callable[..., Any]) -> None:
        for number in range(4):
            answerable = f"{number}", "anna@example.org", "d", "p"
            act(tables.keep_heard, f"archive {number}", "", tables.Place(f"{number}", "t"), OWN, number, answerable)
        assert act(tables.place, OWN) == tables.Place("3", "t")
        assert act(tables.place, "other@example.org") is None
        act(tables.prune, 4)
        assert [act(tables.is_heard, f"archive {number}", "") for number in range(4)] == [False, True, True, True]
        act(tables.prune, tables.KEPT_MS + 3)
        assert act(tables.incoming, "2") is None and act(tables.incoming, "3") == ("anna@example.org", "d", "p")

    with_tables(steps, tmp_path)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"jid": "house"}, "no address of XMPP"),
        ({"server": "example.org"}, "no HOST:PORT"),
        ({"server": "example.org:99999"}, "no HOST:PORT"),
        ({"people": {"A b": PersonOptions(jid="a@b")}}, "is no name"),
        ({"people": {"a": PersonOptions(jid="a@b"), "c": PersonOptions(jid="A@b")}}, "there twice"),
    ],
)
def test_a_wrong_option_is_told(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        XmppOptions(**values)


def test_without_the_extra_it_says_how_to_get_it(monkeypatch: Any) -> None:
    monkeypatch.setattr(xmpp, "_HAS_EXTRA", False)
    needs = {"state_mb": 8, "threads": 4, "secrets": [{"name": "password", "why": "a test"}]}
    with running_sync(xmpp.Xmpp, options={"jid": OWN}, needs=needs, secrets={"password": b"x"}) as made:
        with pytest.raises(Unavailable, match=r"pip install 'tlsrt\[xmpp\]'"):
            made.call("people")
        assert "pip install" in (made.run(made.component.healthy()) or "")


def test_the_place_of_the_server() -> None:
    assert XmppOptions(jid="house@example.org").place == ("example.org", 5222)
    assert XmppOptions(jid="house@example.org", direct_tls=True).place == ("example.org", 5223)
    assert XmppOptions(jid="house@example.org", server="[2001:db8::1]:5222").place == ("2001:db8::1", 5222)
    with pytest.raises(ValueError, match="no address of XMPP"):
        PersonOptions(jid="anna@example.org/telephone")
