"""Components that come with tlsrt: their manifests are read as others are, and what is wrong with one stays there."""

from __future__ import annotations

import shutil
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from tlsrt.config.asks import asks_of
from tlsrt.config.defaults import BUILT_IN, COMPONENTS, LOOPS, BuiltIn, read_built_in
from tlsrt.config.load import parse_config
from tlsrt.config.needs import KernelViewConfig
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError

FILE = Path("/etc/tlsrt/tlsrt.yaml")


# Services that come with tlsrt and are off: entry points of its own distribution.
OFF = tomllib.loads((LOOPS.parent.parent / "pyproject.toml").read_text())["project"]["entry-points"]["tlsrt.components"]


def load(text: str, built_in: BuiltIn = BUILT_IN) -> Config:
    return parse_config(text.encode(), FILE, built_in=built_in)


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    """A folder with copies of all manifests."""
    for file in LOOPS.glob("*/*.tlsrt.yaml"):
        (tmp_path / file.parent.name).mkdir(exist_ok=True)
        shutil.copy(file, tmp_path / file.parent.name)
    return tmp_path


def test_each_has_a_manifest_beside_its_class_and_asks_as_others_do() -> None:
    brought = {f"tlsrt.loops.{file.parent.name}:{file.name.partition('.')[0]}" for file in LOOPS.glob("*/*.tlsrt.yaml")}
    assert brought >= {*OFF.values()}, "an entry point names a manifest"
    assert BUILT_IN.failed == () and len(COMPONENTS) == len(brought - {*OFF.values()}) == 7
    for one in COMPONENTS:
        module = LOOPS.joinpath(*one.class_path.partition(":")[0].split(".")[2:]).with_suffix(".py")
        assert module.with_name(f"{one.name}.tlsrt.yaml").is_file() and one.builtin
        assert (one.placement, one.health.then) == ("shared", "none")
    network = BUILT_IN.manifests["external/network"]
    asks = asks_of(network.tree, network.calls, network.reasons)
    assert [(one.kind, one.is_dangerous, bool(one.why)) for one in asks] == [
        ("network", True, True), ("system calls", True, True), ("proc", False, True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("manifest", "sentence"),
    [
        ("manifest: 1\n", "component is missing"),
        ("needs: {sky: true}\n", "unknown key 'sky' in needs"),
        ("", "is empty"),
        (
            "manifest: 1\ncomponent: third/store\nclass: 'a:B'\ntitle: a store\n",
            "this is the manifest of secondary/store",
        ),
    ],
)
def test_a_wrong_manifest_makes_its_component_fail_and_no_other(
    minimal: str, copies: Path, manifest: str, sentence: str
) -> None:
    file = copies / "secondary/store.tlsrt.yaml"
    file.write_text(manifest)
    built_in = read_built_in(copies)
    lines = ("third/io -> secondary/store", "secondary/store -> third/io", "forth/power -> third/io")
    policy = f"policy: {{{', '.join(f'{line}: [read]' for line in lines)}}}"
    config = load(f"{minimal}{policy}\n", built_in)
    [one] = config.failed
    assert one.name == "secondary/store" and any(sentence in each for each in one.problems)
    assert all(each.startswith(f"{file}:") for each in one.problems)
    assert [each.address for each in config.components] == [
        each.address for each in COMPONENTS if each.address != "secondary/store"
    ]
    assert [rule.source for rule in config.policy] == ["forth/power"], "a line about it waits"
    assert load(f"{minimal}components: {{secondary/store: null}}\n", built_in).failed == ()
    other = load(f"{minimal}components: {{secondary/store: {{class: 'mine:Store'}}}}\n", built_in)
    assert other.failed == () and other.components_of("secondary.store")[0].class_path == "mine:Store"
    changed = f"{minimal}components: {{secondary/store: {{options: {{max_bytes: 70000}}}}}}\n"
    assert load(changed, built_in).failed == (one,)


@pytest.mark.parametrize(
    "more",
    [
        "loops: {primary.facts: {memory_mb: 99}}",
        "scheduling: {cpus: {primary.facts: [1]}, real_time: [primary.facts]}",
        "components: {primary/kernel: {options: {}}}\nloops: {primary.facts: {}}",
    ],
)
def test_what_is_said_of_a_process_waits_for_it_when_all_that_run_there_have_failed(
    minimal: str, copies: Path, more: str
) -> None:
    for name in ("kernel", "hardware"):
        (copies / f"facts/{name}.tlsrt.yaml").write_text("")
    config = load(f"{minimal}{more}\n", read_built_in(copies))
    assert [one.name for one in config.failed] == ["primary/kernel", "primary/hardware"]
    assert "primary.facts" not in {loop.name for loop in config.loops}
    off = "components: {primary/kernel: null, primary/hardware: null}\nloops: {primary.facts: {}}\n"
    with pytest.raises(ConfigError, match=r"there is no process primary\.facts"):
        load(f"{minimal}{off}", read_built_in(copies))
    with pytest.raises(ConfigError, match="primary/kernel must be a table"):
        load(f"{minimal}components: {{primary/kernel: 7}}\n", read_built_in(copies))


def test_a_missing_manifest_makes_its_component_fail(copies: Path) -> None:
    (copies / "third/io.tlsrt.yaml").unlink()
    [one] = read_built_in(copies).failed
    assert one.name == "third/io" and "cannot read" in one.problems[0]


def test_the_operator_replaces_what_it_needs_key_by_key(minimal: str) -> None:
    text = f"{minimal}components: {{forth/power: {{needs: {{proc: false, memory_mb: 7}}, health: {{fails: 9}}}}}}\n"
    before = next(one for one in COMPONENTS if one.address == "forth/power")
    [power] = load(text).components_of("forth")
    assert power.needs == replace(before.needs, proc=KernelViewConfig(shown=False), memory_mb=7)
    assert power.health == replace(before.health, fails=9) and power.builtin


def test_another_class_in_its_place_has_nothing_of_it(minimal: str) -> None:
    [mine] = load(f"{minimal}components: {{forth/power: {{class: 'mine:Power'}}}}\n").components_of("forth.power")
    assert not mine.builtin and not mine.needs.sys and mine.placement == "own" and mine.health.then == "restart"


def test_what_the_sandbox_says_of_a_call_has_its_place() -> None:
    [network] = [one for one in COMPONENTS if one.address == "external/network"]
    assert [one.where for one in network.needs.calls] == [f"{LOOPS / 'external/network.tlsrt.yaml'}:13:7"]
