"""D-Bus grants: what they can say, and how the proxy is told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.config import bus_proxies
from tlsrt.config.bus_proxies import arguments_of, proxies_of
from tlsrt.config.buses import RULES_MOST, SYSTEM, BusConfig
from tlsrt.config.components import ComponentConfig
from tlsrt.config.host_paths import check_host_paths
from tlsrt.config.load import parse_config
from tlsrt.config.needs import NeedsConfig
from tlsrt.config.program_files import files_of_programs
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError

HEAD = """\
version: 1
install: "00112233445566778899aabbccddeeff"
master_key: {provider: file, path: keys/master.key}
boot_token: boot.token
door: {certificate: server.crt, key: server.key, client_ca: ca.crt}
components:
  forth/battery:
    class: "battery:Battery"
    needs:
"""


def config_of(tmp_path: Path, entry: str) -> Config:
    return parse_config(f"{HEAD}      buses: [{{{entry}}}]\n".encode(), tmp_path / "tlsrt.yaml")


def test_an_entry_becomes_the_arguments_of_the_proxy(tmp_path: Path) -> None:
    entry = (
        'why: the battery, call: {org.a.B: ["org.a.I.Get@/x/*", "org.a.J.*"]}, hear: {org.a.B: [org.a.I.Changed]}, '
        "own: [org.me.C-d]"
    )
    (component,) = [one for one in config_of(tmp_path, entry).components if not one.builtin]
    (bus,) = component.needs.buses
    assert (bus.bus, bus.problem, bus.where) == (Path(SYSTEM), "", f"{tmp_path}/tlsrt.yaml:10:15")
    assert arguments_of(bus) == (
        f"unix:path={SYSTEM}", "/bus", "--filter", "--own=org.me.C-d", "--call=org.a.B=org.a.I.Get@/x/*",
        "--call=org.a.B=org.a.J.*", "--broadcast=org.a.B=org.a.I.Changed", "--fd=0",
    )  # fmt: skip
    (proxy,) = component.all_programs
    assert proxy.args[0].fits(arguments_of(bus)) and not component.programs
    assert bus.sentence == f"speaks on {SYSTEM} with org.a.B, org.me.C-d"


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ("call: {'org.a.*': [org.a.I.Get]}", "a well-known name of a bus without wildcards"),
        ("call: {':1.5': [org.a.I.Get]}", "a well-known name of a bus without wildcards"),
        ("call: {org.a.B: ['*']}", "INTERFACE.MEMBER or INTERFACE.*"),
        ("call: {org.a.B: ['org.*.Get']}", "INTERFACE.MEMBER or INTERFACE.*"),
        ("call: {org.a.B: ['org.a.I.Get@/x y']}", "INTERFACE.MEMBER or INTERFACE.*"),
        ("call: {org.a.B: ['org.a.I.Get --talk=org.b']}", "INTERFACE.MEMBER or INTERFACE.*"),
        ("call: {org.a.B: []}", "must be from 1 to 48 entries"),
        ("own: ['org.a.*']", "a well-known name of a bus without wildcards"),
        ("bus: '/run/x,tcp:host=a'", "an absolute path without links"),
        ("bus: session", "an absolute path without links"),
    ],
)
def test_what_cannot_be_said_is_refused_with_its_place(tmp_path: Path, entry: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(sentence)) as caught:
        config_of(tmp_path, f"why: the test, {entry}")
    assert all(problem.startswith(f"{tmp_path}/tlsrt.yaml:10:") for problem in caught.value.problems)


def test_the_whole_bus_is_said_in_so_many_words() -> None:
    call = {"org.a.B": ("org.a.I.Get",)}
    assert "it lists nothing" in BusConfig("the test").problem
    assert BusConfig("the test", unfiltered=True).problem == ""
    assert "unfiltered is the whole bus" in BusConfig("the test", call=call, unfiltered=True).problem
    assert "rules" in BusConfig("the test", call={"org.a.B": ("org.a.I.Get",) * (RULES_MOST + 1)}).problem
    assert proxies_of([BusConfig("the test", unfiltered=True)]) == ()


def test_too_many_rules_are_a_sentence_of_the_component_and_not_the_end_of_the_start(tmp_path: Path) -> None:
    half = ", ".join(f"org.a.I.M{number}" for number in range(31))
    config = config_of(tmp_path, f"why: the test, call: {{org.a.B: [{half}], org.a.C: [{half}]}}")
    check_host_paths(config)
    (component,) = [one for one in config.components if not one.builtin]
    assert component.needs.buses[0].problem == "these are 62 rules, of at most 48" and component.all_programs == ()


def test_without_the_proxy_the_grant_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bus_proxies, "PROXY", tmp_path / "xdg-dbus-proxy")
    bus = BusConfig("the test", call={"org.a.B": ("org.a.I.Get",)}, where="f:1:1")
    component = ComponentConfig("forth", "battery", "", needs=NeedsConfig(buses=(bus,)))
    with pytest.raises(ConfigError) as caught:
        files_of_programs((component,))
    (problem,) = caught.value.problems
    assert problem.startswith(f"f:1:1: forth/battery cannot have the bus {SYSTEM} without {tmp_path}/xdg-dbus-proxy")
    assert "`unfiltered: true`" in problem


NAMES = st.from_regex(r"[a-z]{1,8}(\.[A-Z][a-z0-9_]{0,8}){1,3}", fullmatch=True)


@given(st.dictionaries(NAMES, st.lists(NAMES, min_size=1, max_size=3).map(tuple), min_size=1, max_size=4))
def test_the_proxy_is_given_one_word_for_each_rule(call: dict[str, tuple[str, ...]]) -> None:
    bus = BusConfig("the test", call=call)
    words = arguments_of(bus)
    assert len(words) == 4 + sum(map(len, call.values())) and not any(" " in word for word in words)
    (proxy,) = proxies_of([bus])
    assert proxy.args[0].fits(words) and not proxy.args[0].fits(words[:-1])
