"""Drop-ins: what is wrong with one of them concerns no other component, and not the host."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tlsrt.config.access import PolicyRule
from tlsrt.config.document import ConfigFiles
from tlsrt.config.drop_ins import DropInFiles, drop_in_digests, drop_in_files
from tlsrt.config.load import parse_config, parse_files
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError

FILE = Path("/etc/tlsrt/tlsrt.yaml")
FOLDER = "/etc/tlsrt/components.d"
MANIFEST = b"""\
manifest: 1
component: third/kettle
class: "kettle:Kettle"
title: boils water
needs:
  memory_mb: 8
  egress: [{to: ["192.0.2.7:443"], why: it asks the weather}]
calls:
  primary/kernel: {methods: [uname], why: it shows the release}
"""
DROP_IN = b"""\
package: kettle
options: {watts: 3}
policy:
  client/admin -> third/kettle: "*"
"""
ADMIN = 'clients: {admin: {fingerprint: "' + "ab" * 32 + '"}}\n'
KETTLE: DropInFiles = {"third.kettle.yaml": DROP_IN, "third.kettle.manifest": MANIFEST}


def load(text: str, files: DropInFiles, manifests: Mapping[tuple[str, str], bytes] | None = None) -> Config:
    """Parse a configuration beside these drop-ins, where these manifests are installed."""
    known = {("kettle", "tlsrt.yaml"): MANIFEST} if manifests is None else manifests

    def find(package: str, name: str, asked_by: Path | str, place: Path | None = None) -> tuple[Path, bytes]:
        if (package, name) not in known:
            raise ConfigError(f"{asked_by}: this Python has no package {package}")
        return Path("/site", package, name), known[package, name]

    return parse_config(text.encode(), FILE, files, find)


def failure(config: Config) -> tuple[str, list[str]]:
    [one] = config.failed
    assert [component.address for component in config.components if not component.builtin] == []
    assert all("kettle" not in (rule.source + rule.target) for rule in config.policy)
    assert all("kettle" not in loop.name for loop in config.loops)
    return one.name, [problem.removeprefix(f"{FOLDER}/") for problem in one.problems]


@pytest.fixture
def text(minimal: str) -> str:
    return minimal + ADMIN


def test_a_drop_in_adds_a_component_as_if_it_stood_in_the_configuration(text: str) -> None:
    config = load(text, KETTLE)
    assert config.failed == () and config.remarks == ()
    one = config.components[-1]
    assert (one.address, one.class_path, one.process, one.origin) == (
        "third/kettle", "kettle:Kettle", "third.kettle", "kettle",
    )  # fmt: skip
    assert (one.options, one.needs.memory_mb, str(one.needs.egress[0].to[0])) == ({"watts": 3}, 8, "192.0.2.7:443")
    assert one.place(("watts",)) == f"{FOLDER}/third.kettle.yaml:2:11", "where an option that is wrong stands"
    assert config.policy == (
        PolicyRule("third/kettle", "primary/kernel", ("uname",)),
        PolicyRule("client/admin", "third/kettle", ("*",)),
    )
    assert "third.kettle" in [loop.name for loop in config.loops]


def test_variables_that_the_configuration_lists_may_stand_in_it(text: str) -> None:
    main = text + "environment: {TLSRT_WATTS: of the socket here}\n"
    manifests = {("kettle", "tlsrt.yaml"): MANIFEST}

    def loaded(drop_in: str, main: str = main) -> Config:
        files = ConfigFiles(
            main.encode(), components={**KETTLE, "third.kettle.yaml": drop_in.encode()},
            environment={"TLSRT_WATTS": "2200"},
        )  # fmt: skip
        return parse_files(
            files, FILE, lambda package, name, *_: (Path("/site", package, name), manifests[package, name])
        )

    one = loaded("package: kettle\noptions:\n  watts: ${TLSRT_WATTS}\n  said: to ${TLSRT_WATTS} W\n  plain: $${x}\n")
    assert one.failed == ()
    assert one.components[-1].options == {"watts": 2200, "said": "to 2200 W", "plain": "${x}"}
    assert failure(loaded("package: kettle\noptions: {watts: '${TLSRT_WATS}'}\n")) == (
        "third/kettle",
        ["third.kettle.yaml:2:18: TLSRT_WATS is not in the list `environment`: add it there with its reason, or "
         "write $${ for the text itself, did you mean TLSRT_WATTS?"],
    )  # fmt: skip
    sentence, *_ = failure(loaded("package: '${TLSRT_WATTS}'\n"))[1]
    assert "no variable can stand in package: write the value here" in sentence
    older = loaded("package: kettle\noptions: {said: '${TLSRT_WATTS}'}\n", text.replace("version: 2", "version: 1"))
    assert older.components[-1].options["said"] == "${TLSRT_WATTS}", "text, as it was meant"


def test_without_drop_ins_nothing_is_different(text: str) -> None:
    assert load(text, {}) == parse_config(text.encode(), FILE)


def test_the_operator_replaces_what_the_manifest_needs_key_by_key(text: str) -> None:
    own = DROP_IN + b'needs: {egress: [{to: ["192.0.2.9:443"], why: our own weather}]}\nprocess: shared\n'
    one = load(text, {**KETTLE, "third.kettle.yaml": own}).components[-1]
    assert (one.needs.memory_mb, str(one.needs.egress[0].to[0]), one.process) == (8, "192.0.2.9:443", "third")


def test_one_package_may_bring_several(text: str) -> None:
    other = MANIFEST.replace(b"third/kettle", b"forth/fan").replace(b"kettle:Kettle", b"kettle.fan:Fan")
    files = {**KETTLE, "forth.fan.yaml": b"package: kettle\nmanifest: fan.tlsrt.yaml\n", "forth.fan.manifest": other}
    config = load(text, files, {("kettle", "tlsrt.yaml"): MANIFEST, ("kettle", "fan.tlsrt.yaml"): other})
    assert [one.address for one in config.components if one.origin] == ["third/kettle", "forth/fan"]


@pytest.mark.parametrize(
    ("drop_in", "sentence"),
    [
        (b"", "third.kettle.yaml:1:1: the file is empty"),
        (b"package: [", "third.kettle.yaml:2:1: this is not YAML"),
        (b"\xff\xfe", "third.kettle.yaml:1:1: the file is not UTF-8 text"),
        (b"options: {}", "third.kettle.yaml: name the package that brings it"),
        (DROP_IN + b"optoins: {}", "third.kettle.yaml:5:1: unknown key 'optoins', did you mean options?"),
        (b"package: kettel", "third.kettle.yaml: this Python has no package kettel"),
        (b"package: kettle\nmanifest: ../../etc/passwd", "manifest must be tlsrt.yaml, NAME.tlsrt.yaml or approved"),
        (
            DROP_IN.replace(b"-> third/kettle", b"-> secondary/store"),
            "third.kettle.yaml:4:3: client/admin -> secondary/store: a line here is about third/kettle",
        ),
    ],
)
def test_a_wrong_drop_in_makes_its_component_fail_and_no_other(text: str, drop_in: bytes, sentence: str) -> None:
    name, problems = failure(load(text, {**KETTLE, "third.kettle.yaml": drop_in}))
    assert name == "third/kettle"
    assert sentence in problems[0]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ((b"memory_mb", b"memori_mb"), "unknown key 'memori_mb' in needs"),
        (
            (b"kettle:Kettle", b"os:system"),
            "/site/kettle/tlsrt.yaml:3:1: the class of a component of kettle is in kettle",
        ),
        ((b'class: "kettle:Kettle"\n', b""), "third/kettle has no class"),
    ],
)
def test_a_wrong_manifest_makes_its_component_fail_and_no_other(
    text: str, change: tuple[bytes, bytes], sentence: str
) -> None:
    wrong = MANIFEST.replace(*change)
    files = {**KETTLE, "third.kettle.manifest": wrong}
    _, problems = failure(load(text, files, {("kettle", "tlsrt.yaml"): wrong}))
    assert sentence in problems[0]


def test_a_manifest_that_is_not_the_approved_one_is_not_taken(text: str) -> None:
    more = MANIFEST.replace(b"192.0.2.7", b"192.0.2.8")
    _, problems = failure(load(text, KETTLE, {("kettle", "tlsrt.yaml"): more}))
    assert "is not the manifest that was approved" in problems[0]
    assert "component diff third/kettle" in problems[0]
    _, problems = failure(load(text, {"third.kettle.yaml": DROP_IN}))
    assert "was not approved: run `tlsrt-supervisor component update third/kettle`" in problems[0]


@pytest.mark.parametrize(
    ("name", "more", "sentence"),
    [
        ("fith.kettle", "", "there is no loop fith, did you mean"),
        ("secondary.store", "", "secondary/store is built in: choose another address"),
        ("third.kettle", 'components: {third/kettle: {class: "other:Kettle"}}\n', "is in the configuration too"),
        ("primary.facts", "", "primary.facts is the process of components that share one"),
    ],
)
def test_a_component_that_does_not_fit_the_configuration_fails(text: str, name: str, more: str, sentence: str) -> None:
    files = {f"{name}.yaml": b"package: kettle", f"{name}.manifest": MANIFEST}
    [one] = load(text + more, files).failed
    assert one.name == name.replace(".", "/")
    assert sentence in one.sentence


def test_a_file_of_another_name_is_told_and_editors_files_are_passed(text: str) -> None:
    files = {"kettle.yaml": DROP_IN, "a.b.c.yaml": DROP_IN, "Third.Kettle.yaml": DROP_IN}
    assert [one.name for one in load(text, files).failed] == [
        "components.d/kettle.yaml", "components.d/a.b.c.yaml", "components.d/Third.Kettle.yaml",
    ]  # fmt: skip


def test_lines_of_the_configuration_may_name_a_component_that_has_failed(text: str) -> None:
    lines = text + 'policy: {client/admin -> third/kettle: "*", third/kettle -> secondary/store: [get]}\n'
    assert failure(load(lines, {**KETTLE, "third.kettle.yaml": b""}))[0] == "third/kettle"


def test_a_drop_in_for_an_address_that_is_taken_takes_nothing_from_it(text: str) -> None:
    lines = text + (
        'components: {third/kettle: {class: "other:Kettle"}}\n'
        'policy: {client/admin -> third/kettle: "*", client/admin -> primary/kernel: "*"}\n'
    )
    config = load(lines, {"third.kettle.yaml": b"", "primary.kernel.yaml": b"\xff"})
    assert [one.name for one in config.failed] == ["third/kettle", "primary/kernel"]
    assert [rule.target for rule in config.policy] == ["third/kettle", "primary/kernel"]


def test_a_line_to_what_is_not_there_is_left_out_and_told(text: str) -> None:
    calls = MANIFEST.replace(b"primary/kernel", b"secondary/stor")
    config = load(text, {**KETTLE, "third.kettle.manifest": calls}, {("kettle", "tlsrt.yaml"): calls})
    assert [rule.target for rule in config.policy] == ["third/kettle"]
    assert config.remarks == (
        "/site/kettle/tlsrt.yaml:9:3: third/kettle -> secondary/stor: there is no secondary/stor to call, did you mean "
        "secondary/store?, so the line is left out",
    )


def test_nothing_is_told_of_what_is_called_only_where_it_is_there(text: str) -> None:
    def loaded(target: bytes, drop_in: bytes = b"package: kettle\n") -> Config:
        calls = MANIFEST.replace(b"primary/kernel", target).replace(b"[uname], why", b"[uname], optional: true, why")
        files = {"third.kettle.yaml": drop_in, "third.kettle.manifest": calls}
        return load(text, files, {("kettle", "tlsrt.yaml"): calls})

    missing, present = loaded(b"secondary/stor"), loaded(b"secondary/store")
    assert (missing.remarks, [rule.target for rule in missing.policy]) == ((), [])
    assert (present.remarks, [rule.target for rule in present.policy]) == ((), ["secondary/store"])
    told = loaded(b"secondary/stor", b'package: kettle\npolicy: {third/kettle -> secondary/stor: "*"}\n').remarks
    assert len(told) == 1 and "there is no secondary/stor to call" in told[0]  # the operator wants it


def test_no_drop_in_lets_everybody_in(text: str) -> None:
    config = load(text, {**KETTLE, "third.kettle.yaml": b'package: kettle\npolicy: {"*/* -> third/kettle": "*"}'})
    assert [rule.source for rule in config.policy] == ["third/kettle"]
    assert "would let everyone in" in config.remarks[0]


def test_files_are_read_once_and_measured(tmp_path: Path) -> None:
    config = tmp_path / "tlsrt.yaml"
    assert drop_in_files(config) == {}
    folder = tmp_path / "components.d"
    folder.mkdir()
    for name in (
        "third.kettle.yaml",
        "third.kettle.manifest",
        ".third.kettle.yaml.new",
        "third.kettle.yaml~",
        "README",
    ):
        (folder / name).write_bytes(name.encode())
    (folder / "third.pipe.yaml").mkdir()
    files = drop_in_files(config)
    assert list(files) == ["third.kettle.manifest", "third.kettle.yaml", "third.pipe.yaml"]
    assert isinstance(files["third.pipe.yaml"], ConfigError)
    before = drop_in_digests(files)
    assert list(before) == ["drop-in/third.kettle.manifest", "drop-in/third.kettle.yaml", "drop-in/third.pipe.yaml"]
    (folder / "third.kettle.yaml").write_bytes(b"other")
    after = drop_in_digests(drop_in_files(config))
    assert {name for name in before if before[name] != after[name]} == {"drop-in/third.kettle.yaml"}


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("route: {via: [10.0.0.1]}", "to is missing"),
        ("route: {to: 10.9.0.1/16, via: [10.0.0.1]}", "to must be a network"),
        ("route: {to: 10.9.0.0/16, via: 10.0.0.1}", "via must be a list"),
        ("route: {to: *net, via: [10.0.0.1]}", "aliases are not allowed"),
        ("set: {table: filter, set: blocked, type: ipv4, values: [192.0.2.1]}", "type must be ipv4_addr or"),
        ("set: {table: filter, set: blocked, type: inet_service, values: [22, 80]}", "put it in quotes"),
    ],
)
def test_a_mistake_in_a_setting_is_a_sentence(text: str, entry: str, words: str) -> None:
    needs = f"needs: {{settings: [{{name: uplink, why: a test, {entry}}}]}}"
    _, problems = failure(load(text, {**KETTLE, "third.kettle.yaml": DROP_IN + needs.encode()}))
    assert any(words in one for one in problems), problems
