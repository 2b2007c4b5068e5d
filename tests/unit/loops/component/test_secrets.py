"""The secrets of a component in its process."""

from __future__ import annotations

import pytest

from tlsrt.config.secrets import SecretId, seal_secret
from tlsrt.errors import MisuseError
from tlsrt.loops.component.secrets import ComponentSecrets

INSTALL, KEY = b"i" * 16, b"k" * 32


def sealed(name: str, value: bytes, version: int = 1) -> bytes:
    return seal_secret(KEY, SecretId(INSTALL, "third/kettle", name, version), value, b"n" * 12)


def test_they_are_open_once_the_key_has_come_and_no_other_counts() -> None:
    secrets = ComponentSecrets("third/kettle", ["broker"], {"broker": {1: sealed("broker", b"x"), 2: b"old"}})
    assert "set it with `tlsrt-supervisor secret set third/kettle broker`" in secrets.problem()
    secrets.take_key(INSTALL, 3, KEY)
    assert secrets.problem()
    secrets.take_key(INSTALL, 1, KEY)
    assert secrets.problem() == "" and secrets.value("broker") == b"x"
    secrets.take_key(INSTALL, 2, b"another" * 4)  # of a rotation: it has what it needs
    assert secrets.problem() == "" and secrets.value("broker") == b"x"


def test_what_cannot_be_opened_says_so() -> None:
    secrets = ComponentSecrets("third/kettle", ["broker"], {"broker": {1: sealed("broker", b"x")}})
    secrets.take_key(INSTALL, 1, b"wrong" * 6 + b"ab")
    assert "is damaged: set it again" in secrets.problem()


def test_a_component_gets_what_it_asked_for_and_nothing_else() -> None:
    secrets = ComponentSecrets("third/kettle", [], {"broker": {1: sealed("broker", b"x")}})
    secrets.take_key(INSTALL, 1, KEY)
    assert secrets.problem() == ""
    with pytest.raises(MisuseError, match=r"asks for no secret 'broker' \(it asks for none\): put it under needs"):
        secrets.value("broker")


def test_no_value_shows_by_accident() -> None:
    assert "hunter2" not in repr(ComponentSecrets.of_values("third/kettle", {"broker": b"hunter2"}))


def test_what_another_master_key_has_sealed_is_not_missing() -> None:
    secrets = ComponentSecrets("third/kettle", ["broker"], {"broker": {1: sealed("broker", b"x")}})
    secrets.take_key(INSTALL, 2, KEY)
    assert secrets.is_of_another_key()
    secrets.take_key(INSTALL, 1, KEY)
    assert not secrets.is_of_another_key() and secrets.problem() == ""
    assert not ComponentSecrets("third/kettle", ["broker"], {}).is_of_another_key()


def test_an_optional_one_keeps_nothing_from_its_start_and_has_a_default() -> None:
    secrets = ComponentSecrets("third/kettle", ["broker", "proxy"], {}, ["proxy"])
    assert "set third/kettle broker" in secrets.problem()
    secrets = ComponentSecrets("third/kettle", ["proxy"], {}, ["proxy"])
    assert secrets.problem() == "" and secrets.value("proxy", None) is None
    with pytest.raises(
        MisuseError, match=r"proxy is optional and not set: give a default, self.secret\('proxy', None\)"
    ):
        secrets.value("proxy")
    with pytest.raises(MisuseError, match="asks for no secret 'other'"):
        secrets.value("other", None)


def test_an_optional_one_that_is_set_and_damaged_is_told() -> None:
    secrets = ComponentSecrets("third/kettle", ["proxy"], {"proxy": {1: sealed("proxy", b"x")}}, ["proxy"])
    assert secrets.is_of_another_key()
    secrets.take_key(INSTALL, 1, b"wrong" * 6 + b"ab")
    assert "is damaged: set it again" in secrets.problem()


def test_in_a_test_what_is_not_given_is_not_set() -> None:
    secrets = ComponentSecrets.of_values("third/kettle", {"broker": b"x"})
    assert secrets.value("broker", None) == b"x" and secrets.value("proxy", None) is None
    with pytest.raises(MisuseError, match="asks for no secret 'proxy'"):
        secrets.value("proxy")
