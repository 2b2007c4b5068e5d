"""The configuration file: what it gives, and every sentence with which it is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from tlsrt.config import yaml_nodes
from tlsrt.config.access import ClientConfig, PolicyRule
from tlsrt.config.components import ComponentConfig, HealthConfig
from tlsrt.config.defaults import PROCESSES
from tlsrt.config.document import MAX_FILE_BYTES
from tlsrt.config.egress import parse_egress
from tlsrt.config.http_package import check_http
from tlsrt.config.load import load_config, parse_config
from tlsrt.config.needs import CallsConfig, EgressConfig, KernelViewConfig, NeedsConfig, ReadConfig, WriteConfig
from tlsrt.config.scheduling import SchedulingConfig
from tlsrt.config.schema import KeySource, LimitsConfig, SandboxConfig
from tlsrt.errors import ConfigError

FILE = Path("/etc/tlsrt/tlsrt.yaml")
ADMIN = 'clients: {admin: {fingerprint: "' + "ab" * 32 + '"}}\n'


@pytest.fixture(params=["C", "Python"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both YAML parsers: the C one, and the one of hosts without libyaml."""
    loader = getattr(yaml, "CSafeLoader") if request.param == "C" else yaml.SafeLoader  # noqa: B009
    monkeypatch.setattr(yaml_nodes, "_LOADER", loader)


def problems(text: str | bytes) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_config(text if isinstance(text, bytes) else text.encode(), FILE)
    return [line.removeprefix(f"{FILE}:") for line in caught.value.problems]


def test_minimal_gives_the_defaults(minimal: str) -> None:
    config = parse_config(minimal.encode(), FILE)
    assert config.path == FILE
    assert config.install_id == bytes.fromhex("00112233445566778899aabbccddeeff")
    assert config.master_key == KeySource("file", path=Path("/etc/tlsrt/master.key"))
    assert config.boot_token == Path("/etc/tlsrt/boot.token")
    assert config.measure == "strict"
    assert (config.state_dir, config.run_dir, config.log_dir) == tuple(
        Path("/etc/tlsrt", name) for name in ("state", "run", "log")
    )
    assert (config.door.host, config.door.port) == ("127.0.0.1", 7443)
    assert config.door.client_ca == Path("/etc/tlsrt/ca.crt")
    assert config.door.max_connections == 1024
    assert tuple(loop.name for loop in config.loops) == PROCESSES
    assert all(loop.network is None and loop.egress == () for loop in config.loops)  # components decide
    assert [component.address for component in config.components] == [
        "primary/kernel", "primary/hardware", "primary/events", "secondary/store", "third/io", "forth/power",
        "external/network",
    ]  # fmt: skip
    assert all(component.builtin for component in config.components)
    assert config.policy == ()
    assert config.clients == ()
    assert config.sandbox == SandboxConfig()
    assert config.limits == LimitsConfig()


