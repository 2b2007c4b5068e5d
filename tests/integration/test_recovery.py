"""The page on recovery: a host is broken as it says, says the sentence, and is whole after its commands."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hosts.running_host import RunningHost, running
from tools.documents import ROOT, blocks

from tlsrt.errors import EX_CONFIG, EX_LOCKED

pytestmark = pytest.mark.once

PAGE = ROOT / "docs" / "guide" / "recover.md"
_COMMAND = re.compile(r"# (.+?)(?: {4}# exit code (\d+)(?: or (\d+))?)?")


class Desk:
    """Where an operator types: `var` is the folder of the host, and a backup of it is there."""

    def __init__(self, host: RunningHost) -> None:
        self.host = host
        (host.base / "var").symlink_to(host.folder)
        self._environment = {
            **os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "TLSRT_CONFIG": str(host.config_path),
        }  # fmt: skip

    def type(self, words: str) -> subprocess.CompletedProcess[str]:
        first, *arguments = shlex.split(words)
        if first == "tlsrt-supervisor" and "&&" not in arguments:
            return self.host.cli(*arguments)  # which begins no interpreter for it
        return subprocess.run(
            ["bash", "-c", words], cwd=self.host.base, env=self._environment, capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip

    def follow(self, title: str) -> None:
        """Type the commands of a section."""
        for command in section(title).commands:
            found = _COMMAND.fullmatch(command)
            assert found is not None, command
            done = self.type(found[1].replace("BACKUP", "day.backup").replace("KEYS", "day.keys"))
            codes = [int(code) for code in found.groups()[1:] if code] or [0]
            assert done.returncode in codes, f"{command}: {done.returncode} {done.stdout}{done.stderr}"

    def expect(self, title: str) -> None:
        """Have `check` say the sentence of a section."""
        done = self.type("tlsrt-supervisor check")
        said = done.stdout + done.stderr
        wanted = [sentence.replace("var/", f"{self.host.folder}/") for sentence in section(title).sentences]
        assert done.returncode == EX_CONFIG and any(sentence in said for sentence in wanted), said


class Section(NamedTuple):
    """What a section says that is said, and what it has typed."""

    sentences: list[str]
    commands: list[str]


def section(title: str) -> Section:
    heads = [(number, line[3:]) for number, line in enumerate(PAGE.read_text().splitlines(), 1) if line[:3] == "## "]
    found = Section([], [])
    for block in blocks(PAGE, "text", "console"):
        if max(head for head in heads if head[0] < block.line)[1] == title:
            (found.sentences if block.language == "text" else found.commands).extend(block.text.splitlines())
    assert found.commands, title
    return found


@pytest.fixture(scope="module")
def desk(request: pytest.FixtureRequest) -> Iterator[Desk]:
    for host in running(request, extra={"measure": "strict"}):
        desk = Desk(host)
        made = desk.type("tlsrt-supervisor backup create day.backup --with-keys day.keys")
        assert made.returncode == 0, made.stderr
        yield desk


def test_what_keeps_a_host_from_starting(desk: Desk) -> None:
    host = desk.host
    host.stop()
    key, authority = host.folder / "master.key", host.folder / "ca.key"
    kept = {path: path.read_bytes() for path in (key, authority, host.config_path)}

    key.unlink()
    desk.expect("The master key is lost")
    desk.follow("The master key is lost")
    assert key.read_bytes() != kept[key], "the last commands are for who has no copy"

    authority.unlink()
    desk.expect("The key of the CA is lost")
    desk.follow("The key of the CA is lost")
    for path, data in kept.items():
        path.write_bytes(data)
    authority.chmod(0o600)  # and the restore brings the boot token of before

    state = host.folder / "state" / "authority" / "authority.state"
    data = state.read_bytes()
    state.write_bytes(data[:60] + b"xxxx" + data[64:])
    desk.expect("The state is damaged")
    desk.follow("The state is damaged")
    assert state.read_bytes() != data[:60] + b"xxxx" + data[64:]

    host.config_path.write_text(host.config_path.read_text() + "# another version\n")
    desk.expect("An upgrade that failed")
    desk.follow("An upgrade that failed")
    host.start()
    assert host.client().describe()


def test_who_is_locked_out_and_whose_key_is_stolen(desk: Desk) -> None:
    assert desk.type("tlsrt-supervisor lock --reason test").returncode == 0
    refused = desk.type("tlsrt call primary/kernel uname")
    assert refused.returncode == EX_LOCKED and section("Locked out").sentences[0] in refused.stderr
    desk.follow("Locked out")
    desk.follow("A certificate has ended")
    desk.follow("The key of a client is stolen")
    desk.follow("The disk is full")
