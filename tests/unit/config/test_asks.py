"""The table of what a component asks for."""

from __future__ import annotations

from tlsrt.config.asks import asks_of, differences, rows_of

TREE = {
    "class": "kettle:Kettle",
    "process": "own",
    "health": {"every_s": 3},
    "needs": {
        "memory_mb": 64, "sys": True, "proc": False, "read": ["/srv/a", "/srv/b"],
        "egress": [{"to": ["192.0.2.7:443", "192.0.2.8:443"], "why": "the archive"}],
        "calls": [{"calls": ["fcntl"], "when": ["arg1 in F_GETLK"], "why": "locks"}],
        "hovercraft": [{"eels": 3, "why": "it is not judged yet"}],
    },
    "programs": {"ffmpeg": {"run": "/usr/bin/ffmpeg", "seconds": 60, "why": "it converts"}},
}  # fmt: skip


def test_the_most_dangerous_comes_first_and_what_is_unknown_before_all() -> None:
    asks = asks_of(TREE, {"secondary/store": ("get", "put")}, {"secondary/store": "its notes"})
    assert [(one.is_dangerous, one.kind, one.what, one.why) for one in asks] == [
        (True, "hovercraft", "3", "it is not judged yet"),
        (True, "programs", "ffmpeg: /usr/bin/ffmpeg, seconds 60", "it converts"),
        (True, "egress", "192.0.2.7:443 192.0.2.8:443", "the archive"),
        (True, "system calls", "fcntl, when arg1 in F_GETLK", "locks"),
        (False, "sys", "yes", ""),
        (False, "read", "/srv/a", ""),
        (False, "read", "/srv/b", ""),
        (False, "calls", "secondary/store: get, put", "its notes"),
        (False, "memory_mb", "64 MiB", ""),
    ]


def test_nothing_is_asked_for_by_a_component_that_only_says_what_it_is() -> None:
    assert asks_of({"class": "kettle:Kettle", "process": "shared", "needs": None}, {}, {}) == []


def test_rows_mark_what_is_dangerous() -> None:
    rows = rows_of(asks_of({"needs": {"write": [{"path": "/srv", "why": "puts"}], "memory_mb": 1}}, {}, {}))
    assert rows == [
        ("", "ASKS FOR", "WHAT", "WHY"), ("!", "write", "/srv", "puts"), ("", "memory_mb", "1 MiB", ""),
    ]  # fmt: skip


def test_a_difference_shows_what_is_new_and_what_is_gone() -> None:
    old = asks_of({"needs": {"memory_mb": 64, "sys": True}}, {}, {})
    new = asks_of({"needs": {"memory_mb": 64, "write": [{"path": "/srv", "why": "puts"}], "open_files": 3}}, {}, {})
    assert differences(old, old) == []
    assert differences(old, new)[1:] == [
        ("-", "sys", "yes", ""), ("!", "write", "/srv", "puts"), ("+", "open_files", "3", ""),
    ]  # fmt: skip


def test_the_hosts_network_and_kernel_files_are_one_row_each_with_their_reasons() -> None:
    needs = {"network": {"why": "shows them"}, "proc": {"shown": False}, "sys": {"why": "sensors"}, "disk_threads": 1}
    found = asks_of({"needs": {**needs, "read": [{"path": "/srv/a", "why": "shows it"}, {"path": "/srv/b"}]}}, {}, {})
    assert [(one.is_dangerous, one.kind, one.what, one.why) for one in found] == [
        (True, "network", "yes", "shows them"),
        (False, "sys", "yes", "sensors"),
        (False, "read", "/srv/a", "shows it"),
        (False, "read", "/srv/b", ""),
        (False, "disk_threads", "1", ""),
    ]
