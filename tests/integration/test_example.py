"""The example as a stranger uses it: added to a host that runs, its README followed line by line.

The component's package is a wheel, added by `component add` to a host that runs, in an environment that holds tlsrt as
a wheel too; nothing here runs from the checkout but the client that listens for events. The component of the main
README is proved in the configuration.
"""

from __future__ import annotations

import json
import platform
import re
import select
import shlex
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hosts.installation import CHECKOUT, Environment, build_wheel, copy_tracked, installed, make_environment, scratch
from hosts.installed_host import InstalledHost

from tlsrt import Client, InvalidArgument, Rejected

EXAMPLE = CHECKOUT / "examples" / "notes"


def merge(config: Path, addition: str) -> None:
    """Put the blocks of a YAML text where a person would: policy lines below `policy:`, the rest at the end."""
    components, policy = addition.split("policy:\n")
    text = config.read_text().replace("\npolicy:\n", f"\npolicy:\n{policy.rstrip()}\n")
    config.write_text(f"{text}\n{components.rstrip()}\n")


def blocks(document: Path, language: str = "") -> list[str]:
    """Return the fenced blocks of a Markdown file."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL)
    return [text for its_language, text in found if its_language == language]


def command_lines(document: Path) -> list[list[str]]:
    lines = [line for block in blocks(document) for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("tlsrt ")]


@pytest.fixture(scope="module")
def environment() -> Environment:
    """An environment of its own, with pip: what the command installs with."""
    made = make_environment(scratch() / "env-notes")
    import pip

    shutil.copytree(Path(pip.__file__).parent, made.site / "pip")  # with its byte code: it runs often
    return made


@pytest.fixture(scope="module")
def package() -> Path:
    source = copy_tracked(scratch() / "example", below="examples/notes/") / "examples" / "notes"
    return build_wheel(source, scratch() / "wheel-notes")


@pytest.fixture(scope="module")
def host(environment: Environment, package: Path) -> Iterator[InstalledHost]:
    host = InstalledHost(environment, scratch() / "notes")
    host.like_new()
    with host.started():
        said = host.do("component", "add", package, "--yes")
        assert "calls     primary/kernel: uname  it tells the release of the kernel" in said
        assert "third/notes runs in third.notes after" in said
        yield host


@pytest.fixture
def client(host: InstalledHost) -> Iterator[Client]:
    with Client(host.folder / "admin.tlsrt") as client:
        yield client


def test_the_readme_line_by_line(host: InstalledHost) -> None:
    describe, add, everything, release, wrong, listen = command_lines(EXAMPLE / "README.md")
    assert "third/notes" in (described := host.do(*describe, program="tlsrt"))
    assert "Short notes, kept in memory." in described
    assert "tags: list[str]" in described
    assert host.do(*add, program="tlsrt") == "1\n"
    assert host.do(*everything, program="tlsrt") == "buy milk\n"
    assert host.do(*release, program="tlsrt") == f"{platform.release()}\n"
    refusal = next(line for block in blocks(EXAMPLE / "README.md") for line in block.splitlines() if "expected" in line)
    assert host.run(*wrong, program="tlsrt") == (64, "", f"{refusal}\n")
    assert _first_event(host, listen, add) == "buy milk\n"


def _first_event(host: InstalledHost, listen: list[str], add: list[str]) -> str:
    """Listen with the one command while the other adds, until something is heard; Ctrl-C ends it without a word."""
    with host.popen(*listen, program="tlsrt") as process:
        assert process.stdout is not None
        try:
            for _ in range(100):
                host.do(*add, program="tlsrt")
                if select.select([process.stdout], [], [], 0.05)[0]:
                    break
            heard = process.stdout.readline().decode()
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=10)
        finally:
            process.kill()
    assert process.returncode == 130
    return heard


def test_it_runs_sandboxed_in_a_process_of_its_own(host: InstalledHost) -> None:
    [process] = [loop for loop in host.status()["loops"] if loop["name"] == "third.notes"]
    assert {"net_namespace", "mount_namespace", "landlock", "seccomp"} <= set(process["sandbox"]["layers"])
    assert host.status()["warnings"] == [], "strict, and nothing to say"
    assert "measure: strict" in host.config.read_text()


@pytest.mark.parametrize(
    ("arguments", "parameter"),
    [
        ({"text": 5}, "text"),
        ({}, "text"),
        ({"text": "a", "tags": "home"}, "tags"),
        ({"text": "a", "tags": ["b", 5]}, "tags"),
        ({"text": "a", "colour": "red"}, "colour"),
    ],
)
def test_a_wrong_argument_is_an_error_that_names_it(client: Client, arguments: dict[str, Any], parameter: str) -> None:
    before = list(client.stream("third/notes", "all"))
    with pytest.raises(InvalidArgument, match=parameter):
        client.call("third/notes", "add", **arguments)
    assert list(client.stream("third/notes", "all")) == before


def test_results_and_a_stream(client: Client) -> None:
    count = len(list(client.stream("third/notes", "all")))
    assert client.call("third/notes", "add", "walk the dog", ["outside"]) == count + 1
    assert client.call("third/notes", "add", text="water the plants") == count + 2
    assert list(client.stream("third/notes", "all"))[count:] == ["walk the dog", "water the plants"]
    assert list(client.stream("third/notes", "all", tag="outside")) == ["walk the dog"]


def test_defaults_are_fresh_for_each_call(client: Client) -> None:
    client.call("third/notes", "add", "first", ["only here"])
    client.call("third/notes", "add", "second")
    assert "second" not in list(client.stream("third/notes", "all", tag="only here"))


def test_its_call_to_another_component(client: Client) -> None:
    assert client.call("third/notes", "host") == platform.release()


def test_subscribers_get_what_it_publishes(host: InstalledHost) -> None:
    """The stream begins with a word of its own, so there is a moment from which on nothing is missed."""
    events: list[Any] = []
    listens, heard = threading.Event(), threading.Event()

    def listen() -> None:
        with Client(host.folder / "admin.tlsrt") as subscriber:
            for event in subscriber.stream("third/notes", "subscribe", "added"):
                events.append(event)
                listens.set()
                if "call the dentist" in json.dumps(event):
                    heard.set()
                    return

    thread = threading.Thread(target=listen)
    thread.start()
    with Client(host.folder / "admin.tlsrt") as publisher:
        while not listens.wait(0.05):
            publisher.call("third/notes", "add", "are you there?")
        publisher.call("third/notes", "add", "call the dentist")
    assert heard.wait(10), f"only {events}"
    thread.join(10)
    assert not thread.is_alive()


def test_others_may_call_what_the_operator_allows(environment: Environment, package: Path) -> None:
    """With `--allow` the README promises that `host` ends with rejected, and that alone."""
    lacking = InstalledHost(environment, scratch() / "notes-denied")
    assert lacking.init_compiled()[0] == 0
    lacking.do("component", "add", package, "--yes", "--allow", "client/admin: [add, all]")
    with lacking.started(), Client(lacking.folder / "admin.tlsrt") as client:
        with pytest.raises(Rejected):
            client.call("third/notes", "host")
        assert client.call("third/notes", "add", "still here") == 1


def test_an_option_is_for_one_of_the_components_of_a_package(host: InstalledHost) -> None:
    source = copy_tracked(scratch() / "example-mqtt", below="examples/mqtt/") / "examples" / "mqtt"
    package = build_wheel(source, scratch() / "wheel-mqtt")
    code, _, said = host.run("component", "add", package, "--yes", "--option", "window=9")
    assert code == 64 and "use --only for each" in said
    assert not list((host.folder / "components.d").glob("external.*"))


def test_without_the_package_the_host_runs_and_says_what_to_install(host: InstalledHost) -> None:
    bare = InstalledHost(installed(), scratch() / "notes-bare")
    bare.like_new()
    shutil.copytree(host.folder / "components.d", bare.folder / "components.d")
    code, _, warning = bare.run("seal", "--config", bare.config)
    assert code == 0 and "component third/notes does not run" in warning
    with bare.started():
        assert "this Python has no package notes: install it beside tlsrt" in bare.do("status", "--config", bare.config)


def test_the_component_of_the_main_readme() -> None:
    source = scratch() / "readme-component"
    source.mkdir()
    [module] = [block for block in blocks(CHECKOUT / "README.md", "python") if "class Notes" in block]
    [addition] = [block for block in blocks(CHECKOUT / "README.md", "yaml") if "policy:" in block]
    (source / "notes.py").write_text(module)
    (source / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools>=77"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "readme-notes"\nversion = "1"\n[tool.setuptools]\npy-modules = ["notes"]\n'
    )
    made = build_wheel(source, scratch() / "wheel-readme")
    host = InstalledHost(make_environment(scratch() / "env-readme", made), scratch() / "readme")
    host.init()
    merge(host.config, addition)
    host.seal()
    with host.started():
        assert host.call("secondary/notes", "add", "buy milk") == 1
        assert host.do("call", "secondary/notes", "all", program="tlsrt") == "buy milk\n"
        assert host.call("secondary/notes", "host") == platform.release()
