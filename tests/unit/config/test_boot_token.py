"""The boot token: what it proves, and the sentence for each way in which it does not."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from tlsrt.config.boot_token import (
    HEAD_BYTES,
    MAX_SEAL,
    MAX_TOKEN_BYTES,
    check_boot_token,
    check_key_version,
    key_version_of,
    make_boot_token,
    parse_boot_token_untrusted,
)
from tlsrt.config.issuer_chain import PinnedIssuer, Statement
from tlsrt.errors import ConfigError

KEY = b"K" * 32
ENTRIES = {f"tlsrt/{name}.py": hashlib.sha256(name.encode()).digest() for name in "abc"}
TOKEN = make_boot_token(KEY, 4, ENTRIES)


def refused(entries: dict[str, bytes], key: bytes = KEY, minimum: int = 0) -> str:
    with pytest.raises(ConfigError) as caught:
        check_boot_token(key, TOKEN, entries, minimum)
    [sentence] = caught.value.problems
    return sentence


def test_the_text_is_as_the_page_says() -> None:
    lines = "".join(f"{digest.hex()} {name}\n" for name, digest in sorted(ENTRIES.items()))
    signed = b"tlsrt/boot/v1\0tlsrt-boot-token 2\nseal 4\n" + lines.encode()
    mac = hmac.new(KEY, signed, "sha256").hexdigest()
    assert TOKEN.encode().decode() == f"tlsrt-boot-token 2\nseal 4\nmac {mac}\n{lines}"


def test_good_token() -> None:
    assert parse_boot_token_untrusted(TOKEN.encode()) == TOKEN
    check_boot_token(KEY, TOKEN, dict(reversed(ENTRIES.items())), 4)


def test_the_order_of_a_measurement_does_not_matter() -> None:
    assert make_boot_token(KEY, 4, dict(reversed(ENTRIES.items()))).encode() == TOKEN.encode()


def test_what_changed_is_named() -> None:
    found = {**ENTRIES, "tlsrt/a.py": bytes(32), "tlsrt/x.py": bytes(32)}
    del found["tlsrt/b.py"]
    assert refused(found) == (
        "this host is not what was sealed: changed tlsrt/a.py, new tlsrt/x.py, missing tlsrt/b.py; "
        "if you intended that, run `tlsrt-supervisor seal`, else find out who did it "
        "(`tlsrt-supervisor seal --diff` names every file)"
    )


def test_at_most_ten_names() -> None:
    sentence = refused({**ENTRIES, **{f"new/{number:02}": bytes(32) for number in range(25)}})
    assert "new new/09 and 15 more; if you intended that" in sentence
    assert "new/10" not in sentence


def test_another_key_has_its_own_sentence() -> None:
    assert refused(ENTRIES, key=b"L" * 32).startswith(
        "the boot token was not made with this master_key, or was edited: "
    )


def test_a_roll_back_is_refused() -> None:
    assert refused(ENTRIES, minimum=5) == (
        "the boot token is a roll-back: its seal is 4, and this host has already run seal 5; "
        "put the newer boot token back, or run `tlsrt-supervisor seal`"
    )


def test_a_roll_back_cannot_be_hidden_by_editing_the_number() -> None:
    edited = parse_boot_token_untrusted(TOKEN.encode().replace(b"seal 4", b"seal 9"))
    with pytest.raises(ConfigError, match="or was edited"):
        check_boot_token(KEY, edited, ENTRIES, 5)


def test_an_edited_entry_does_not_pass_with_the_old_mac() -> None:
    text = TOKEN.encode().replace(ENTRIES["tlsrt/a.py"].hex().encode(), bytes(32).hex().encode())
    with pytest.raises(ConfigError, match="or was edited"):
        check_boot_token(KEY, parse_boot_token_untrusted(text), {**ENTRIES, "tlsrt/a.py": bytes(32)}, 0)


TEXT = TOKEN.encode()
LINES = TEXT.splitlines(keepends=True)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "its first line is not `tlsrt-boot-token 2`"),
        (TEXT.replace(b"token 2", b"token 3"), "its first line is not `tlsrt-boot-token 2`"),
        (TEXT[:-1], "its last line is cut off"),
        (TEXT[:-70], "its last line is cut off"),
        (LINES[0], "its seal number or MAC is not readable"),
        (LINES[0] + LINES[1], "its seal number or MAC is not readable"),
        (TEXT.replace(b"seal 4", b"seal 04"), "its seal number or MAC is not readable"),
        (TEXT.replace(b"seal 4", b"seal 0"), "its seal number or MAC is not readable"),
        (TEXT.replace(b"seal 4", b"seal -4"), "its seal number or MAC is not readable"),
        (TEXT.replace(b"seal 4", b"seal %d" % (MAX_SEAL + 1)), "its seal number or MAC is not readable"),
        (TEXT.replace(LINES[2], LINES[2].upper()), "its seal number or MAC is not readable"),
        (b"".join([*LINES[:4], LINES[5], LINES[4]]), "line 6 is out of order"),
        (b"".join([*LINES[:4], LINES[3], *LINES[4:]]), "line 5 is out of order"),
        (b"".join([*LINES[:4], b"\n", *LINES[4:]]), "line 5 is not readable"),
        (TEXT + b"x\n", "line 7 is not readable"),
        (TEXT + b"0" * MAX_TOKEN_BYTES, "it is larger than 8388608 bytes"),
    ],
)
def test_damaged(data: bytes, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_boot_token_untrusted(data)
    assert caught.value.problems == (
        f"the boot token is damaged, {why}: put it back from your backup or run `tlsrt-supervisor seal`",
    )


@pytest.mark.parametrize("seal", [0, -1, MAX_SEAL + 1])
def test_a_seal_number_out_of_range_is_not_written(seal: int) -> None:
    with pytest.raises(ConfigError, match="is out of range"):
        make_boot_token(KEY, seal, ENTRIES)


def test_every_flipped_bit_is_refused() -> None:
    for place in range(len(TEXT)):
        for bit in range(8):
            flipped = bytearray(TEXT)
            flipped[place] ^= 1 << bit
            with pytest.raises(ConfigError):
                check_boot_token(KEY, parse_boot_token_untrusted(bytes(flipped)), ENTRIES, 0)


CHAIN = tuple(Statement(old, PinnedIssuer(old + 1, bytes([old]) * 32), bytes([old]) * 64) for old in (1, 2))
ROTATED = make_boot_token(KEY, 5, ENTRIES, 3, CHAIN)


def test_a_token_of_a_rotated_key_says_so_under_its_mac() -> None:
    lines = "".join(f"successor {statement.encode().hex()}\n" for statement in CHAIN)
    lines += "".join(f"{digest.hex()} {name}\n" for name, digest in sorted(ENTRIES.items()))
    signed = b"tlsrt/boot/v1\0tlsrt-boot-token 2\nseal 5\nkey 3\n" + lines.encode()
    mac = hmac.new(KEY, signed, "sha256").hexdigest()
    text = f"tlsrt-boot-token 2\nseal 5\nkey 3\nmac {mac}\n{lines}".encode()
    assert ROTATED.encode() == text
    assert parse_boot_token_untrusted(text) == ROTATED
    check_boot_token(KEY, ROTATED, ENTRIES, 5)
    assert key_version_of(text[:HEAD_BYTES]) == 3
    assert key_version_of(TOKEN.encode()[:HEAD_BYTES]) == 1
    assert key_version_of(b"no token") == 1


@pytest.mark.parametrize("end", [0, 1, 2])
def test_the_head_that_names_the_key_fits_every_token(end: int) -> None:
    longest = make_boot_token(KEY, MAX_SEAL - end, ENTRIES, 2**32 - 1).encode()
    assert key_version_of(longest[:HEAD_BYTES]) == 2**32 - 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"key 3", b"key 2"),
        (b"key 3\n", b""),
        (b"key 3", b"key 03"),
        (b"key 3", b"key 4294967296"),
        (b"key 3", b"key 1"),
    ],
)
def test_a_changed_key_version_is_refused(old: bytes, new: bytes) -> None:
    with pytest.raises(ConfigError):
        check_boot_token(KEY, parse_boot_token_untrusted(ROTATED.encode().replace(old, new, 1)), ENTRIES, 0)


def test_successors_out_of_place_are_refused() -> None:
    lines = ROTATED.encode().split(b"\n")
    first, second = (place for place, line in enumerate(lines) if line.startswith(b"successor"))
    for order in ([*lines[:first], *lines[second:]], [*lines[:second], *lines[second + 1 :]]):
        with pytest.raises(ConfigError):
            check_boot_token(KEY, parse_boot_token_untrusted(b"\n".join(order)), ENTRIES, 0)
    later = [*lines[:second], lines[second + 1], lines[second], *lines[second + 2 :]]
    with pytest.raises(ConfigError, match="damaged"):
        parse_boot_token_untrusted(b"\n".join(later))


def test_the_token_of_a_key_that_was_replaced_is_a_roll_back() -> None:
    check_key_version(ROTATED, 3)
    with pytest.raises(ConfigError, match="belongs to master_key version 1, and this host has already run version 3"):
        check_key_version(TOKEN, 3)
