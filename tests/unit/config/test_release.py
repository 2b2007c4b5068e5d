"""Signed releases: what a manifest proves, and each attack on an upgrade with its one sentence."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import date

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tlsrt.config.acceptance import Acceptance, check_acceptance, versions_in
from tlsrt.config.boot_token import check_boot_token, make_boot_token, parse_boot_token_untrusted
from tlsrt.config.publishers import NO_TRUST, Trust
from tlsrt.config.release import Release, check_release, parse_release_untrusted, sign_release
from tlsrt.errors import ConfigError

PUBLISHER = Ed25519PrivateKey.from_private_bytes(b"p" * 32)
STRANGER = Ed25519PrivateKey.from_private_bytes(b"s" * 32)
PUBLIC = PUBLISHER.public_key().public_bytes_raw()
TODAY = date(2027, 1, 1)
EXPIRES = "2028-01-01"
NOTHING = hashlib.sha256(b"").digest()


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def package(version: str) -> dict[str, bytes]:
    names = ("__init__.py", "errors.py", "loops/gate/gate.py")
    return {f"tlsrt/{name}": digest(f"{version} {name}") for name in names}


def wheel(version: str) -> dict[str, bytes]:
    return {**package(version), f"tlsrt-{version}.dist-info/METADATA": digest(version)}


def measured(version: str, **more: bytes) -> dict[str, bytes]:
    others = {"dep/zmq/a.py": digest("zmq"), "version/pyzmq/27.0/dep/zmq": digest("METADATA"), "config": digest("c")}
    return {**package(version), f"version/tlsrt/{version}/tlsrt": NOTHING, **others, **more}


def signed(version: str, key: Ed25519PrivateKey = PUBLISHER, **change: str) -> Release:
    values = {"package": "tlsrt", "version": version, "expires": EXPIRES, **change}
    return sign_release(key, values["package"], values["version"], values["expires"], wheel(version))


OLD, NEW = measured("0.1.0"), measured("0.2.0", bytecode=digest("compiled"))
TRUST = Trust({"tlsrt": (PUBLIC,)}, {"tlsrt": "0.1.0"})


def accept(
    found: Mapping[str, bytes], *words: str, release: Release | None = None, trust: Trust = TRUST,
    sealed: Mapping[str, bytes] | None = OLD, downgrade: bool = False,
) -> list[str]:  # fmt: skip
    named = Acceptance.of(words, downgrade=downgrade)
    releases = {} if release is None else {"tlsrt": parse_release_untrusted(release.encode())}
    asked = Acceptance(named.versions, named.names, named.is_all, downgrade, releases)
    return check_acceptance(sealed, found, trust, asked, TODAY)


def refused(found: Mapping[str, bytes], *words: str, **more: object) -> str:
    with pytest.raises(ConfigError) as caught:
        accept(found, *words, **more)  # type: ignore[arg-type]
    [sentence] = caught.value.problems
    return sentence


def test_an_upgrade_that_its_publisher_has_signed_is_accepted() -> None:
    [line] = accept(NEW, "tlsrt==0.2.0", release=signed("0.2.0"))
    assert line == f"tlsrt 0.2.0, 3 files as signed by {PUBLIC.hex()[:16]}"


@pytest.mark.parametrize("change", ["changed", "new", "missing"])
def test_a_file_that_is_not_the_signed_one_is_named(change: str) -> None:
    found = dict(NEW)
    if change == "missing":
        del found["tlsrt/errors.py"]
    else:
        found["tlsrt/errors.py" if change == "changed" else "tlsrt/evil.py"] = digest("evil")
    name = "evil" if change == "new" else "errors"
    said = refused(found, "tlsrt==0.2.0", release=signed("0.2.0"))
    assert said.startswith(f"tlsrt 0.2.0 is not what its publisher has signed: {change} tlsrt/{name}.py;")


ATTACKS: dict[str, tuple[Release | None, str]] = {
    "no manifest": (None, "tlsrt 0.2.0 has no release manifest, and its publisher is pinned"),
    "an older manifest again": (signed("0.1.0"), "the manifest is of tlsrt 0.1.0, not of 0.2.0"),
    "of another publisher": (signed("0.2.0", STRANGER), "which is not pinned for tlsrt"),
    "of another package": (signed("0.2.0", package="kettle"), "the manifest is of kettle, not of tlsrt"),
    "expired": (signed("0.2.0", expires="2026-12-31"), "has expired on 2026-12-31"),
    "a stranger's signature under the publisher's key": (
        Release("tlsrt", "0.2.0", EXPIRES, PUBLIC, wheel("0.2.0"), signed("0.2.0", STRANGER).signature),
        "the signature of the manifest does not fit",
    ),
    "a later day": (
        Release("tlsrt", "0.2.0", "2099-01-01", PUBLIC, wheel("0.2.0"), signed("0.2.0").signature),
        "the signature of the manifest does not fit",
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_another_manifest_is_refused(attack: str) -> None:
    release, words = ATTACKS[attack]
    assert words in refused(NEW, "tlsrt==0.2.0", release=release)


def test_an_older_version_takes_a_word_also_where_it_is_signed_and_the_highest_stays() -> None:
    trust = TRUST.after({"tlsrt": (PUBLIC.hex(),)}, {"tlsrt": "0.2.0"})
    said = refused(OLD, "tlsrt==0.1.0", release=signed("0.1.0"), trust=trust, sealed=NEW)
    assert said.startswith("tlsrt 0.1.0 is older than 0.2.0, which this host has run")
    assert accept(OLD, "tlsrt==0.1.0", release=signed("0.1.0"), trust=trust, sealed=NEW, downgrade=True)
    assert trust.after({}, {"tlsrt": "0.1.0"}).highest == {"tlsrt": "0.2.0"}
    assert accept({**OLD, "config": digest("d")}, trust=trust) == [], "asked once"
    between = measured("0.1.9")
    assert "older than 0.2.0" in refused(between, "tlsrt==0.1.9", release=signed("0.1.9"), trust=trust)


def test_what_is_not_named_is_not_accepted_along_with_it() -> None:
    more = {"dep/zmq/a.py": digest("evil"), "site/evil.pth": digest("evil"), "config": digest("d")}
    said = refused({**NEW, **more}, "tlsrt==0.2.0", release=signed("0.2.0"))
    assert said.startswith("more differs than you accept: config, dep/zmq/a.py, site/evil.pth; name that, too")
    lines = accept({**NEW, **more}, "tlsrt==0.2.0", "config", "pyzmq==27.0", "site", release=signed("0.2.0"))
    assert lines[0] == "pyzmq 27.0 by its name only: no publisher of it is pinned"


def test_a_plain_seal_accepts_no_change_of_a_pinned_package_and_any_other() -> None:
    assert "run `tlsrt-supervisor seal --accept tlsrt==0.2.0`" in refused(NEW)
    assert "run `tlsrt-supervisor seal --accept tlsrt==0.1.0`" in refused({**OLD, "tlsrt/errors.py": digest("evil")})
    assert "--accept" in refused(OLD, sealed=None), "a lost boot token is no way around it"
    assert accept(OLD, "tlsrt==0.1.0", sealed=None, release=signed("0.1.0"))
    assert accept({**OLD, "dep/zmq/a.py": digest("other")}) == []
    assert accept(NEW, trust=NO_TRUST) == []


def test_a_second_copy_of_a_package_hides_no_file() -> None:
    """A component's own folder of packages may hold the same package: each copy must be the signed one."""
    copy = {f"isolated/kettle/{name}": value for name, value in package("0.2.0").items()}
    found = {**NEW, **copy, "version/tlsrt/0.2.0/isolated/kettle/tlsrt": NOTHING}
    sealed = {**OLD, **copy}
    assert accept(found, "tlsrt==0.2.0", "isolated/kettle", release=signed("0.2.0"), sealed=sealed)
    found["isolated/kettle/tlsrt/errors.py"] = digest("evil")
    assert "changed tlsrt/errors.py" in refused(found, "tlsrt==0.2.0", release=signed("0.2.0"), sealed=sealed)


