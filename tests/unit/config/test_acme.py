"""The section `acme`."""

from __future__ import annotations

import pytest

from tlsrt.config.acme import AcmeConfig, Origin, check_table, parse_url


@pytest.mark.parametrize(
    ("text", "origin", "authority"),
    [
        ("https://CA.example.org/dir", Origin("ca.example.org", 443, "/dir"), "ca.example.org"),
        ("https://10.0.0.1:14000/dir?x", Origin("10.0.0.1", 14000, "/dir?x"), "10.0.0.1:14000"),
        ("https://[2001:db8::1]/d", Origin("2001:db8::1", 443, "/d"), "[2001:db8::1]"),
    ],
)
def test_where_an_url_leads(text: str, origin: Origin, authority: str) -> None:
    assert (parse_url(text), parse_url(text).authority) == (origin, authority)


@pytest.mark.parametrize(
    "text",
    [
        "http://ca.example.org/dir", "https://ca.example.org", "https://u@ca.example.org/", "https://ca.example.org:0/",
        "https://ca.example.org:70000/", "https://ca.example.org/a b", "https://ca.example.org/\r\nX: y", "",
        "https://[::x]/", "https://-ca/dir",
    ],
)  # fmt: skip
def test_what_is_no_url(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_url(text)


def test_the_name_of_the_directory_is_a_rule_of_its_own_and_an_address_none() -> None:
    rule = AcmeConfig(directory="https://ca.example.org/dir").rule
    assert rule is not None and str(rule) == "ca.example.org:443"
    assert AcmeConfig(directory="https://10.0.0.1/dir").rule is None
    assert AcmeConfig().origin is None and AcmeConfig().rule is None
    assert AcmeConfig(http_listen="[::]:80").http_place == ("::", 80)


def test_terms_have_to_be_agreed_to() -> None:
    assert "agree: true" in check_table({"directory": "https://ca.example.org/dir"})
    assert not check_table({"directory": "https://ca.example.org/dir", "agree": True})
    assert not check_table({})