def test_everything_that_can_be_said(minimal: str) -> None:
    text = minimal.replace("{provider: file, path: master.key}", "{provider: credential, name: key}") + (
        "measure: warn\n"
        "state_dir: /var/lib/tlsrt\n"
        "run_dir: ../run\n"
        "loops:\n"
        "  zebra: {network: true, read: [/srv, data], memory_mb: 100}\n"
        "  third: {open_files: 99}\n"
        "  ape:\n"
        "components:\n"
        "  zebra/notes: {class: 'notes.main:Notes', options: {title: Hello, n: [1, 2.5, true, null, {a: b}]}}\n"
        "  third/io: null\n"
        "  primary/kernel: {options: {deep: true}}\n"
        "  forth/power: {class: 'mine:Power'}\n"
        "policy:\n"
        "  client/admin -> zebra/notes: '*'\n"
        "  zebra/* -> secondary/store: [put, get]\n"
        "  client/* -> '*/*': [describe]\n"
        "clients: {admin: {fingerprint: '" + "AB:" * 31 + "AB'}}\n"
        "sandbox: {uid_base: 200000, waive: {cgroup: no delegation here}}\n"
        "channels: {engine: native}\n"
        "limits: {epoch_s: 60, queue_frames: 5}\n"
    )
    text = text.replace("client/* -> '*/*'", '"client/* -> */*"')
    config = parse_config(text.encode(), FILE)
    assert config.master_key == KeySource("credential", name="key")
    assert config.measure == "warn"
    assert config.channels.engine == "native"
    assert config.state_dir == Path("/var/lib/tlsrt")
    assert config.run_dir == Path("/etc/tlsrt/../run")
    names = [loop.name for loop in config.loops if not loop.name.startswith("forth.")]
    assert names == [*PROCESSES, "zebra", "zebra.notes", "ape"]
    assert config.loop("zebra").read == (Path("/srv"), Path("/etc/tlsrt/data"))
    assert config.loop("zebra").network and not config.loop("ape").network
    assert config.loop("third").open_files == 99
    options = {"title": "Hello", "n": [1, 2.5, True, None, {"a": "b"}]}
    notes = ComponentConfig("zebra", "notes", "notes.main:Notes", options, part="notes")
    assert config.components_of("zebra.notes") == (notes,)
    assert config.components_of("third") == ()
    assert config.components_of("primary.facts")[0].options == {"deep": True}
    assert config.components_of("primary.facts")[0].builtin
    assert config.components_of("forth") == ()
    assert config.components_of("forth.power") == (ComponentConfig("forth", "power", "mine:Power", {}, part="power"),)
    assert config.policy == (
        PolicyRule("client/admin", "zebra/notes", ("*",)),
        PolicyRule("zebra/*", "secondary/store", ("put", "get")),
        PolicyRule("client/*", "*/*", ("describe",)),
    )
    assert config.clients == (ClientConfig("admin", b"\xab" * 32),)
    assert config.sandbox.waive == {"cgroup": "no delegation here"}
    assert (config.limits.epoch_s, config.limits.queue_frames) == (60, 5)


def test_relative_file_gives_absolute_paths(minimal: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tlsrt.yaml").write_text(minimal)
    assert load_config(Path("tlsrt.yaml")).boot_token == tmp_path / "boot.token"


# refused.txt holds blocks: lines that follow the minimal configuration (so the first is line 6), then the sentence
REFUSED = [
    block.rpartition("\n") for block in Path(__file__).with_name("refused.txt").read_text().strip().split("\n\n")
]


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize(("extra", "sentence"), [(extra, sentence) for extra, _, sentence in REFUSED])
def test_refused_with_line_and_column(minimal: str, extra: str, sentence: str) -> None:
    assert problems(minimal + extra + "\n") == [sentence]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("version: 2", "version: 0", "1:10: version must be 1 or 2, not 0"),
        ("version: 2\n", "", "1:1: version is missing: The version of this format."),
        ("00112233445566778899aabbccddee", "", "2:10: install must be 32 lower-case hex digits in quotes, not 'ff'"),
        (", path: master.key", "", "3:13: master_key.path is missing: provider file needs it"),
        ("file, path", "credential, path", "3:13: master_key.name is missing: provider credential needs it"),
        ("master.key}", "master.key, name: x}", "3:48: master_key.name does not go with provider file: remove it"),
        (
            "file, path: master.key",
            "credential, name: ../x",
            "3:42: name must be a credential name: letters, digits, _ . @ : -, and no slash, not '../x'",
        ),
        (
            "boot.token",
            "master.key",
            "4:1: boot_token is master_key.path too, and `seal` would overwrite it: give it a file of its own",
        ),
        (
            "boot.token",
            "./x/../server.key",
            "4:1: boot_token is door.key too, and `seal` would overwrite it: give it a file of its own",
        ),
        ("provider: file", "provider: vault", "3:24: provider must be file or credential, not 'vault'"),
        ("certificate: server.crt, ", "", "5:7: door.certificate is missing: The server's certificate chain, PEM."),
        (
            "door: {",
            "door: {host: localhost, ",
            "5:14: host must be an IP address, such as 127.0.0.1, or 0.0.0.0 for all, not 'localhost'",
        ),
        ("door: {", "door: {port: 65536, ", "5:14: port must be from 0 to 65535, not 65536"),
        ("door: {", f"door: {{port: {9**40}, ", f"5:14: port must be a whole number in plain decimal, not '{9**40}'"),
    ],
)
def test_wrong_values_in_the_required_part(minimal: str, old: str, new: str, sentence: str) -> None:
    found = problems(minimal.replace(old, new))
    assert sentence in found
    assert len(found) == (2 if "credential, path" in new else 1)