def kettle(version: str, *places: str, of: str = "third-kettle") -> dict[str, bytes]:
    files = {f"{place}/__init__.py": digest(f"{version} {place}") for place in places}
    return {**OLD, **files, **{f"version/{of}/{version}/{place}": NOTHING for place in places}}


PINNED = Trust({"third-kettle": (PUBLIC,)}, {})


def test_a_pinned_package_that_loses_its_name_to_another_is_not_sealed() -> None:
    """RECORD says which package a folder is of, and is not signed: another may list the folder of the pinned one."""
    sealed, taken = kettle("1.0", "dep/kettle"), kettle("1.1", "dep/kettle", of="aaa-lib")
    for words in ((), ("aaa-lib==1.1",), ("aaa-lib==1.1", "dep/kettle")):
        said = refused(taken, *words, trust=PINNED, sealed=sealed)
        assert said.startswith("dep/kettle was sealed as a part of third-kettle, whose publisher is pinned")
    assert accept(OLD, trust=PINNED, sealed=sealed) == [], "removed with its component"


def test_a_folder_that_a_pinned_package_does_not_name_any_more_is_not_accepted_with_it() -> None:
    sealed = kettle("1.0", "dep/a", "dep/b")
    found = {**kettle("1.1", "dep/a"), "dep/b/__init__.py": digest("evil")}
    files = {"a/__init__.py": found["dep/a/__init__.py"], "kettle-1.1.dist-info/METADATA": digest("m")}
    found["version/third-kettle/1.1/dep/a"] = digest("m")
    release = sign_release(PUBLISHER, "third-kettle", "1.1", EXPIRES, files)
    asked = Acceptance({"third-kettle": "1.1"}, (), False, False, {"third-kettle": release})
    with pytest.raises(ConfigError, match="dep/b was sealed as a part of third-kettle"):
        check_acceptance(sealed, found, PINNED, asked, TODAY)
    assert "more differs than you accept: dep/b" in refused(found, "third-kettle==1.1", trust=NO_TRUST, sealed=sealed)
    del found["dep/b/__init__.py"]
    assert check_acceptance(sealed, found, PINNED, asked, TODAY)


