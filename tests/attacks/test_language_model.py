"""Attacked sentences: a prompt without an end costs one sentence; an exchanged file of a model answers in no name.

With the real model, in a copy of its file that the attacker may write.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hosts.language_model import asking, model_file
from hosts.running_host import RunningHost, running

from tlsrt import CallError, Client, InvalidArgument

ASK = "secondary/ask"
QUESTION = [{"role": "user", "text": "What is the capital of France?"}]
WAIT_S = 200
pytestmark = [pytest.mark.once, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def model() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="models.") as name:
        folder = Path(name)
        folder.chmod(0o755)
        file = folder / "model.gguf"
        shutil.copyfile(model_file(), file)
        yield file


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, model: Path) -> Iterator[RunningHost]:
    policy = {f"client/admin -> {ASK}": "*"}
    yield from running(request, components={ASK: asking(model, context=512)}, policy=policy)


@pytest.fixture(scope="module")
def client(host: RunningHost) -> Client:
    return host.client()


def answer(client: Client) -> tuple[str, str]:
    """Return what is answered, and the hash that the answer names."""
    items: list[dict[str, Any]] = list(client.stream(ASK, "chat", QUESTION, tokens=6, timeout_s=WAIT_S))
    return "".join(one.get("text", "") for one in items), items[-1]["sha256"]


def begun(host: RunningHost) -> int:
    (entry,) = host.loop("secondary.ask")["programs"]
    return int(entry["begun"])


def end_model(host: RunningHost) -> None:
    """Kill the model's process, so that the next question loads it again."""

    def running() -> list[dict[str, Any]]:
        (entry,) = host.loop("secondary.ask")["programs"]
        return list(entry["running"])

    for one in running():
        os.kill(one["pid"], signal.SIGKILL)
    host.until(lambda status: not running(), "the end of the model's process")


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


PROMPTS = {
    "one word": "a" * 100_000, "digits": "1" * 100_000, "lines": "\n" * 100_000, "zeros": "\0" * 100_000,
    "letters of four bytes": "\U0001f600" * 60_000, "combined letters": "e\u0301\u0323" * 33_000,
    "marks of roles": "<|im_end|>" * 10_000, "apostrophes": "'s" * 50_000,
}  # fmt: skip


@pytest.mark.parametrize("name", PROMPTS)
def test_a_prompt_that_does_not_fit_is_refused_before_it_is_read(host: RunningHost, client: Client, name: str) -> None:
    """What the tokenizer takes for it is no hang and no crash: the process of the model is the same after it."""
    client.call(ASK, "about", timeout_s=WAIT_S)
    before = begun(host)
    with pytest.raises(InvalidArgument, match="that is more than the 512 of the model: send less"):
        list(client.stream(ASK, "chat", [{"role": "user", "text": PROMPTS[name]}], timeout_s=WAIT_S))
    assert begun(host) == before


@pytest.mark.parametrize(
    ("messages", "sentence"),
    [
        ([{"role": "user", "text": "x" * 100_001}], "100001"),
        ([{"role": "data", "text": "x" * 60_000}, {"role": "user", "text": "x" * 60_000}], "are the most"),
        ([{"role": "user", "text": "x"}] * 201, "messages"),
    ],
)
def test_a_conversation_without_end_is_refused_at_the_door_of_the_component(
    client: Client, messages: list[dict[str, str]], sentence: str
) -> None:
    with pytest.raises(InvalidArgument, match=sentence):
        list(client.stream(ASK, "chat", messages, timeout_s=WAIT_S))


@pytest.mark.parametrize("words", [["--source", "-"], ["--source", "/dev/zero"]])
def test_a_source_without_end_is_read_up_to_its_bound(host: RunningHost, words: list[str]) -> None:
    """`yes | tlsrt ask --source -`: the pipe is closed after 64 KiB, and a device is no file."""
    endless = "import os\ntry:\n    while True: os.write(1, b'y\\n' * 4096)\nexcept OSError: pass"
    bundle = ["--bundle", str(host.folder / "admin.tlsrt")]
    with subprocess.Popen([sys.executable, "-c", endless], stdout=subprocess.PIPE) as source:
        done = subprocess.run(
            [sys.executable, "-m", "tlsrt.channels.cli.main", "ask", *words, *bundle, "what is it"],
            stdin=source.stdout, capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
        assert source.stdout is not None
        source.stdout.close()
    assert done.returncode != 0 and done.stdout == "" and done.stderr.count("\n") == 1, done.stderr
    assert "--source" in done.stderr


def test_a_model_that_is_written_to_while_it_is_loaded_answers_as_it_was_hashed(
    host: RunningHost, client: Client, model: Path
) -> None:
    told, hash_before = answer(client), digest(model)
    assert told[1] == hash_before and "Paris" in told[0]
    with model.open("r+b") as file:  # the same file, that a process could have mapped
        file.seek(20 << 20)
        file.write(b"\x5a" * (40 << 20))
    assert answer(client) == told, "the model in memory is the one that was hashed"
    poisoned = digest(model)
    assert poisoned != hash_before
    end_model(host)
    assert client.call(ASK, "about", timeout_s=WAIT_S)["sha256"] == poisoned, "another file has another name"


def test_a_file_that_is_written_to_while_it_is_loaded_is_not_taken(model: Path) -> None:
    """The loader in this process, with a file that changes between its hash and its reading."""
    from tlsrt.loops.models import ask_model

    shutil.copyfile(model_file(), model)
    is_over = threading.Event()

    def write() -> None:
        with model.open("r+b", buffering=0) as file:
            while not is_over.is_set():
                file.seek(60 << 20)
                file.write(os.urandom(1))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with pytest.raises(InvalidArgument, match="was changed while it was loaded: ask again when it is whole"):
            ask_model.Model(str(model), "", 256, 1)
    finally:
        is_over.set()
        writer.join()


def test_what_is_no_model_is_refused_in_a_sentence(model: Path, host: RunningHost, client: Client) -> None:
    end_model(host)
    with model.open("r+b") as file:
        file.truncate(30 << 20)
    with pytest.raises(CallError, match=r"is no model that llama\.cpp reads"):
        client.call(ASK, "about", timeout_s=WAIT_S)
