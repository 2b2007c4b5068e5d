"""Whatever bytes a file holds, the configuration room parses them or says ConfigError (PeerError for a peer's)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificate
from hypothesis import given, settings
from hypothesis import strategies as st

from tlsrt.config import pki
from tlsrt.config.boot_token import check_boot_token, make_boot_token, parse_boot_token_untrusted
from tlsrt.config.bundle import Bundle, encode_bundle, parse_bundle_untrusted
from tlsrt.config.document import ConfigFiles
from tlsrt.config.key_providers import check_master_key
from tlsrt.config.load import parse_config, parse_files
from tlsrt.config.schema import FILE, Config
from tlsrt.config.setting import Setting, keys_of
from tlsrt.errors import ConfigError, PeerError

PATH = Path("/x/tlsrt.yaml")
BASE = (
    'version: 2\ninstall: "' + "ab" * 16 + '"\nmaster_key: {provider: file, path: k}\nboot_token: b\n'
    "door: {certificate: c, key: k, client_ca: a}\n"
)
LISTED = "environment: {TLSRT_A: any words}\n"
INSTALL = bytes(16)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
DER = load_pem_x509_certificate(
    pki.issue_client(pki.make_ca(INSTALL, NOW), INSTALL, "admin", NOW).certificate_pem
).public_bytes(Encoding.DER)

names = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=20)
entries = st.dictionaries(names, st.binary(min_size=32, max_size=32), max_size=8)
pieces = st.sampled_from(
    ["a", "third/io", "policy", "loops", "door", ": ", ":", "\n", "  ", "- ", "[", "]", "{", "}", ",", "&a", "*a",
     "!!x", "'", '"', "|", ">", "# ", "1", "1.5", "true", "null", "~", "->", "*", "<<", "---", "...", "%YAML 1.1", "\t",
     "\x00", "é", "\ud7ff", "?", "!", "0x1f", "2024-01-01", "\\", "\ufeff", "\x85", "class", "options"]
)  # fmt: skip


def parsed(data: bytes) -> Config | None:
    try:
        return parse_config(data, PATH)
    except ConfigError as error:
        problems = error.problems
    assert problems
    assert all(line.startswith(f"{PATH}:") and "\n" not in line for line in problems)
    return None


@given(st.binary(max_size=200))
def test_any_bytes_as_configuration(data: bytes) -> None:
    parsed(data)


@settings(max_examples=300)
@given(st.lists(pieces, max_size=30).map("".join))
def test_any_yaml_like_text_after_a_good_start(text: str) -> None:
    parsed(text.encode("utf-8", "surrogatepass"))
    parsed((BASE + text).encode("utf-8", "surrogatepass"))


@settings(max_examples=300)
@given(st.lists(pieces, max_size=30).map("".join), st.lists(pieces, max_size=30).map("".join), st.text(max_size=20))
def test_any_drop_ins_and_any_environment(first: str, second: str, value: str) -> None:
    texts = {"a.yaml": f"{LISTED}{first}", "b.yaml": f"audit: {{keep_mb: '${{TLSRT_A}}'}}\n{second}"}
    files = {name: text.encode("utf-8", "surrogatepass") for name, text in texts.items()}
    try:
        config = parse_files(ConfigFiles(BASE.encode(), files, environment={"TLSRT_A": value}), PATH)
    except ConfigError as error:
        problems = error.problems
    else:
        assert config.variables == {"TLSRT_A": value} and config.audit.keep_mb == int(value)
        return
    assert problems
    assert all(line.startswith((f"{PATH}:", f"{PATH}.d/")) and "\n" not in line for line in problems)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


def shaped(setting: Setting) -> st.SearchStrategy[object]:
    """Values that nearly fit a setting, so that the checks behind the first one are reached."""
    if setting.table:
        optional = {name: shaped(key.setting) for name, key in keys_of(setting.table).items()}
        return st.fixed_dictionaries({}, optional=optional) | plain
    if setting.kind == "map" and setting.item:
        keys = st.sampled_from(["third", "ape", "third/io", "ape/x", "client/a -> third/io", "a"]) | names
        return st.dictionaries(keys, shaped(setting.item), max_size=3)
    if setting.kind == "list" and setting.item:
        return st.lists(shaped(setting.item), max_size=3) | st.just("*")
    return plain | st.sampled_from([*setting.choices, "a:B", "127.0.0.1", 100, "warn", "ab" * 32])


@settings(max_examples=300)
@given(shaped(FILE))
def test_any_tree_as_configuration(tree: object) -> None:
    parsed(json.dumps(tree).encode())


@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda data: b"tlsrt-boot-token 1\nseal 1\n" + data))
def test_any_bytes_as_boot_token(data: bytes) -> None:
    try:
        token = parse_boot_token_untrusted(data)
    except ConfigError:
        return
    assert token.encode() == data


@given(st.binary(min_size=32, max_size=32), st.integers(1, 2**53 - 1), entries)
def test_a_boot_token_comes_back(key: bytes, seal: int, found: dict[str, bytes]) -> None:
    token = parse_boot_token_untrusted(make_boot_token(key, seal, found).encode())
    check_boot_token(key, token, found, seal)


@given(entries, entries, st.data())
def test_a_boot_token_fits_one_measurement_and_one_key(
    sealed: dict[str, bytes], found: dict[str, bytes], data: st.DataObject
) -> None:
    key = bytes(32)
    flipped = bytearray(make_boot_token(key, 5, sealed).encode())
    place = data.draw(st.integers(0, len(flipped) - 1))
    flipped[place] ^= 1 << data.draw(st.integers(0, 7))
    for text, wanted in ((bytes(flipped), sealed), (make_boot_token(key, 5, sealed).encode(), found)):
        try:
            check_boot_token(key, parse_boot_token_untrusted(text), wanted, 0)
        except ConfigError:
            continue
        assert wanted == sealed and text != bytes(flipped)


@given(st.binary(max_size=200))
def test_any_bytes_as_bundle(data: bytes) -> None:
    try:
        parse_bundle_untrusted(data, "F")
    except ConfigError:
        return
    raise AssertionError("random bytes are no bundle")


@given(names, names, st.integers(0, 65535), st.binary(min_size=32, max_size=32))
def test_a_bundle_comes_back(name: str, host: str, port: int, issuer: bytes) -> None:
    bundle = Bundle(1, INSTALL, name, host, port, host, b"a\n", b"b\n", b"c\n", issuer)
    assert parse_bundle_untrusted(encode_bundle(bundle), "F") == bundle


@given(st.binary(max_size=100))
def test_any_bytes_as_master_key(key: bytes) -> None:
    try:
        check_master_key(key, b"mac " + key.hex().encode() + b"\n")
    except ConfigError:
        return
    raise AssertionError("its MAC line names the key, or it is too short")


@given(st.binary(max_size=300))
def test_any_bytes_as_client_certificate(data: bytes) -> None:
    try:
        pki.subject_of_client_certificate(data, INSTALL)
    except PeerError:
        return
    raise AssertionError("random bytes are no certificate")


@settings(max_examples=500)
@given(st.integers(0, len(DER) - 1), st.integers(1, 255))
def test_a_damaged_client_certificate_names_the_same_client_or_nobody(place: int, flip: int) -> None:
    data = bytearray(DER)
    data[place] ^= flip
    try:
        subject = pki.subject_of_client_certificate(bytes(data), INSTALL)
    except PeerError:
        return
    assert subject.startswith("client/")