@pytest.mark.parametrize("line", ["", "master_key:\n", "master_key: null\n"])
def test_no_master_key_is_exactly_one_sentence(minimal: str, line: str) -> None:
    found = problems(minimal.replace("master_key: {provider: file, path: master.key}\n", line))
    assert len(found) == 1
    assert found[0].endswith(
        ": there is no master_key, so nothing starts: add `master_key: {provider: file, path: FILE}` "
        "with a FILE of 32 random bytes and mode 0600"
    )


def test_all_errors_come_at_once_in_the_order_of_the_file(minimal: str) -> None:
    found = problems(minimal.replace("2\n", "0\n", 1) + "measur: warn\nloops: {X: 1}\npolicy: {a/b -> third/io: [x]}\n")
    assert [line.partition(": ")[0] for line in found] == ["1:10", "6:1", "7:9", "7:12", "8:10"]


def test_at_most_a_hundred_problems_are_listed(minimal: str) -> None:
    found = problems(minimal + "".join(f"qqqqqq{n}: 1\n" for n in range(150)))
    assert len(found) == 101
    assert found[-1] == " and 50 more problems"


def test_two_clients_with_one_key_are_refused(minimal: str) -> None:
    text = minimal + ADMIN.replace("}}\n", '}, b: {fingerprint: "' + "AB:" * 31 + 'ab"}}\n')
    assert problems(text) == ["6:105: client b has the fingerprint of admin: each client needs its own key"]


def test_what_a_component_needs(minimal: str) -> None:
    text = minimal + (
        "loops: {third: {egress: [{to: ['*:53/udp', '[2001:db8::]/32:443'], why: the archive}], processes: 70}}\n"
        "components:\n"
        "  third/io:\n"
        "    needs:\n"
        "      read: [data, {path: /srv/more, why: more of them}]\n"
        "      sys: true\n"
        "      write: [{path: /srv/pictures, why: puts them there}]\n"
        "      egress: [{to: ['192.0.2.7:443'], why: fetches them}]\n"
        "      calls:\n"
        "        - {calls: [read], why: because}\n"
        "        - {calls: [fcntl], when: [arg1 in F_GETLK], why: locks them}\n"
        "      memory_mb: 7\n"
    )
    config = parse_config(text.encode(), FILE)
    assert config.loop("third").egress == (
        EgressConfig((parse_egress("*:53/udp"), parse_egress("[2001:db8::]/32:443")), "the archive"),
    )
    assert config.loop("third").processes == 70
    (component,) = config.components_of("third")
    assert component.builtin and component.needs == NeedsConfig(
        read=(ReadConfig(Path("/etc/tlsrt/data")), ReadConfig(Path("/srv/more"), "more of them")),
        sys=KernelViewConfig(), disk_threads=1,  # as its manifest says
        write=(WriteConfig(Path("/srv/pictures"), "puts them there"),),
        egress=(EgressConfig((parse_egress("192.0.2.7:443"),), "fetches them"),),
        calls=(CallsConfig(("read",), "because"), CallsConfig(("fcntl",), "locks them", ("arg1 in F_GETLK",))),
        memory_mb=7,
    )  # fmt: skip
    assert component.needs.write[0].where == f"{FILE}:12:15"
    assert [one.where for one in component.needs.calls] == [f"{FILE}:15:11", f"{FILE}:16:11"]


