"""What each model of the AI services costs: its first answer, p50 and p99, memory, the end of a call that is given up,
and what a neighbour of the host sees meanwhile.

One host with the three services, asked through TLS from this process. The neighbour is `primary/kernel`, asked by a
second client while a first one keeps the model at work; its goal is twice its p50 at rest.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.host import SUPERVISOR, Host
from bench.processes import memory_kib
from tlsrt import Client

PATIENT_S = 120.0
NEIGHBOUR_CALLS = 400
GOAL = 2.0  # times the neighbour's p50 at rest
SCRIPT = b"#!/bin/sh\necho hello; for i in 1 2; do echo $i; done\n"
SENTENCE = "My name is Anna, and I would like to speak with the manager, please."
IDENTIFY, SEARCH, SPEECH = "secondary/identify", "secondary/search", "secondary/speech"
Ask = Callable[[Client], object]


@dataclass(frozen=True)
class Work:
    """One thing to ask of a model, how often, and one call that takes longer than a client waits."""

    name: str
    address: str
    worker: str
    count: int
    ask: Ask


def _add_sources(client: Client, count: int) -> None:
    for number in range(count):
        text = f"On day {number} the sensor {number % 17} of room {number % 31} told {number * 7 % 100} degrees."
        client.call(SEARCH, "add", f"note {number}", "\n\n".join([text] * 100), timeout_s=PATIENT_S)


def _add_and_search(client: Client) -> None:
    client.call(SEARCH, "add", "changing", SENTENCE)
    client.call(SEARCH, "search", SENTENCE)


def _works(client: Client) -> list[Work]:
    wav = b"".join(client.stream(SPEECH, "speak", SENTENCE, timeout_s=PATIENT_S))
    return [
        Work("identify, 50 bytes", IDENTIFY, "magika", 200, lambda it: it.call(IDENTIFY, "identify", SCRIPT)),
        Work("embed, 1 text", SEARCH, "embeddings", 200, lambda it: it.call(SEARCH, "embed", [SENTENCE])),
        Work("search of 10,000", SEARCH, "embeddings", 200, lambda it: it.call(SEARCH, "search", SENTENCE)),
        Work("add and search 10,000", SEARCH, "embeddings", 50, _add_and_search),
        Work(
            f"voice activity, {len(wav) / 44100:.1f} s", SPEECH, "silero", 20,
            lambda it: list(it.exchange(SPEECH, "voice_activity", iter([wav]))),
        ),
        Work(
            f"transcribe, {len(wav) / 44100:.1f} s", SPEECH, "whisper", 10,
            lambda it: list(it.exchange(SPEECH, "transcribe", iter([wav]), "en")),
        ),
        Work("speak, a sentence", SPEECH, "espeak", 20, lambda it: b"".join(it.stream(SPEECH, "speak", SENTENCE))),
    ]  # fmt: skip


def main() -> int:
    """Measure and print; the exit code is 1 if the neighbour's goal is missed."""
    with tempfile.TemporaryDirectory(prefix="tlsrt-models.") as name:
        folder = Path(name)
        folder.chmod(0o755)
        host = Host(folder)
        host.start()
        try:
            for address in (IDENTIFY, SEARCH, SPEECH):
                words = ["component", "add", address, "--yes", "--allow", 'client/*: "*"']
                command = [str(SUPERVISOR), *words, "--config", str(host.config)]
                done = subprocess.run(command, capture_output=True, text=True, timeout=60)
                if done.returncode:
                    raise RuntimeError(f"{address} cannot be added: {(done.stderr or done.stdout).strip()}")
            with Client(host.bundle) as client, Client(host.bundle) as other:
                return _measure(host, client, other)
        finally:
            host.stop()


def _measure(host: Host, client: Client, other: Client) -> int:
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} processors")
    _neighbour(other)
    head = f"{'':24} {'first':>8} {'p50':>8} {'p99':>8} {'PSS MiB':>8}  neighbour p50, at rest"
    print(f"{head}   (ms)")
    is_met = True
    works = _works(client)
    _add_sources(client, 100)
    for work in works:
        _end_worker(host, work)
        (first,) = _times(lambda work=work: work.ask(client), 1)  # type: ignore[misc]
        times = sorted(_times(lambda work=work: work.ask(client), work.count))  # type: ignore[misc]
        memory = max((memory_kib(pid)[0] / 1024 for pid in _pids(host, work)), default=0.0)
        idle = _neighbour(other)
        beside = _beside(work, client, other)
        is_met = is_met and beside <= GOAL * idle
        p99 = times[min(len(times) - 1, int(len(times) * 0.99))]
        print(
            f"{work.name:24} {first:8.1f} {statistics.median(times):8.2f} {p99:8.1f} {memory:8.1f} "
            f"{beside:7.2f}, {idle:.2f} ({beside / idle:.1f} times)"
        )
    print(f"\na transcription that is given up: its process has ended {_given_up(host, client, works):.0f} ms later")
    for name in ("secondary.identify", "secondary.search", "secondary.speech"):
        print(f"{name} itself: {memory_kib(host.pids()[name])[0] / 1024:.1f} MiB")
    return 0 if is_met else 1


def _times(ask: Callable[[], object], count: int) -> list[float]:
    found = []
    for _ in range(count):
        began = time.perf_counter()
        ask()
        found.append((time.perf_counter() - began) * 1000)
    return found


def _neighbour(other: Client) -> float:
    return statistics.median(_times(lambda: other.call("primary/kernel", "load"), NEIGHBOUR_CALLS))


def _pids(host: Host, work: Work) -> list[int]:
    process = work.address.replace("/", ".")
    loop: dict[str, Any] = next(one for one in host.status()["loops"] if one["name"] == process)
    (entry,) = (one for one in loop["programs"] if one["name"] == f"{process}/{work.worker}")
    return [int(one["pid"]) for one in entry["running"]]


def _end_worker(host: Host, work: Work) -> None:
    """End its worker, so that the next call loads another one."""
    for pid in _pids(host, work):
        os.kill(pid, 9)
    limit = time.monotonic() + 10
    while _pids(host, work) and time.monotonic() < limit:
        time.sleep(0.1)


def _beside(work: Work, client: Client, other: Client) -> float:
    """Return the neighbour's p50 (ms) while the model is at work."""
    is_over = threading.Event()

    def keep_busy() -> None:
        while not is_over.is_set():
            work.ask(client)

    busy = threading.Thread(target=keep_busy)
    busy.start()
    try:
        return _neighbour(other)
    finally:
        is_over.set()
        busy.join()


def _given_up(host: Host, client: Client, works: list[Work]) -> float:
    """Give up a transcription after its first words, and return how long its process lives on (ms)."""
    work = next(one for one in works if one.worker == "whisper")
    work.ask(client)
    (pid,) = _pids(host, work)
    speech = b"".join(client.stream(SPEECH, "speak", SENTENCE * 8))
    heard = client.exchange(SPEECH, "transcribe", iter([speech]), "en", timeout_s=PATIENT_S)
    next(heard)
    time.sleep(0.1)  # the next window is worked on by then
    began = time.perf_counter()
    del heard
    while Path(f"/proc/{pid}").exists() and time.perf_counter() - began < 10:
        time.sleep(0.005)
    return (time.perf_counter() - began) * 1000
