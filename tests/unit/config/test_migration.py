"""A migration keeps comments, order and meaning, or says why not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.config.load import parse_config
from tlsrt.config.migration import migrated, version_of
from tlsrt.errors import ConfigError

FILE = Path("/etc/tlsrt/tlsrt.yaml")
OLD = """\
# ${TLSRT_IN_A_COMMENT} stays
version:   1   # of the format
install: "00112233445566778899aabbccddeeff"
master_key: {provider: file, path: master.key}
boot_token: boot.token
door: {certificate: server.crt, key: server.key, client_ca: ca.crt}  # é

components:
  third/io:
    options:
      a: "${X} $${Y}"   # why
      b: ['${', {c: $x}]
      d: |
        ${Z} in a block
"""
NEW = (
    OLD.replace("version:   1 ", "version:   2 ")
    .replace('"${X} $${Y}"', '"$${X} $$${Y}"')
    .replace("'${'", "'$${'")
    .replace("${Z}", "$${Z}")
)


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("begins", [b"", b"\xef\xbb\xbf"])
def test_only_what_means_another_thing_now_changes(begins: bytes, ends: str) -> None:
    old, new = (begins + text.replace("\n", ends).encode() for text in (OLD, NEW))
    assert (version_of(old, FILE), version_of(new, FILE)) == (1, 2)
    assert migrated(old, FILE) == new
    before, after = parse_config(old, FILE), parse_config(new, FILE)
    assert before.components[4].options == after.components[4].options
    assert before.remarks and not after.remarks


def test_what_cannot_be_migrated_is_refused() -> None:
    escaped = OLD.replace('"${X} $${Y}"', r'"\x24{X}"').encode()
    with pytest.raises(ConfigError, match="11:10: X is not in the list"):
        migrated(escaped, FILE)
    fixed = OLD.replace("boot_token: boot.token", "boot_token: '${x}'").encode()
    with pytest.raises(ConfigError, match="no variable can stand in boot_token"):
        migrated(fixed, FILE)


def test_what_only_the_reader_in_c_takes_is_named_with_its_place() -> None:
    tab = OLD.replace("boot_token: boot.token", "boot_token:\tboot.token").encode()
    assert parse_config(tab, FILE).boot_token == FILE.parent / "boot.token"
    with pytest.raises(ConfigError, match=r"tlsrt.yaml:5:12: cannot be migrated: .*; write this in another way"):
        migrated(tab, FILE)


@given(st.text(alphabet="${}aX_ \n'\"\\é", max_size=20), st.sampled_from(["'", '"', "|"]))
def test_any_text_means_the_same_or_is_refused(text: str, quote: str) -> None:
    one_line = text.replace("\n", " ")
    said = {
        "'": "'" + one_line.replace("'", "''") + "'",
        '"': '"' + one_line.replace("\\", "\\\\").replace('"', '\\"') + '"',
        "|": "|\n        " + one_line.strip() + "x",
    }[quote]
    old = OLD.replace("'${'", said if quote != "|" else "y").replace("|\n        ${Z} in a block", said).encode()
    try:
        before = parse_config(old, FILE)
        new = migrated(old, FILE)
    except ConfigError:
        return
    assert parse_config(new, FILE).components[4].options == before.components[4].options