def test_how_a_component_is_asked_how_it_is(minimal: str) -> None:
    text = minimal + (
        "components:\n"
        "  third/io: {health: {every_s: 5}}\n"
        "  secondary/store: {class: 'my:Store', health: {timeout_s: 0.5}}\n"
        "  third/notes: {class: 'notes:Notes'}\n"
        "  third/shown: {class: 'notes:Notes', health: {then: none, fails: 1}}\n"
    )
    config = parse_config(text.encode(), FILE)
    found = {component.address: component.health for component in config.components}
    assert found["third/io"] == HealthConfig(every_s=5, then="none"), "what is built in is only shown"
    assert found["primary/kernel"] == HealthConfig(then="none")
    assert found["secondary/store"] == HealthConfig(timeout_s=0.5), "a class of one's own is not what is built in"
    assert found["third/notes"] == HealthConfig(10.0, 2.0, 3, "restart")
    assert found["third/shown"] == HealthConfig(fails=1, then="none")
    assert problems(minimal + "components: {third/io: {health: {every_s: 0.1, then: reboot}}}\n") != []


def test_a_switched_off_component_cannot_be_called(minimal: str) -> None:
    text = minimal + "components: {third/io: null}\npolicy: {primary/kernel -> third/io: [a]}\n"
    assert problems(text) == ["7:10: primary/kernel -> third/io: there is no third/io to call"]


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize("text", ["", "# only a comment\n", "\ufeff"])
def test_empty_file(text: str) -> None:
    assert problems(text) == ["1:1: the file is empty"]


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize(("text", "start"), [("a: [1\n", "2:1: "), ("a: {b\n", "2:1: "), ("a: \x01", "1:")])
def test_not_yaml(text: str, start: str) -> None:
    [sentence] = problems(text)
    assert sentence.startswith(start)
    assert "this is not YAML: " in sentence
    assert "\n" not in sentence


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize(
    ("text", "start", "advice"),
    [
        ("policy:\n  client/a -> third/io: *\n", "2:26: ", '; write a * in quotes: "*"'),
        ("policy: {client/a -> third/io: *}\n", "1:33: ", '; write a * in quotes: "*"'),
        ("door:\n\tport: 1\n", "2:1: ", "; indent with spaces, not with a tab"),
        ("install: @x\n", "1:10: ", "; write this value in quotes"),
        ("install: a: b\n", "1:11: ", "; write text with a colon in quotes, or"),
        ("install: a\n port: 1\n", "2:6: ", "give this line the indentation of its neighbours"),
    ],
)
def test_frequent_mistakes_get_advice(text: str, start: str, advice: str) -> None:
    [sentence] = problems(text)
    assert sentence.startswith(f"{start}this is not YAML: ")
    assert advice in sentence
    assert "\t" not in sentence


@pytest.mark.parametrize("text", ["5", "[]", "hello", "null"])
def test_not_a_table(text: str) -> None:
    [sentence] = problems(text)
    assert sentence.startswith("1:1: the file must be a table of keys and values, not ")


@pytest.mark.parametrize(
    "text", ["password: hunter2", "hunter2: 1", "a: *hunter2", "a: &hunter2 x", "{a: 1, a: hunter2}"]
)
def test_nothing_of_another_programs_file_is_repeated(text: str) -> None:
    sentence = "1:1: this is not a configuration of tlsrt: it has none of the keys; name another file"
    assert problems(text) == [sentence]


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "{? "])
def test_deep_nesting_is_refused_not_recursed(opening: str) -> None:
    [sentence] = problems("components: " * (opening != "- ") + opening * 100_000)
    limits = (": values are nested deeper than 16 levels", ": this is not YAML: exceeded maximum nesting depth")
    assert sentence.endswith(limits)


