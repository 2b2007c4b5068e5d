"""Name servers: what a configuration and the host's own files say of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.config.resolver import NameServer, parse_hosts, parse_resolv_conf, parse_server, render_hosts


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("192.168.1.1", NameServer("192.168.1.1")),
        ("127.0.0.1:5353", NameServer("127.0.0.1", 5353)),
        ("2001:db8::1", NameServer("2001:db8::1")),
        ("[2001:db8::1]:5353", NameServer("2001:db8::1", 5353)),
    ],
)
def test_a_server_is_read_and_shown_alike(text: str, server: NameServer) -> None:
    assert parse_server(text) == server and parse_server(str(server)) == server


@pytest.mark.parametrize("text", ["dns.example", "192.168.1.1:0", "192.168.1.1:70000", "1.2.3", "", "1.2.3.4:x"])
def test_what_is_no_server_is_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"name server|IPv4"):
        parse_server(text)


def test_a_resolv_conf_is_read_as_the_c_library_does() -> None:
    text = b"""# a comment
search example.org
nameserver 192.0.2.1 ; the first
nameserver fe80::1%eth0
nameserver not-an-address
nameserver 192.0.2.2
nameserver 192.0.2.3
options timeout:2 attempts:9 edns0 rotate
"""
    asking = parse_resolv_conf(text)
    assert asking.servers == (NameServer("192.0.2.1"), NameServer("fe80::1", scope="eth0"), NameServer("192.0.2.2"))
    assert (asking.wait_s, asking.attempts) == (2.0, 5)
    assert [asking.turn(number) for number in (0, 3, 14)] == [asking.servers[0], asking.servers[0], asking.servers[2]]
    assert asking.turn(15) is None


def test_without_a_server_the_host_itself_is_asked() -> None:
    assert parse_resolv_conf(b"").servers == (NameServer("127.0.0.1"),)


def test_a_hosts_file_has_what_is_pinned_first_and_the_rest_of_the_host() -> None:
    host = b"127.0.0.1 localhost broker.lan # home\n::1 localhost\n10.0.0.9 Broker.LAN\nwrong line\n"
    assert parse_hosts(host)["broker.lan"] == (b"\x7f\0\0\1", b"\x0a\0\0\x09")
    made = render_hosts(host, [("broker.lan", b"\xc0\xa8\1\7")])
    assert parse_hosts(made)["broker.lan"] == (b"\xc0\xa8\1\7",)
    assert len(parse_hosts(made)["localhost"]) == 2


@given(st.binary(max_size=300))
def test_any_bytes_are_files_of_some_kind(data: bytes) -> None:
    assert parse_resolv_conf(data).servers
    parse_hosts(render_hosts(data, [("a.example", bytes(4))]))
