"""`deception` in a configuration: the usual decoys, the operator's own, and what cannot be one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlsrt.config.deception import COMPONENTS, METHODS, EndpointConfig
from tlsrt.config.load import parse_config
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError

FILE = """\
version: 1
install: "0123456789abcdef0123456789abcdef"
master_key: {provider: file, path: master.key}
boot_token: boot.token
door: {certificate: server.crt, key: server.key, client_ca: ca.crt}
"""


def load(*lines: str) -> Config:
    return parse_config((FILE + "\n".join(lines) + "\n").encode(), Path("/t.yaml"))


def test_without_a_word_there_are_the_usual_ones() -> None:
    config = load()
    assert config.deception.components == COMPONENTS and config.deception.methods == METHODS


def test_what_becomes_real_is_no_usual_decoy_any_more() -> None:
    config = load("components: {secondary/vault: {class: 'a:B'}, third/io: {class: 'a:B'}, forth/power: null}")
    assert set(COMPONENTS) - set(config.deception.components) == {"secondary/vault"}
    assert {address for address, _ in set(METHODS) - set(config.deception.methods)} == {"third/io", "forth/power"}


def test_an_operator_names_others_or_none() -> None:
    config = load("deception: {components: [third/safe], methods: {secondary/store: [drop, wipe]}}")
    assert config.deception.components == ("third/safe",)
    assert config.deception.methods == (("secondary/store", "drop"), ("secondary/store", "wipe"))
    nothing = load("deception: {components: [], methods: {}}").deception
    assert not nothing.components and not nothing.methods


def test_an_endpoint_and_files_only_if_they_are_named() -> None:
    assert load().deception.endpoint is None and load().deception.files == ()
    config = load("deception: {endpoint: {host: '::1', port: 8443}, files: [x, /y], watch_files: false, paths: [/old]}")
    assert config.deception.endpoint == EndpointConfig("::1", 8443)
    assert config.deception.files == (Path("/x"), Path("/y")) and config.deception.paths == ("/old",)
    assert not config.deception.watch_files


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("components: [secondary/store]", "secondary/store is a real component, so it cannot be a decoy"),
        ("components: [client/root]", "client/root is a client, which cannot be called"),
        ("components: [vault]", "must be a component address"),
        ("methods: {secondary/stores: [dump]}", "there is no component secondary/stores, did you mean secondary/store"),
        ("methods: {secondary/store: []}", "secondary/store must be from 1 to 64 entries"),
        ("names: []", "unknown key 'names'"),
        ("paths: [/v1/call]", "a path outside of /v1"),
        ("endpoint: {host: 1.2.3, port: 1}", "does not appear to be an IPv4 or IPv6 address"),
        ("endpoint: {host: 127.0.0.1}", "deception.endpoint.port is missing"),
    ],
)
def test_what_cannot_be_a_decoy(line: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load(f"deception: {{{line}}}")