def test_a_billion_laughs_are_refused(minimal: str) -> None:
    bomb = "a: &a [x, x]\n" + "".join(f"{n}: &{n} [*{p}, *{p}]\n" for p, n in zip("abcdefgh", "bcdefghi", strict=True))
    assert any("anchors are not allowed" in line for line in problems(minimal + bomb))


def test_not_utf8_names_the_byte(minimal: str) -> None:
    assert problems(minimal.encode() + b"log_dir: \xff\n") == ["6:10: the file is not UTF-8 text"]


def test_byte_order_mark_is_taken(minimal: str) -> None:
    assert parse_config(b"\xef\xbb\xbf" + minimal.encode(), FILE).measure == "strict"


def test_missing_file_says_init(tmp_path: Path) -> None:
    path = tmp_path / "no.yaml"
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert caught.value.problems == (
        f"there is no configuration at {path}: run `tlsrt-supervisor init DIR` to make one",
    )
    assert caught.value.exit_code == 78


def test_a_file_over_the_bound_is_refused(minimal: str, tmp_path: Path) -> None:
    path = tmp_path / "tlsrt.yaml"
    path.write_text(minimal + "#" * (MAX_FILE_BYTES - len(minimal)))
    assert load_config(path).measure == "strict"
    path.write_text(minimal + "#" * (MAX_FILE_BYTES - len(minimal) + 1))
    with pytest.raises(ConfigError, match="is larger than 1048576 bytes"):
        load_config(path)


def test_a_fifo_or_folder_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path):
        with pytest.raises(ConfigError, match=f"the configuration {path} is not a regular file"):
            load_config(path)


def test_scheduling(minimal: str) -> None:
    text = minimal + "scheduling: {cpus: {primary: [0], third: [0, 1]}, real_time: [primary], priority: 20}\n"
    assert parse_config(text.encode(), FILE).scheduling == SchedulingConfig(
        {"primary": (0,), "third": (0, 1)}, ("primary",), 20
    )
    assert problems(minimal + "scheduling: {cpus: {primry: [0]}, real_time: [third, forht]}\n") == [
        "6:21: scheduling: there is no loop primry, did you mean primary?",
        "6:54: scheduling: there is no loop forht, did you mean forth?",
    ]
    assert len(problems(minimal + "scheduling: {cpus: {primary: []}, real_time: third, priority: 99}\n")) == 3


def test_http_needs_its_package(minimal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host does; a command that asks it may be in an environment without it."""
    text = minimal + ADMIN.replace("}}\n", ", http: true}}\n")
    monkeypatch.setattr("tlsrt.config.package_search.has_http", lambda: False)
    monkeypatch.setattr("tlsrt.config.http_package.has_http", lambda: False)
    config = parse_config(text.encode(), FILE)
    with pytest.raises(ConfigError, match="client admin is to use HTTP, which needs the package h11: pip install"):
        check_http(config)
    check_http(parse_config((minimal + ADMIN).encode(), FILE))


def test_who_may_lock_and_unlock_the_host(minimal: str) -> None:
    assert ADMIN.count("}}") == 1
    [client] = parse_config((minimal + ADMIN.replace("}}\n", ", may: [unlock, lock]}}\n")).encode(), FILE).clients
    assert client.may == ("unlock", "lock")
    assert parse_config((minimal + ADMIN).encode(), FILE).clients[0].may == ()
    [problem] = problems(minimal + ADMIN.replace("}}\n", ", http: true, may: [unlock]}}\n"))
    assert "can never be one that may lock or unlock the host" in problem
    [problem] = problems(minimal + ADMIN.replace("}}\n", ", may: [reboot]}}\n"))
    assert problem.endswith("must be lock or unlock or operate, not 'reboot'")
