"""The example as a stranger uses it: installed with pip beside tlsrt, its README followed line by line.

The component's package is a wheel in an environment that holds tlsrt as a wheel too; nothing here runs from the
checkout but the client that listens for events. The component of the main README is proved the same way.
"""

from __future__ import annotations

import json
import platform
import re
import select
import shlex
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hosts.installation import CHECKOUT, Environment, build_wheel, copy_tracked, installed, make_environment, scratch
from hosts.installed_host import InstalledHost

from tlsrt import Client, Denied, InvalidArgument

EXAMPLE = CHECKOUT / "examples" / "notes"


def merge(config: Path, addition: str) -> None:
    """Put the blocks of a YAML text where a person would: policy lines below `policy:`, the rest at the end."""
    components, policy = addition.split("policy:\n")
    text = config.read_text().replace("\npolicy:\n", f"\npolicy:\n{policy.rstrip()}\n")
    config.write_text(f"{text}\n{components.rstrip()}\n")


def blocks(document: Path, language: str = "") -> list[str]:
    """Return the fenced blocks of a Markdown file."""
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL)


def command_lines(document: Path) -> list[list[str]]:
    lines = [line for block in blocks(document) for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("tlsrt ")]


@pytest.fixture(scope="module")
def environment() -> Environment:
    source = copy_tracked(scratch() / "example") / "examples" / "notes"
    return make_environment(scratch() / "env-notes", build_wheel(source, scratch() / "wheel-notes"))


@pytest.fixture(scope="module")
def host(environment: Environment) -> Iterator[InstalledHost]:
    host = InstalledHost(environment, scratch() / "notes")
    host.init()
    merge(host.config, (EXAMPLE / "notes.yaml").read_text())
    host.seal()
    with host.started():
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


def test_it_runs_in_the_sandboxed_loop_that_the_yaml_names(host: InstalledHost) -> None:
    assert [line for line in host.console if line.startswith("third ") and "read-only root" in line]
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


def test_it_may_do_no_more_than_the_policy_says(host: InstalledHost, environment: Environment) -> None:
    """Without the second policy line the README promises that `host` ends with denied, and that alone."""
    lacking = InstalledHost(environment, scratch() / "notes-denied")
    lacking.init()
    text = (EXAMPLE / "notes.yaml").read_text()
    merge(lacking.config, "\n".join(line for line in text.splitlines() if "third/notes -> " not in line) + "\n")
    lacking.seal()
    with lacking.started(), Client(lacking.folder / "admin.tlsrt") as client:
        with pytest.raises(Denied):
            client.call("third/notes", "host")
        assert client.call("third/notes", "add", "still here") == 1
        code, output, errors = lacking.run("call", "third/notes", "host", program="tlsrt")
        assert (code, output) == (77, "")
        assert errors.startswith("tlsrt: ")


def test_without_the_package_the_start_says_what_to_install() -> None:
    bare = InstalledHost(installed(), scratch() / "notes-bare")
    bare.init()
    merge(bare.config, (EXAMPLE / "notes.yaml").read_text())
    sentence = bare.refused()
    assert "third/notes" in sentence
    assert "no package notes" in sentence
    assert "pip" in sentence


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
