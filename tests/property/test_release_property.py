"""Release manifests and the boot token's pins: any bytes are the one text of what they say, or refused."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.config.boot_token import make_boot_token, parse_boot_token_untrusted
from tlsrt.config.publishers import Trust
from tlsrt.config.release import parse_release_untrusted, sign_release
from tlsrt.errors import ConfigError
from tlsrt.supervisor.cli.release_wheel import read_wheel

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
PATHS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)
FILES = st.dictionaries(PATHS, st.binary(min_size=32, max_size=32), min_size=1, max_size=5)
TEXT = sign_release(KEY, "tlsrt", "1.0", "2028-01-01", {"a/b.py": bytes(32), "a/c.py": bytes(32)}).encode()
TRUST = Trust({"a-b": (b"1" * 32, b"2" * 32), "tlsrt": (b"3" * 32,)}, {"a-b": "1.0", "tlsrt": "2.0rc1"})
TOKEN = make_boot_token(bytes(32), 5, {"config": bytes(32)}, trust=TRUST).encode()


@given(FILES)
def test_a_manifest_comes_back(files: dict[str, bytes]) -> None:
    made = sign_release(KEY, "tlsrt", "1.0", "2028-01-01", files)
    assert parse_release_untrusted(made.encode()) == made


@given(st.integers(0, len(TEXT)), st.integers(0, len(TEXT)), st.binary(max_size=40))
def test_a_changed_manifest_is_one_text_or_refused(begin: int, end: int, put: bytes) -> None:
    data = TEXT[:begin] + put + TEXT[end:]
    try:
        assert parse_release_untrusted(data).encode() == data
    except ConfigError:
        return


@given(st.integers(0, len(TOKEN)), st.integers(0, len(TOKEN)), st.binary(max_size=40))
def test_a_changed_boot_token_with_pins_is_one_text_or_refused(begin: int, end: int, put: bytes) -> None:
    data = TOKEN[:begin] + put + TOKEN[end:]
    try:
        assert parse_boot_token_untrusted(data).encode() == data
    except ConfigError:
        return


@given(st.binary(max_size=200))
def test_any_bytes_as_a_wheel_are_refused(data: bytes) -> None:
    with pytest.raises(ConfigError):
        read_wheel(data, "a.whl")
