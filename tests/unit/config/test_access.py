from __future__ import annotations

import pytest

from tlsrt.config.access import PolicyRule, matches, rights_of

COMPONENTS = ("primary/kernel", "secondary/store", "third/console", "third/io")


@pytest.mark.parametrize(
    ("pattern", "address", "expected"),
    [
        ("third/console", "third/console", True),
        ("third/*", "third/console", True),
        ("*/*", "client/admin", True),
        ("*/console", "third/console", True),
        ("third/*", "client/third", False),
        ("thir*/*", "third/console", False),  # a star is a whole name, never a part of one
        ("third/con*", "third/console", False),
        ("third", "third/console", False),
        ("", "third/console", False),
        ("client/*", "third/console", False),
    ],
)
def test_matches(pattern: str, address: str, expected: bool) -> None:
    assert matches(pattern, address) is expected


def test_what_no_line_allows_nobody_may() -> None:
    policy = (PolicyRule("third/io", "secondary/store", ("get",)), PolicyRule("third/console", "nobody/here", ("*",)))
    assert rights_of("third/console", policy, COMPONENTS) == {}


def test_lines_add_up_and_bring_describe() -> None:
    policy = (
        PolicyRule("third/*", "secondary/store", ("get",)),
        PolicyRule("third/console", "secondary/*", ("put",)),
        PolicyRule("third/console", "primary/kernel", ("*",)),
        PolicyRule("third/console", "primary/kernel", ("uname",)),
        PolicyRule("third/console", "third/io", ()),
    )
    assert rights_of("third/console", policy, COMPONENTS) == {
        "primary/kernel": ("*",),
        "secondary/store": ("describe", "get", "put"),
    }


def test_a_wildcard_gives_no_key_to_oneself() -> None:
    policy = (PolicyRule("*/*", "*/*", ("*",)), PolicyRule("third/*", "third/console", ("x",)))
    assert "third/console" not in rights_of("third/console", policy, COMPONENTS)
    itself = (PolicyRule("third/console", "third/console", ("x",)),)
    assert rights_of("third/console", itself, COMPONENTS) == {"third/console": ("describe", "x")}