def test_a_components_package_does_not_speak_for_tlsrt() -> None:
    found = {**NEW, "version/tlsrt/999/isolated/third.kettle/kettle": NOTHING}
    assert versions_in(found)["tlsrt"] == "0.2.0"
    trust = Trust({}, {"tlsrt": "0.2.0"})
    older = {**OLD, "version/tlsrt/999/isolated/third.kettle/kettle": NOTHING}
    assert refused(older, sealed=found, trust=trust).startswith("tlsrt 0.1.0 is older than 0.2.0")


def test_a_package_in_two_versions_is_accepted_where_the_other_one_is_as_it_was_sealed() -> None:
    own = "isolated/third.tea/kettle"
    copy = {f"{own}/__init__.py": digest("0.9"), f"version/third-kettle/0.9/{own}": NOTHING}
    sealed, found = {**kettle("1.0", "dep/kettle"), **copy}, {**kettle("1.1", "dep/kettle"), **copy}
    found["version/third-kettle/1.1/dep/kettle"] = digest("m")
    files = {"kettle/__init__.py": found["dep/kettle/__init__.py"], "kettle-1.1.dist-info/METADATA": digest("m")}
    release = sign_release(PUBLISHER, "third-kettle", "1.1", EXPIRES, files)
    asked = Acceptance({"third-kettle": "1.1"}, (), False, False, {"third-kettle": release})
    assert versions_in(found)["third-kettle"] == "1.1"
    assert check_acceptance(sealed, found, PINNED, asked, TODAY) == [
        f"third-kettle 1.1, 1 files as signed by {PUBLIC.hex()[:16]}"
    ]
    found[f"{own}/__init__.py"] = digest("evil")
    with pytest.raises(ConfigError, match=r"third-kettle 0\.9, 1\.1 is installed, not 1.1: nothing was accepted"):
        check_acceptance(sealed, found, PINNED, asked, TODAY)


def test_a_version_that_is_not_installed_or_not_there_is_refused() -> None:
    assert refused(NEW, "tlsrt==0.3.0", release=signed("0.3.0")) == (
        "tlsrt 0.2.0 is installed, not 0.3.0: nothing was accepted"
    )
    assert "no package kettle is measured" in refused(NEW, "kettle==1.0")
    with pytest.raises(ConfigError, match="is no NAME==VERSION"):
        Acceptance.of(("tlsrt==",), downgrade=False)


def test_every_shorter_or_changed_text_is_refused() -> None:
    text = signed("0.2.0").encode()
    for length in range(len(text)):
        with pytest.raises(ConfigError):
            check_release(parse_release_untrusted(text[:length]), [PUBLIC], "tlsrt", "0.2.0", TODAY)
    for place in range(0, len(text), 3):
        other = text[:place] + bytes([text[place] ^ 1]) + text[place + 1 :]
        with pytest.raises(ConfigError):
            check_release(parse_release_untrusted(other), [PUBLIC], "tlsrt", "0.2.0", TODAY)
    check_release(parse_release_untrusted(text), [PUBLIC], "tlsrt", "0.2.0", TODAY)


def test_there_is_one_text_for_a_manifest() -> None:
    release = signed("0.2.0")
    assert parse_release_untrusted(release.encode()) == release
    swapped = release.encode().splitlines(keepends=True)
    swapped[-1], swapped[-2] = swapped[-2], swapped[-1]
    with pytest.raises(ConfigError, match="out of order"):
        parse_release_untrusted(b"".join(swapped))
    with pytest.raises(ConfigError, match="other characters than ASCII"):
        sign_release(PUBLISHER, "tlsrt", "1", EXPIRES, {"tlsrt/\xe4.py": bytes(32)})


def test_the_boot_token_keeps_pins_and_the_highest_version_and_vouches_for_them() -> None:
    key = b"k" * 32
    two = Trust({"kettle": (b"a" * 32, b"b" * 32), "tlsrt": (PUBLIC,)}, {"kettle": "1.0", "tlsrt": "0.2.0"})
    token = make_boot_token(key, 3, OLD, trust=two)
    text = token.encode()
    assert parse_boot_token_untrusted(text) == token
    assert f"\npublisher tlsrt {PUBLIC.hex()}\nhighest kettle 1.0\nhighest tlsrt 0.2.0\n".encode() in text
    for other in (text.replace(b"highest tlsrt 0.2.0\n", b""), text.replace(b"0.2.0", b"0.1.0")):
        with pytest.raises(ConfigError, match="was edited"):
            check_boot_token(key, parse_boot_token_untrusted(other), OLD, 0)
    with pytest.raises(ConfigError, match="out of order"):
        parse_boot_token_untrusted(
            text.replace(b"highest kettle 1.0\nhighest tlsrt 0.2.0", b"highest tlsrt 0.2.0\nhighest kettle 1.0")
        )
