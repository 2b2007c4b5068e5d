"""Components that are programs: what their configuration says becomes a class of ours and one program."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlsrt.config.asks import asks_of
from tlsrt.config.drop_ins import DropInFiles
from tlsrt.config.load import parse_config
from tlsrt.config.manifest import parse_manifest
from tlsrt.config.policy_methods import unknown_methods
from tlsrt.config.program_kind import CLASS, words_of
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError

FILE = Path("/etc/tlsrt/tlsrt.yaml")
MINIMAL = """\
version: 1
install: "00112233445566778899aabbccddeeff"
master_key: {provider: file, path: master.key}
boot_token: boot.token
door: {certificate: server.crt, key: server.key, client_ca: ca.crt}
"""
ADMIN = MINIMAL + 'clients: {admin: {fingerprint: "' + "ab" * 32 + '"}}\n'
KETTLE = """\
manifest: 1
component: third/kettle
kind: program
title: boils water
run: /usr/local/bin/kettle
args: ["-v --mode={{a}}"]
environment: {LEVEL: "3"}
offers:
  boil: {says: boils water, arguments: {litres: "float = 1"}, returns: str}
topics: {boiled: the water has boiled}
health: {exec: {run: /usr/bin/test, args: ["-e /"]}, timeout_s: 1}
needs: {memory_mb: 32, read: [/srv/tea], secrets: [{name: key, why: it unlocks the lid}]}
"""
DROP_IN = b'manifest: approved\npolicy: {client/admin -> third/kettle: "*"}\n'
FILES: dict[str, bytes | ConfigError] = {"third.kettle.yaml": DROP_IN, "third.kettle.manifest": KETTLE.encode()}
SECRETS = ", ".join(f"{{name: s{number}, why: a test}}" for number in range(17))


def load(files: DropInFiles, text: str = "") -> Config:
    return parse_config(f"{ADMIN}{text}".encode(), FILE, files)


def problems(tree: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load({}, f"components: {{third/kettle: {{{tree}}}}}\n")
    return list(caught.value.problems)


def test_a_manifest_alone_makes_a_component_with_a_class_of_ours_and_a_kept_program() -> None:
    config = load(FILES)
    assert config.failed == ()
    (kettle,) = [one for one in config.components if one.name == "kettle"]
    assert (kettle.kind, kettle.class_path, kettle.process, kettle.origin) == (
        "program", CLASS, "third.kettle", "components.d",
    )  # fmt: skip
    main, check = kettle.programs
    assert (main.name, main.run, main.life, main.talks, main.memory_mb, main.open_files) == (
        "main", Path("/usr/local/bin/kettle"), "kept", True, 32, 256,
    )  # fmt: skip
    assert words_of(main.args[0]) == ("-v", "--mode={a}")
    assert (main.environment, main.read) == ({"LEVEL": "3"}, (Path("/srv/tea"),))
    assert (check.run, words_of(check.args[0]), check.seconds) == (Path("/usr/bin/test"), ("-e", "/"), 1)
    assert kettle.needs == type(kettle.needs)(secrets=kettle.needs.secrets), "its Python side gets what it hands on"
    assert [offer.name for offer in kettle.offers] == ["boil"]


def test_what_it_needs_of_the_network_goes_to_the_program_and_its_python_side_reaches_the_checked_port_alone() -> None:
    tree = (
        "kind: program, run: /bin/cat, health: {http: 80/x}, needs: {egress: [{to: ['192.0.2.7:1'], why: out}], "
        "state_mb: 8, secrets: [{name: key, why: it logs in}, {name: spare, why: or so, optional: true}], "
        "listen: [{name: a, port: 80, host: '0.0.0.0', why: web}, {name: b, port: 80, protocol: udp, why: web}]}"
    )
    config = load({}, f"components: {{third/kettle: {{{tree}}}}}\n")
    (kettle,) = [one for one in config.components if one.name == "kettle"]
    assert [one.name for one in kettle.programs[0].listen] == ["a", "b"]
    assert [str(rule) for one in kettle.programs[0].egress for rule in one.to] == ["192.0.2.7:1"]
    assert kettle.programs[0].state_mb == 8
    assert kettle.programs[0].secrets == {"key": "it logs in", "spare": "or so"}
    assert [(one.name, one.optional) for one in kettle.needs.secrets] == [("key", False), ("spare", True)]
    assert (kettle.needs.listen, kettle.needs.state_mb) == ((), 0)
    assert [str(rule) for one in kettle.needs.egress for rule in one.to] == ["127.0.0.1:80"]
    assert [(one.asked.name, one.is_inherited) for one in config.listeners] == [("a", True), ("b", False)]


def test_its_device_is_that_of_its_python_side_and_there_is_one() -> None:
    line = "{name: line, path: /dev/ttyUSB0, tty: {baud: 9600}, why: the meter}"
    entry = "components: {{third/meter: {{kind: program, run: /bin/cat, needs: {{devices: [{}]}}}}}}\n"
    config = load({}, entry.format(line))
    (meter,) = [one for one in config.components if one.name == "meter"]
    assert [one.name for one in meter.needs.devices] == ["line"] and config.needs_helper
    with pytest.raises(ConfigError, match="a program gets one device, as its standard input and output"):
        load({}, entry.format(f"{line}, {line.replace('line', 'more')}"))


def test_what_it_runs_is_the_first_thing_that_is_asked_for() -> None:
    manifest = parse_manifest(KETTLE.encode(), Path("kettle.yaml"))
    rows = [(one.is_dangerous, one.kind, one.what) for one in asks_of(manifest.tree, {}, {})]
    assert rows == [
        (True, "runs", "/usr/bin/test -e /"), (True, "runs", "/usr/local/bin/kettle -v --mode={{a}}"),
        (False, "read", "/srv/tea"), (False, "secrets", "key"),
        (False, "environment", "LEVEL: 3"), (False, "memory_mb", "32 MiB"),
    ]  # fmt: skip


def test_a_policy_line_about_a_method_that_is_not_offered_is_told() -> None:
    config = load(FILES | {"third.kettle.yaml": DROP_IN.replace(b'"*"', b"[boil, boli]")})
    (sentence,) = unknown_methods(config, config.policy)
    assert "boli" in sentence
    assert "boil" in sentence


@pytest.mark.parametrize(
    ("tree", "sentence"),
    [
        ("kind: program", "needs `run`"),
        ("kind: program, run: /bin/cat, class: 'a:B'", "has no class"),
        ("kind: program, run: /bin/cat, options: {a: 1}", "has no options"),
        ("kind: program, run: /bin/cat, process: shared", "a process of its own"),
        ("kind: program, run: /bin/cat, needs: {threads: 2}", "a program cannot have threads"),
        (f"kind: program, run: /bin/cat, needs: {{secrets: [{SECRETS}]}}", "at most 16 secrets"),
        ("kind: program, run: /bin/cat, args: ['{file}']", "leaves open"),
        ("kind: program, run: /bin/cat, args: [a, b]", "from 1 to 1 entries"),
        ("kind: program, run: /bin/cat, watchdog_s: 3", "needs `notifies: true`"),
        ("kind: program, run: /bin/cat, health: {tcp: 80}", "80 is no TCP port of needs.listen"),
        ("kind: program, run: /bin/cat, health: {exec: {args: [x]}}", "run is missing"),
        ("kind: program, run: cat", "absolute path"),
        ("kind: program, run: /bin/cat, offers: {describe: {says: what it is}}", "those of every component"),
        ("kind: program, run: /bin/cat, offers: {boil: {says: boils, returns: bytes}}", "no type"),
        ("class: 'a:B', run: /bin/cat", "add that, or remove it"),
        ("class: 'a:B', health: {http: 80/x}", "write `healthy`"),
        ("kind: programme, run: /bin/cat", "kind must be class or program"),
    ],
)
def test_what_does_not_go_together_is_refused_with_its_place(tree: str, sentence: str) -> None:
    found = problems(tree)
    assert sentence in " ".join(found)
    assert all(one.startswith("/etc/tlsrt/tlsrt.yaml:7:") for one in found)


def test_no_program_takes_the_place_of_what_is_built_in() -> None:
    with pytest.raises(ConfigError, match="is built in, and no program"):
        load({}, "components: {primary/kernel: {kind: program, run: /bin/cat}}\n")


@pytest.mark.parametrize(
    ("manifest", "drop_in", "sentence"),
    [
        (KETTLE.replace("kind: program", "class: 'kettle:Kettle'"), DROP_IN, "a class comes in a package"),
        ("manifest: 1\ncomponent: third/kettle\ntitle: boils\nclass: 'a:B'\n", DROP_IN, "a class comes in a package"),
        (KETTLE, b"policy: {}\n", "name the package"),
        (KETTLE, b"manifest: approved\npackage: kettle\n", "name the package"),
        (KETTLE.replace("run:", "rum:"), DROP_IN, "rum"),
        ("", DROP_IN, "empty"),
    ],
)
def test_a_manifest_alone_that_is_wrong_makes_its_component_fail_and_no_other(
    manifest: str, drop_in: bytes, sentence: str
) -> None:
    files: DropInFiles = {"third.kettle.yaml": drop_in, "third.kettle.manifest": manifest.encode()}
    (failed,) = load(files).failed
    assert failed.name == "third/kettle"
    assert sentence in " ".join(failed.problems)


def test_one_that_was_not_approved_does_not_run() -> None:
    (failed,) = load({"third.kettle.yaml": DROP_IN}).failed
    assert "was not approved" in failed.problems[0]


def test_passed_sockets_and_methods_both_want_descriptor_3() -> None:
    listen = "needs: {listen: [{name: web, port: 8080, pass: true, why: a test}]}"
    (problem,) = problems(f"kind: program, run: /bin/cat, offers: {{boil: {{says: boils water}}}}, {listen}")
    assert "web: it has `pass`, and descriptor 3, where passed sockets begin, is that of its offers" in problem
    (problem,) = problems(f'class: "a:B", {listen}')
    assert "cannot have `pass`: a component has `self.listener('web')`" in problem
