"""Where the log may be sent: one address each, over TLS unless it is this host."""

from __future__ import annotations

from dataclasses import fields
from ipaddress import ip_network

import pytest

from tlsrt.config.collectors import (
    CollectorKind,
    OtlpConfig,
    SyslogConfig,
    TracesConfig,
    check_endpoint,
    check_syslog,
    check_traces,
    parse_address,
    parse_endpoint,
)


def test_places() -> None:
    assert parse_address("192.0.2.7") == ("192.0.2.7", 6514) and parse_address("[2001:db8::1]:7") == ("2001:db8::1", 7)
    assert parse_endpoint("https://192.0.2.7/base/") == ("192.0.2.7", 4318, "/base", True)
    assert parse_endpoint("http://127.0.0.1:99") == ("127.0.0.1", 99, "", False)
    [one] = OtlpConfig(endpoint="http://[::1]").collectors
    assert (one.kind, one.place, one.path, one.name) == (CollectorKind.OTLP_LOGS, "[::1]:4318", "/v1/logs", "")
    [one] = SyslogConfig(address="192.0.2.7").collectors
    assert (one.place, one.name, one.rule) == ("192.0.2.7:6514", "192.0.2.7", None)


def test_a_name_is_asked_for_by_a_rule_with_its_port_alone() -> None:
    near = (ip_network("10.1.0.0/16"),)
    [one] = SyslogConfig(address="Logs.example.org", within=near).collectors
    assert (one.place, one.name) == ("logs.example.org:6514", "logs.example.org")
    assert one.rule is not None and str(one.rule) == "logs.example.org:6514"
    assert one.rule.may_be(bytes((10, 1, 0, 9))) and not one.rule.may_be(bytes((127, 0, 0, 1)))
    [one] = TracesConfig(endpoint="https://otel.example.org/base", name="other.example.org").collectors
    assert (one.place, one.name, one.path) == ("otel.example.org:4318", "other.example.org", "/base/v1/traces")
    assert one.rule is not None and not one.rule.may_be(bytes((10, 1, 0, 9)))
    all_three = (
        *SyslogConfig(address="a.example").collectors, *OtlpConfig(endpoint="https://a.example").collectors,
        *TracesConfig(endpoint="https://a.example").collectors,
    )  # fmt: skip
    assert [one.number for one in all_three] == [0, 1, 2]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("http://192.0.2.7", "has no TLS"), ("http://localhost", "has no TLS"), ("192.0.2.7", "no endpoint"),
        ("https://u:p@192.0.2.7", "more than a host"), ("https://192.0.2.7?x=1", "more than a host"),
        ("https://192.0.2.7/\r\nX: y", "more than a host"), ("https://192.0.2.7:99999", "no port"),
        ("https://*.example.org", "names each host"), ("https://logs..example.org", "no name of a host"),
        ("https://1.2.3", "read as an address"), ("https://", "no name of a host"),
    ],
)  # fmt: skip
def test_another_place_is_refused_with_one_sentence(said: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_endpoint(said)


@pytest.mark.parametrize(
    ("name", "is_good"),
    [
        ("logs.example.org", True), ("a" * 63 + ".example", True), ("192.0.2.7", True), ("2001:db8::1", True),
        ("", True),
        (".example.org", False), ("logs..example.org", False), ("a" * 64, False), ("a\0b", False), ("a b", False),
        ("-a.example", False), ("\u00e4.example", False), ("logs.example.org\n", False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", [SyslogConfig, OtlpConfig, TracesConfig])
def test_a_name_is_one_that_tls_can_ask_for(
    kind: type[SyslogConfig | OtlpConfig | TracesConfig], name: str, is_good: bool
) -> None:
    [setting] = [one for one in fields(kind) if one.name == "name"]
    if is_good:
        assert setting.metadata["setting"].parse(name) == name
    else:
        with pytest.raises(ValueError, match="neither a name such as"):
            setting.metadata["setting"].parse(name)


def test_a_collector_with_tls_is_known_by_a_ca() -> None:
    assert "add `ca: FILE`" in check_syslog({"address": "192.0.2.7"})
    assert "say both" in check_syslog({"address": "192.0.2.7", "ca": "x", "key": "y"})
    assert "add `ca: FILE`" in check_endpoint({"endpoint": "https://192.0.2.7"})
    assert "add `endpoint:" in check_traces({"ratio": 1}) and check_traces({}) == ""
    assert check_endpoint({"endpoint": "http://127.0.0.1"}) == "" == check_syslog({"address": "a", "ca": "x"})
