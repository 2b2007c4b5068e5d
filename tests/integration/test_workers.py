"""Workers of a component on a real host: loaded when they are called, confined, unloaded when idle, begun anew."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hosts.reloading_host import edit, outcomes, reload, seal_host
from hosts.running_host import RunningHost, running

from tlsrt import CallError, DeadlineExceeded, InvalidArgument, NotFound, Unavailable

PACKAGE = Path(__file__).parent.parent / "hosts" / "worker_package" / "working"
OPEN, TYPED = "third/open", "third/typed"
WHY = "a test calls it"
MODEL: dict[str, Any] = {"worker": "working.model", "why": WHY, "seconds": 3, "memory_mb": 192}
GIVEN: dict[str, Any] = {"files": {"/etc/working/model.conf": "voice = low"}, "secrets": {"key": WHY}}


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    broken = {"worker": "working.broken", "why": WHY}
    jit = MODEL | {"executable_memory": True, "threads": 2, "at_once": 2}
    components = {
        OPEN: {
            "class": "working.component:Open",
            "programs": {"model": MODEL | GIVEN, "broken": broken},
            "needs": {"secrets": [{"name": "key", "why": WHY, "optional": True}]},
        },
        TYPED: {"class": "working.component:Typed", "programs": {"model": jit}},
    }
    policy = {f"client/admin -> {address}": "*" for address in components}
    yield from running(request, components=components, policy=policy, packages=[PACKAGE])


def one(host: RunningHost, function: str, *arguments: object, worker: str = "model") -> Any:
    return host.client().call(OPEN, "one", function, list(arguments), worker)


def record(host: RunningHost, process: str = "third.open", name: str = "model") -> dict[str, Any]:
    """Return what status says about a worker."""
    return next(dict(each) for each in host.loop(process)["programs"] if each["name"] == f"{process}/{name}")


def test_values_go_both_ways_and_what_libraries_print_goes_to_the_log(host: RunningHost) -> None:
    assert one(host, "echo", b"x" * 200_000) == b"x" * 200_000
    assert one(host, "find_twice", {"label": "cat", "score": 0.9})["labels"] == ["cat", "cat"]
    assert host.client().call(TYPED, "found", "dog") == {"label": "dog", "score": 0.5}
    log = host.log("third.open")
    assert "a library greets when it is imported" in log and "another one does it in C" in log
    assert "worker model: loaded in " in log


def test_ten_megabytes_stream_in_and_items_stream_out(host: RunningHost) -> None:
    client, pieces = host.client(), [os.urandom(1 << 20) for _ in range(10)]
    assert client.upload(TYPED, "size", iter(pieces)) == 10 << 20
    assert client.upload(OPEN, "pour", iter(pieces), "total") == 10 << 20
    sums = list(client.exchange(OPEN, "pour_many", iter(pieces[:2]), "sums"))
    assert sums[-1] == 2 << 20 and sums == sorted(sums)
    assert list(client.stream(TYPED, "count", 500)) == list(range(500))


def test_what_a_function_raises_is_one_clear_error(host: RunningHost) -> None:
    with pytest.raises(CallError, match="third/open one failed"):
        one(host, "fail", "no such voice")
    assert "WorkerError: worker model: fail raised ValueError: no such voice" in host.log("third.open")
    with pytest.raises(InvalidArgument, match="too loud"):
        one(host, "refuse", "too loud")
    with pytest.raises(InvalidArgument, match="data: expected bytes, got str"):
        one(host, "size", "text")
    with pytest.raises(NotFound, match="did you mean 'size'"):
        one(host, "sise", b"")
    with pytest.raises(CallError, match="failed"):
        one(host, "lie")
    assert record(host)["begun"] == 1, "none of these ends the worker"


def test_a_call_that_is_given_up_or_left_leaves_the_worker_as_it_is(host: RunningHost) -> None:
    client = host.client()
    assert client.call(OPEN, "give_up", "sleep", [0.4], 0.05) == "given up"
    stream = client.stream(OPEN, "many", "count", [10**9])
    assert [next(stream), next(stream)] == [0, 1]
    del stream
    client.close()
    assert one(host, "size", b"abc") == 3
    host.until(lambda document: "count has ended" in host.log("third.open"), "the stream ends in the worker")
    assert record(host)["begun"] == 1


def test_one_that_ends_is_unavailable_and_begun_anew_by_the_next_call(host: RunningHost) -> None:
    begun = record(host)["begun"]
    with pytest.raises(Unavailable, match="worker model has ended with status 3"):
        one(host, "end", 3)
    with pytest.raises(DeadlineExceeded, match="sleep took more than 3 s"):
        one(host, "sleep", 30.0)
    with pytest.raises(CallError):  # by RLIMIT_DATA as an exception, or by its control group
        one(host, "take", 400)
    assert one(host, "size", b"abc") == 3
    os.kill(record(host)["running"][0]["pid"], signal.SIGKILL)
    host.until(lambda document: not record(host)["running"], "the end of the worker")
    assert one(host, "size", b"abcd") == 4, "one that died while it was idle costs no call"
    assert record(host)["begun"] >= begun + 3
    assert host.client().call(OPEN, "metrics")["times"]["worker.model.load"]["count"] == record(host)["begun"]


def test_one_that_cannot_be_loaded_says_why_and_is_tried_again_later(host: RunningHost) -> None:
    with pytest.raises(Unavailable, match="cannot be loaded: RuntimeError: the model file is damaged"):
        one(host, "size", b"", worker="broken")
    with pytest.raises(Unavailable, match=r"the model file is damaged; tried again in \d s"):
        one(host, "size", b"", worker="broken")
    assert record(host, name="broken")["begun"] == 1


def test_it_is_unloaded_when_it_is_idle_and_loaded_by_the_next_call(host: RunningHost) -> None:
    assert host.client().call(TYPED, "found", "one")["label"] == "one"
    host.until(lambda document: not record(host, "third.typed")["running"], "an idle worker is unloaded")
    assert host.client().call(TYPED, "found", "two")["label"] == "two"
    assert record(host, "third.typed")["ends"]["ended"] >= 1


def test_under_load_no_more_processes_run_than_are_allowed_and_all_calls_are_answered(host: RunningHost) -> None:
    client, most, asked = host.client(), 0, 24
    with ThreadPoolExecutor(asked) as threads:
        answers = [threads.submit(client.call, TYPED, "found", str(number), timeout_s=30) for number in range(asked)]
        while not all(answer.done() for answer in answers):
            most = max(most, len(record(host, "third.typed")["running"]))
        assert one(host, "echo", b"another") == b"another"
    assert sorted(int(answer.result()["label"]) for answer in answers) == list(range(asked))
    assert most <= 2


def test_its_process_is_confined_and_sees_as_many_processors_as_it_was_given(host: RunningHost) -> None:
    found = one(host, "facts")
    assert (found["processors"], found["callback"]) == (1, False)
    typed = host.client().call(TYPED, "facts")
    assert typed["callback"], "its executable memory was granted"
    assert typed["processors"] == min(2, len(os.sched_getaffinity(0)))
    (entry,) = record(host)["running"]
    own, component = (Path(f"/proc/{pid}") for pid in (entry["pid"], host.pids()["third.open"]))
    status = dict(line.split(":\t", 1) for line in (own / "status").read_text().splitlines() if ":\t" in line)
    assert (status["NoNewPrivs"], status["Seccomp"], status["CapEff"]) == ("1", "2", "0" * 16)
    if os.geteuid() == 0:
        assert f"Uid:\t{status['Uid']}" not in (component / "status").read_text()
    for namespace in ("net", "pid", "mnt", "ipc", "uts"):
        assert os.readlink(own / "ns" / namespace) != os.readlink(component / "ns" / namespace), namespace
    links = sorted(os.readlink(own / "fd" / name).partition(":")[0] for name in os.listdir(own / "fd"))
    assert links == ["/dev/null", "socket", "socket", "socket"], (
        "three sockets are one pair to its component, and its log"
    )


def test_others_of_the_host_come_first_and_it_cannot_change_that(host: RunningHost) -> None:
    assert one(host, "hurry") == {"threads": "1", "nice": 5}
    (entry,) = record(host)["running"]
    own, component = entry["pid"], host.pids()["third.open"]
    assert os.sched_getscheduler(own) == os.SCHED_BATCH and os.getpriority(os.PRIO_PROCESS, own) == 5
    assert os.sched_getscheduler(component) == os.SCHED_OTHER and os.getpriority(os.PRIO_PROCESS, component) == 0
    if (share := Path(f"/proc/{own}/autogroup")).exists() and (said := share.read_text()):
        assert said.rstrip().endswith(" nice 5") and Path(f"/proc/{component}/autogroup").read_text() != said


def test_it_has_the_files_and_secrets_that_are_made_for_it(host: RunningHost) -> None:
    assert one(host, "read", "/etc/working/model.conf") == b"voice = low"
    assert one(host, "read", "/secrets/key") == b"", "an optional one that is not set"
    done = subprocess.run(
        host.command("secret", "set", OPEN, "key"), input=b"swordfish", capture_output=True, timeout=60, cwd=host.base,
        check=False,
    )  # fmt: skip
    assert b"third.open was started anew with it" in done.stdout, done.stderr
    assert one(host, "read", "/secrets/key") == b"swordfish"
    assert one(host, "echo", b"x" * 200_000) == b"x" * 200_000


def test_changed_code_is_refused_until_it_is_sealed_and_reloaded(host: RunningHost) -> None:
    with (host.base / "env" / "code" / "working" / "model.py").open("a") as file:
        file.write("\n# changed after the seal\n")
    assert one(host, "size", b"a") == 1, "what runs is what was sealed"
    with pytest.raises(Unavailable):
        one(host, "end", 0)
    with pytest.raises(Unavailable, match="has changed since the host was sealed"):
        one(host, "size", b"a")
    seal_host(host)
    assert outcomes(reload(host))["third.open"] == "restarted"
    assert one(host, "size", b"ab") == 2


def test_a_module_that_is_not_there_is_a_sentence_with_its_place(host: RunningHost) -> None:
    wrong = {"worker": "working.nothing", "why": WHY}
    edit(host, lambda document: document["components"][OPEN]["programs"].update(bad=wrong))
    said = host.cli("reload").stderr
    edit(host, lambda document: document["components"][OPEN]["programs"].pop("bad"))
    assert "cannot have the program bad: this Python has no module working.nothing" in said and "tlsrt.yaml:" in said
