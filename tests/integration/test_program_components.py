"""Components that are programs, on a real host: a shell script, a static binary, and a captured one."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from hosts.program_texts import ADDER, SAFE, write_programs
from hosts.running_host import RunningHost, free_port, running
from paho.mqtt.enums import CallbackAPIVersion
from tools.programs import need

from tlsrt.errors import DeadlineExceeded, Failed, InvalidArgument, NotFound, Unavailable

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "kettle"
PYTHON = os.path.realpath(getattr(sys, "_base_executable", sys.executable))


@pytest.fixture(scope="module")
def ports() -> list[int]:
    return [free_port() for _ in range(5)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("programs")
    for above in (folder, *folder.parents[:2]):
        above.chmod(0o755)
    write_programs(folder)
    return folder


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, folder: Path, ports: list[int]) -> Iterator[RunningHost]:
    python = {"run": PYTHON, "environment": {"PYTHONHOME": sys.base_prefix}}
    read = [sysconfig.get_path("stdlib"), str(folder)]

    def server(mode: str, port: int, **more: Any) -> dict[str, Any]:
        listen = [{"name": "web", "port": port, "why": "a test connects there"}]
        return {
            **python, "args": [f"-I -B {folder / 'server.py'} {mode} {port}"], "notifies": True,
            "needs": {"read": read, "listen": listen}, **more,
        }  # fmt: skip

    components: dict[str, dict[str, Any]] = {
        "third/kettle": {
            "run": str(folder / "kettle"),
            "offers": {
                "boil": {"says": "boils water", "arguments": {"litres": "float = 1"}, "returns": "str"},
                "spill": {"says": "spills it"},
                "wait": {"says": "says nothing"},
            },
            "topics": {"boiled": "the water has boiled"},
        },
        "external/static": {"run": str(folder / "static"), "health": {"exec": {"run": "/bin/true"}}},
        "forth/unwell": {
            "run": str(folder / "static"),
            "health": {"exec": {"run": "/bin/false"}, "start_s": 1, "every_s": 0.5, "fails": 2, "then": "none"},
        },
        "third/liar": {
            **python, "args": [f"-I -B {folder / 'liar.py'}"], "needs": {"read": read},
            "offers": {"act": {"says": "lies", "arguments": {"what": "str"}, "returns": "str"}},
            "topics": {"told": "what it tells"},
        },
        "external/broker": {
            "run": need("mosquitto"), "args": ["-c /etc/mosquitto.conf"],
            "files": {"/etc/mosquitto.conf": f"listener {ports[0]} 127.0.0.1\nallow_anonymous true\n"},
            "health": {"tcp": ports[0], "every_s": 0.5},
            "needs": {
                "listen": [{"name": "mqtt", "port": ports[0], "why": "things of the house talk here"}],
            },
        },
        "external/web": server("well", ports[1], health={"http": f"{ports[1]}/health"}),
        "external/ill": server(
            "well", ports[2], health={"http": f"{ports[2]}/x", "start_s": 1, "every_s": 0.5, "fails": 2, "then": "none"}
        ),
        "external/frozen": server(
            "frozen", ports[3],
            health={"tcp": ports[3], "timeout_s": 0.5, "start_s": 1, "every_s": 0.5, "fails": 2, "then": "none"},
        ),
        "external/late": server("late", ports[4], watchdog_s=0.5),
    }  # fmt: skip
    policy = {f"client/admin -> {address}": "*" for address in components}
    placed = {address: {"kind": "program", **one} for address, one in components.items()}
    yield from running(request, components=placed, policy=policy)


def pid_of(host: RunningHost, process: str, name: str = "main") -> int:
    found: list[int] = []

    def is_there(document: dict[str, Any]) -> bool:
        programs = next(one for one in document["loops"] if one["name"] == process)["programs"]
        found[:] = [run["pid"] for one in programs if one["name"] == f"{process}/{name}" for run in one["running"]]
        return bool(found)

    host.until(is_there, f"a run of {name}")
    return found[0]


def health_of(document: dict[str, Any], process: str) -> str:
    [component] = next(one for one in document["loops"] if one["name"] == process)["components"]
    return str(component["health"])


def act(host: RunningHost, what: str, timeout_s: float = 20.0) -> object:
    return host.client().call("third/liar", "act", what, timeout_s=timeout_s)


# A shell script


def test_its_methods_are_described_with_their_types(host: RunningHost) -> None:
    described = host.client().call("third/kettle", "describe")
    assert described["doc"].startswith("A program\n\nIt runs /")
    boil = described["methods"]["boil"]
    assert boil["doc"] == "boils water"
    assert [(one["name"], one["type"], one["default"]) for one in boil["parameters"]] == [("litres", "float", 1)]
    assert boil["returns"]["type"] == "str"
    assert described["topics"] == {"boiled": "the water has boiled"}


def test_it_answers_and_both_sides_are_checked(host: RunningHost) -> None:
    client = host.client()
    assert client.call("third/kettle", "boil", 2.5) == "2.5 litres are hot"
    assert client.call("third/kettle", "boil") == "1 litres are hot"
    with pytest.raises(InvalidArgument, match="litres: expected float"):
        client.call("third/kettle", "boil", "much")
    with pytest.raises(InvalidArgument, match="there is no water"):
        client.call("third/kettle", "spill")
    with pytest.raises(NotFound):
        client.call("third/kettle", "simmer")


def test_an_argument_without_a_default_is_described_as_required_and_is(host: RunningHost) -> None:
    client = host.client()
    [what] = client.call("third/liar", "describe")["methods"]["act"]["parameters"]
    assert what["required"] and "default" not in what
    with pytest.raises(InvalidArgument, match="missing parameter: what"):
        client.call("third/liar", "act")


def test_what_it_publishes_is_heard(host: RunningHost) -> None:
    client = host.client()
    events = client.stream("third/kettle", "subscribe", "boiled")
    heard: list[object] = []
    listener = threading.Thread(target=lambda: heard.append(next(iter(events))))
    listener.start()
    while listener.is_alive():
        client.call("third/kettle", "boil", 3.0)
        listener.join(0.05)
    assert heard == [3.0]


def test_what_it_writes_is_in_the_log_and_a_caller_that_gives_up_is_told(host: RunningHost) -> None:
    with pytest.raises(DeadlineExceeded):
        host.client().call("third/kettle", "wait", timeout_s=0.3)
    host.until(lambda _: "told that a caller has given up" in host.log("third.kettle"), "it is told")
    assert "main #1: the kettle is on" in host.log("third.kettle")


def test_killed_in_the_middle_of_a_call_it_leaves_no_caller_waiting_and_runs_again(host: RunningHost) -> None:
    pid, waited = pid_of(host, "third.kettle"), host.log("third.kettle").count(" waits")
    found: list[BaseException] = []

    def wait() -> None:
        try:
            host.client().call("third/kettle", "wait")
        except Exception as error:
            found.append(error)

    caller = threading.Thread(target=wait)
    caller.start()
    host.until(lambda _: host.log("third.kettle").count(" waits") > waited, "a call that waits")
    os.kill(pid, signal.SIGKILL)
    caller.join(10)
    assert isinstance(found[0], Unavailable)
    assert host.client().call("third/kettle", "boil") == "1 litres are hot", "the next call waits for the next run"


# A static binary, and checks


def test_a_static_binary_runs_and_its_check_says_that_it_is_well(host: RunningHost) -> None:
    host.until(lambda _: "a static binary runs" in host.log("external.static"), "its first line")
    host.until(lambda document: health_of(document, "external.static") == "good", "it is well")
    listed = json.loads(host.cli("component", "list", "--json").stdout)["components"]
    static = next(one for one in listed if one["component"] == "external/static")
    assert static["package"].startswith("program /")
    assert static["health"] == "good"


def test_one_whose_check_fails_is_not_ready_and_then_not_well(host: RunningHost) -> None:
    host.until(lambda document: health_of(document, "forth.unwell") == "failing", "it is not well")
    log = host.log("forth.unwell")
    assert "not ready: its check ended with status 1" in log
    assert "not healthy" in log


# Daemons with listeners


def test_mosquitto_serves_with_one_listener_and_comes_again_when_it_is_killed(
    host: RunningHost, ports: list[int]
) -> None:
    client = paho.Client(CallbackAPIVersion.VERSION2)
    came: queue.Queue[bytes] = queue.Queue()

    def subscribed(*_: object) -> None:
        client.publish("kettle", b"hot")

    def connected(*_: object) -> None:
        client.subscribe("kettle")

    client.on_connect = connected
    client.on_subscribe = subscribed
    client.on_message = lambda _, __, message: came.put(bytes(message.payload))
    client.reconnect_delay_set(1, 1)
    client.connect("127.0.0.1", ports[0])
    client.loop_start()
    try:
        assert came.get(timeout=10) == b"hot"
        before = pid_of(host, "external.broker")
        os.kill(before, signal.SIGKILL)
        assert came.get(timeout=10) == b"hot", "the client has come again, and the broker too"
        assert pid_of(host, "external.broker") != before
    finally:
        client.loop_stop()
    assert "mosquitto version" in host.log("external.broker")
    assert health_of(host.status(), "external.broker") == "good"


def test_an_http_server_is_ready_when_it_says_so_and_its_check_passes(host: RunningHost) -> None:
    host.until(lambda document: health_of(document, "external.web") == "good", "it is well")
    assert "status: serving" in host.log("external.web")


def test_one_that_says_it_is_ready_and_does_not_serve_is_not_believed(host: RunningHost, ports: list[int]) -> None:
    host.until(lambda document: health_of(document, "external.frozen") == "failing", "it is not well")
    assert f"not ready: port {ports[3]} does not answer" in host.log("external.frozen")
    host.until(lambda document: health_of(document, "external.ill") == "failing", "nor is the other")
    assert "not ready: GET /x is answered with 503" in host.log("external.ill")


def test_a_watchdog_that_does_not_come_ends_the_run(host: RunningHost) -> None:
    host.until(lambda _: "no WATCHDOG=1 for 0.5 s" in host.log("external.late"), "a late watchdog")
    assert "WATCHDOG_USEC is 500000" in host.log("external.late")


# By a manifest alone


def test_a_file_of_a_few_lines_is_added_changed_and_removed(host: RunningHost, folder: Path) -> None:
    file, program = folder / "teapot.yaml", folder / "kettle.sh"
    program.write_text((EXAMPLE / "kettle.sh").read_text().replace("TERM", "HUP"))
    program.chmod(0o755)
    text = (EXAMPLE / "kettle.yaml").read_text() + "stop_signal: HUP\n"
    file.write_text(text.replace("/usr/local/lib/kettle.sh", str(program)).replace("third/kettle", "third/teapot"))
    before = {name: pid for name, pid in host.pids().items() if name != "external.late"}  # which ends by itself
    added = host.cli("component", "add", str(file), "--yes")
    assert f"third/teapot, the program {program}, in a process of its own" in added.stdout
    assert "third/teapot runs in third.teapot" in added.stdout, added.stderr
    assert host.client().call("third/teapot", "boil", 1.5) == "1.5 litres are hot"
    assert host.client().call("third/teapot", "describe")["doc"].startswith("boils water, in the shell\n")
    assert before.items() <= host.pids().items(), "no other process was restarted"
    file.write_text(file.read_text().replace("memory_mb: 16", "read: [/etc/hostname]"))
    updated = host.cli("component", "update", "third/teapot", str(file), "--yes").stdout
    assert "/etc/hostname" in updated
    assert str(program) not in updated
    assert host.client().call("third/teapot", "boil", 2.5) == "2.5 litres are hot"
    assert "main #1: the kettle is off" in host.log("third.teapot")
    host.cli("component", "remove", "third/teapot", "--purge")
    assert "third.teapot" not in host.pids()


def test_one_that_ends_at_once_is_said_to_have_ended_with_its_status_and_last_words(
    host: RunningHost, folder: Path
) -> None:
    file, program = folder / "brief.yaml", folder / "brief.sh"
    program.write_text("#!/bin/sh\necho 'no water: fill the kettle' >&2\nexit 3\n")
    program.chmod(0o755)
    file.write_text(f"manifest: 1\ncomponent: third/brief\nkind: program\ntitle: brief\nrun: {program}\n")
    added = host.cli("component", "add", str(file), "--yes")
    [line] = [line for line in added.stdout.splitlines() if line.startswith("third/brief is added")]
    assert line.startswith("third/brief is added, and does not run: its program has ended with status 3 (run #"), line
    assert line.endswith('; it says: "no water: fill the kettle"'), f"{line}\n{host.log('third.brief')}"
    assert "runs in" not in added.stdout
    assert added.returncode != 0
    host.cli("component", "remove", "third/brief", "--purge")


def test_a_script_in_python_is_told_what_it_must_read_before_it_is_added(host: RunningHost, folder: Path) -> None:
    file, program = folder / "adder.yaml", folder / "adder.py"
    program.write_text(ADDER.format(python=PYTHON))
    program.chmod(0o755)
    text = (
        f"manifest: 1\ncomponent: third/adder\nkind: program\ntitle: adds\nrun: {program}\n"
        "offers: {add: {says: adds two, arguments: {a: int, b: 'int = 1'}, returns: int}}\n"
    )
    file.write_text(text)
    library = Path(PYTHON).parent.parent / "lib" / Path(PYTHON).name
    refused = host.cli("component", "add", str(file), "--yes")
    assert f"{PYTHON} cannot begin without its library: put {library} under `read`" in refused.stderr
    file.write_text(f"{text}needs: {{read: [{{path: {library}, why: the library of Python}}]}}\n")
    host.cli("component", "add", str(file), "--yes")
    assert host.client().call("third/adder", "add", 2) == 3
    with pytest.raises(InvalidArgument, match="missing parameter: a"):
        host.client().call("third/adder", "add", b=2)
    host.cli("component", "remove", "third/adder", "--purge")


def test_it_reads_its_secret_in_a_file_and_does_not_run_without_it(host: RunningHost, folder: Path) -> None:
    file, program = folder / "safe.yaml", folder / "safe.sh"
    program.write_text(SAFE)
    program.chmod(0o755)
    needs = "{secrets: [{name: key, why: it unlocks}, {name: spare, why: a second one, optional: true}]}"
    file.write_text(
        f"manifest: 1\ncomponent: third/safe\nkind: program\ntitle: a safe\nrun: {program}\nneeds: {needs}\n"
        "offers: {unlock: {says: shows what it has, returns: str}}\n"
    )
    added = host.cli("component", "add", str(file), "--yes")
    assert "spare, optional yes" in added.stdout
    say = "there is no secret key: set it with `tlsrt-supervisor secret set third/safe key`"
    assert say in added.stdout + added.stderr
    command = host.command("secret", "set", "third/safe", "key")
    done = subprocess.run(command, input=b"swordfish", capture_output=True, timeout=60, cwd=host.base, check=False)
    assert b"third.safe was started anew with it" in done.stdout, done.stderr
    assert host.client().call("third/safe", "unlock") == "key swordfish, spare "
    host.cli("component", "remove", "third/safe", "--purge")


# A captured program


def test_it_answers_and_has_no_descriptor_but_four(host: RunningHost) -> None:
    assert act(host, "fine") == "1 []", "it is the first of its own processes, and sees no /proc"


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("huge", "it has written a line that is too long"),
        ("junk", "it writes what makes no sense again and again"),
        ("unasked", "a call that was not made"),
    ],
)
def test_what_makes_no_sense_ends_its_run_and_is_told_in_a_line(host: RunningHost, what: str, said: str) -> None:
    before = pid_of(host, "third.liar")
    with pytest.raises(Unavailable):
        act(host, what)
    assert str(act(host, "fine")).startswith("1 "), "the next run answers"
    log = host.log("third.liar")
    assert said in log
    assert "Traceback" not in log
    assert pid_of(host, "third.liar") != before


@pytest.mark.parametrize("what", ["deep", "half"])
def test_a_single_wrong_line_costs_it_nothing_but_a_line_in_the_log(host: RunningHost, what: str) -> None:
    before = pid_of(host, "third.liar")
    assert act(host, what) == "after it"
    assert "is no message of JSON-RPC" in host.log("third.liar")
    assert pid_of(host, "third.liar") == before


def test_an_answer_of_the_wrong_type_and_a_second_one_reach_no_caller(host: RunningHost) -> None:
    with pytest.raises(Failed, match="expected str, got int"):
        act(host, "wrong type")
    assert act(host, "twice") == "first"
    assert str(act(host, "fine")).startswith("1 ")


def test_silence_holds_up_no_other_call(host: RunningHost) -> None:
    with pytest.raises(DeadlineExceeded):
        act(host, "silence", timeout_s=0.3)
    assert str(act(host, "fine")).startswith("1 ")


def test_a_child_whose_parent_dies_does_not_outlive_it(host: RunningHost) -> None:
    before = pid_of(host, "third.liar")
    with pytest.raises(Unavailable):
        act(host, "leave a child")
    assert str(act(host, "fine")).startswith("1 ")
    assert pid_of(host, "third.liar") != before


def test_a_flood_of_events_leaves_its_neighbour_alone(host: RunningHost) -> None:
    with pytest.raises((DeadlineExceeded, Unavailable)):
        act(host, "flood", timeout_s=1.0)
    assert host.client().call("third/kettle", "boil") == "1 litres are hot"
