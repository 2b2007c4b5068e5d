"""HTTP at the door of a running host: what curl and browsers see, and what they do not get."""

from __future__ import annotations

import http.client
import json
import os
import re
import shlex
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from attackers.arena import PACKAGE, VICTIM
from hosts.browser import JSON, Browser, ask, browsers, call, context_of, raw
from hosts.running_host import RunningHost, running
from tools.programs import need

from tlsrt import Client, traced
from tlsrt.config.bundle import write_bundle
from tlsrt.loops.http.connection import PING_S
from tlsrt.supervisor.control.client import ControlClient

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
EXPECT = b"POST /v1/call/a/b/c HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: 100-continue\r\n"
SMUGGLED = b"POST /v1/call/a/b/c HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
SMUGGLED += b"0\r\n\r\nGET /v1/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
POLICY = {
    "client/web -> secondary/store": ["put", "get"],
    "client/web -> third/io": ["notify", "subscribe"],
    f"client/web -> {VICTIM}": "*",
    "client/plain -> secondary/store": "*",
}


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(
        request, clients=["web", "plain"], http=["web"], policy=POLICY, packages=[PACKAGE],
        components={VICTIM: {"class": "captured.counter:Counter", "process": "shared"}},
    )  # fmt: skip


@pytest.fixture
def browser(host: RunningHost) -> Iterator[Browser]:
    yield from browsers(host)


def test_calls_by_name_and_by_position(host: RunningHost, browser: Browser) -> None:
    connection = browser()
    status, value = call(connection, "secondary/store/put", {"key": "greeting", "value": {"text": "hällo", "n": [1.5]}})
    assert status == 200 and value["revision"] >= 1
    assert call(connection, "secondary/store/get", ["greeting"]) == (200, {"text": "hällo", "n": [1.5]})
    with Client(host.bundle("plain")) as client:
        assert client.call("secondary/store", "get", "greeting") == {"text": "hällo", "n": [1.5]}


def test_a_call_belongs_to_the_trace_of_its_headers_and_the_next_one_does_not(
    host: RunningHost, browser: Browser
) -> None:
    connection, path = browser(), f"{VICTIM}/trace_of"
    assert call(connection, path, [], traceparent=TRACE, tracestate="a=1, b=2") == (200, f"{TRACE} a=1,b=2")
    assert call(connection, path, []) == (200, "")
    for wrong in (TRACE.upper(), f"{TRACE}-x", f"{TRACE}, {TRACE}", "00-" + "0" * 32 + TRACE[35:], "x" * 4000):
        assert call(connection, path, [], traceparent=wrong) == (200, ""), wrong
    with Client(host.bundle("web")) as client, traced(TRACE):
        assert client.call(VICTIM, "trace_of") == f"{TRACE} "
    command = [str(host.python), "-m", "tlsrt.channels.cli.main", "--bundle", str(host.folder / "web.tlsrt"), "call"]
    command += [VICTIM, "trace_of", "--json", "--traceparent"]
    assert json.loads(subprocess.check_output([*command, TRACE])) == f"{TRACE} "
    refused = subprocess.run([*command, "00-\x1b[31m"], capture_output=True, text=True)
    assert refused.returncode and "cannot use the traceparent" in refused.stderr and "\x1b" not in refused.stderr


def test_one_connection_serves_many_requests(host: RunningHost, browser: Browser) -> None:
    connection = browser()
    connection.connect()
    before = connection.sock
    for number in range(100):
        assert call(connection, "secondary/store/put", {"key": "n", "value": number})[0] == 200
    assert call(connection, "secondary/store/get", ["n"]) == (200, 99) and connection.sock is before


def test_every_answer_has_the_strict_headers(host: RunningHost, browser: Browser) -> None:
    for method, path in (("GET", "/v1/"), ("GET", "/nothing"), ("POST", "/v1/call/secondary/store/get")):
        _, _, answer = ask(browser(), method, path)
        assert answer.headers["Cache-Control"] == "no-store" and answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; frame-ancestors 'none'")
        assert "Access-Control-Allow-Origin" not in answer.headers and "Server" not in answer.headers


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("secondary/store/get", ["no such key"], 404, "not_found"),
        ("secondary/store/get", {}, 400, "invalid_argument"),
        ("secondary/store/get", {"key": 7}, 400, "invalid_argument"),
        ("secondary/store/delete", ["greeting"], 404, "not_found"),  # it exists, and this client may not
        ("forth/power/status", None, 403, "denied"),
        ("no/such/method", None, 403, "denied"),
    ],
)
def test_errors_are_problem_details(
    host: RunningHost, browser: Browser, path: str, body: object, status: int, code: str
) -> None:
    connection = browser()
    got, problem, answer = ask(connection, "POST", f"/v1/call/{path}", body)
    assert (got, problem["type"], problem["status"]) == (status, f"urn:tlsrt:error:{code}", status)
    assert answer.headers["Content-Type"] == "application/problem+json" and problem["detail"]
    assert call(connection, "secondary/store/put", {"key": "after", "value": 1})[0] == 200  # the connection lives on


def test_a_key_runs_once_over_connections(host: RunningHost, browser: Browser) -> None:
    before = call(browser(), f"{VICTIM}/value")[1]
    for _ in range(3):
        assert call(browser(), f"{VICTIM}/add", [5], **{"Idempotency-Key": "add-five"})[0] == 200
    assert call(browser(), f"{VICTIM}/value")[1] == before + 5


def test_a_key_with_other_arguments_is_a_conflict(browser: Browser) -> None:
    before = call(browser(), f"{VICTIM}/value")[1]
    assert call(browser(), f"{VICTIM}/add", [5], **{"Idempotency-Key": "five"})[0] == 200
    status, problem = call(browser(), f"{VICTIM}/add", [6], **{"Idempotency-Key": "five"})
    assert (status, problem["type"]) == (409, "urn:tlsrt:error:conflict") and "other arguments" in problem["detail"]
    assert call(browser(), f"{VICTIM}/value")[1] == before + 5


def test_a_key_does_not_run_again_when_its_component_was_restarted(host: RunningHost, browser: Browser) -> None:
    """The answer was lost, or it was not: the next process of the component does not know."""
    key = {"Idempotency-Key": "over a restart"}
    assert call(browser(), f"{VICTIM}/add", [5], **key)[0] == 200
    host.respawn(VICTIM.partition("/")[0])
    status, problem = call(browser(), f"{VICTIM}/add", [5], **key)
    assert (status, problem["type"]) == (502, "urn:tlsrt:error:outcome_unknown"), problem
    assert call(browser(), f"{VICTIM}/value")[1] == 0, "it counts from nothing, and nothing was added"
    assert call(browser(), f"{VICTIM}/add", [5], **{"Idempotency-Key": "another"})[0] == 200


def test_a_time_that_cannot_be_met_is_the_deadline_and_nothing_ran(browser: Browser) -> None:
    for query, more in (("1e-9", {}), ("1e-9", {"Idempotency-Key": "in no time"})):
        status, problem = call(browser(), f"{VICTIM}/value?timeout_s={query}", **more)
        assert (status, problem["type"]) == (504, "urn:tlsrt:error:deadline"), problem
    connection = browser()
    for _ in range(20):  # whether it is met or not is a race, and there are two answers only
        status, problem = call(
            connection, f"{VICTIM}/value?timeout_s=0.001", **{"Idempotency-Key": os.urandom(8).hex()}
        )
        assert status in (200, 504), problem


def test_what_there_is_for_this_client(host: RunningHost, browser: Browser) -> None:
    _, targets, _ = ask(browser(), "GET", "/v1/")
    assert targets["secondary/store"] == ["describe", "get", "put"] and "forth/power" not in targets
    _, document, _ = ask(browser(), "GET", "/v1/openapi.json")
    paths = document["paths"]
    assert "/v1/call/secondary/store/put" in paths and "/v1/call/secondary/store/delete" not in paths
    assert document["servers"] == [{"url": f"https://127.0.0.1:{host.port}"}] and "/v1/events/third/io/notice" in paths


def test_a_person_who_comes_with_a_browser_sees_a_page(browser: Browser) -> None:
    connection = browser()
    browsers = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Sec-Fetch-Site": "none"}
    connection.request("GET", "/", headers=browsers)
    answer = connection.getresponse()
    body = answer.read().decode()
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "client/web" in body and "secondary/store" in body and "forth/power" not in body
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert ask(connection, "GET", "/", Accept="application/json")[0] == 404


def listen(connection: http.client.HTTPSConnection) -> http.client.HTTPResponse:
    """Subscribe to notices; the head of the answer says that nothing is missed from now on."""
    connection.request("GET", "/v1/events/third/io/notice", headers={"Accept": "text/event-stream"})
    return connection.getresponse()


def test_a_subscription_is_a_stream_of_events_that_begins_at_once(host: RunningHost, browser: Browser) -> None:
    connection = browser()
    before = time.monotonic()
    answer = listen(connection)
    assert time.monotonic() - before < PING_S / 2, "without an event"
    assert answer.status == 200 and answer.headers["Content-Type"] == "text/event-stream"
    assert call(browser(), "third/io/notify", ["info", "the kettle boils"])[0] == 200
    lines = [answer.readline() for _ in range(5)]
    assert lines[:4] == [b": \n", b"\n", b"id: 0\n", b"event: item\n"]
    assert json.loads(lines[4].removeprefix(b"data: "))["text"] == "the kettle boils"


def test_a_stream_that_breaks_says_so_in_an_event(host: RunningHost, browser: Browser) -> None:
    answer = listen(browser())
    host.respawn("third")
    rest = answer.read()  # to the end: nothing is cut off without a word
    assert rest.count(b"event: error\n") == 1 and b"event: end" not in rest
    assert json.loads(rest.rpartition(b"data: ")[2])["status"] in (502, 503)


def test_no_such_topic(browser: Browser) -> None:
    connection = browser()
    connection.request("GET", "/v1/events/third/io/nothing")
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["type"]) == (404, "urn:tlsrt:error:not_found")


def test_another_site_gets_nothing(host: RunningHost, browser: Browser) -> None:
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "https://127.0.0.1:1"},  # what another program of this machine serves
        {"Sec-Fetch-Site": "cross-site"},
        {"Content-Type": "text/plain"},
        {"Host": "evil.example"},
        {"Content-Encoding": "gzip"},
    ):
        status, _ = call(browser(), "secondary/store/put", {"key": "stolen", "value": 1}, **headers)
        assert status in (403, 415, 421)
    assert call(browser(), "secondary/store/get", ["stolen"])[0] == 404


def test_a_page_of_another_site_cannot_aim_the_decoys_at_its_visitor(host: RunningHost, browser: Browser) -> None:
    connection = browser()
    for path in ("/.env", "/%2eenv", "//admin"):
        headers = {
            "Sec-Fetch-Site": "cross-site",
            "Sec-Fetch-Mode": "no-cors",
            "Accept": "image/avif,image/webp,*/*;q=0.8",
        }
        status, problem, _ = ask(connection, "GET", path, **headers)
        assert (status, problem["type"]) == (403, "urn:tlsrt:error:denied")
    with ControlClient(host.config.run_dir) as control:
        events = control.follow("events", follow=True, since=0, kinds=["security"])
        told = next(event for event in events if event.get("name") == "decoy_touched")
    assert (told["fields"]["decoy"], told["subject"]) == ("foreign path /.env", "client/web")
    with ControlClient(host.config.run_dir) as control:
        found = {one["name"]: one["found"] for one in control.ask("anomalies")["detectors"]}
    assert found["decoy_path"] == 0
    assert call(connection, "secondary/store/put", {"key": "n", "value": 99})[0] == 200, "it is served on"


def test_curl_calls_by_the_line_that_export_prints(host: RunningHost, tmp_path: Path) -> None:
    need("curl")
    write_bundle(tmp_path / "web.tlsrt", host.bundle("web"))
    command = [sys.executable, "-m", "tlsrt.channels.cli.main", "export", "--bundle", str(tmp_path / "web.tlsrt")]
    done = subprocess.run([*command, str(tmp_path / "pem")], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    line = shlex.split(done.stdout.splitlines()[-1])
    assert line[0] == "curl"
    quiet = ["--disable", "--silent", "--show-error", "--fail", "--noproxy", "*", "--max-time", "30"]

    def curl(*words: str) -> str:
        done = subprocess.run([line[0], *quiet, *line[1:-1], *words], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    assert "/v1/call/secondary/store/put" in json.loads(curl(line[-1]))["paths"]
    place = line[-1].removesuffix("/v1/openapi.json") + "/v1/call/secondary/store/"
    put = curl("-H", "Content-Type: application/json", "-d", '{"key": "curl", "value": "hello"}', place + "put")
    assert json.loads(put)["revision"] >= 1
    assert curl("-H", "Content-Type: application/json", "-d", '["curl"]', place + "get") == '"hello"'
    done = subprocess.run([*command, "--p12", str(tmp_path / "p12")], capture_output=True, text=True, timeout=30)
    said = re.search(r"import (\S+/client.p12) with the password ([a-z2-7-]{27}), which", done.stdout)
    assert done.returncode == 0 and said is not None, done
    line = ["curl", "--cacert", line[2], "--cert-type", "P12", "--cert", ":".join(said.groups()), line[-1]]
    assert curl("-d", '["curl"]', "-H", "Content-Type: application/json", place + "get") == '"hello"'
    again = subprocess.run([*command, str(tmp_path / "pem")], capture_output=True, text=True, timeout=30)
    assert (again.returncode, again.stdout) == (78, "") and "already" in again.stderr


def test_a_client_that_was_not_enrolled_for_http_gets_none(host: RunningHost, browser: Browser) -> None:
    status, problem = call(browser("plain"), "secondary/store/get", ["greeting"])
    assert (status, problem["type"]) == (403, "urn:tlsrt:error:denied") and "http: true" in problem["detail"]
    assert "not_enrolled_for_http" in host.log("authority")
    received = raw(host, b"GET /v1/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 3, "plain")
    assert received.count(b"HTTP/1.1 403 ") == 1 and b"Connection: close" in received, "it keeps no place at the door"


@pytest.mark.parametrize("size", [262_130, 262_138])
def test_a_body_that_fits_here_and_not_into_a_frame_is_refused_with_a_word(
    host: RunningHost, browser: Browser, size: int
) -> None:
    connection = browser()
    status, problem = call(connection, "secondary/store/get", ["x" * size])
    assert (status, problem["type"]) == (400, "urn:tlsrt:error:invalid_argument"), problem
    assert call(connection, "secondary/store/put", {"key": "after", "value": 2})[0] == 200


def test_pipelined_requests_are_answered_in_order(host: RunningHost, browser: Browser) -> None:
    call(browser(), "secondary/store/put", {"key": "n", "value": 99})
    one = b"POST /v1/call/secondary/store/get HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    one += b'Content-Length: 5\r\n%s\r\n["n"]'
    received = raw(host, one % b"" + one % b"Connection: close\r\n")
    assert received.count(b"HTTP/1.1 200 OK") == 2 and received.endswith(b"99")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01 this is not HTTP\r\n\r\n", b"400"),
        (b"GET /v1/ HTTP/1.1\r\n\r\n", b"400"),  # no Host
        (b"GET /v1/ HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 20_000, b"431"),
        (
            b"POST /v1/call/a/b/c HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            b"400",
        ),
        (b"POST /v1/call/a/b/c HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"POST /v1/call/a/b/c HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: gzip\r\n\r\n", b"501"),
        (b"POST /v1/call/a/b/c HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999\r\n\r\n", b"413"),
        (EXPECT + b"Content-Length: 99999999\r\n\r\n", b"413"),
        (EXPECT + b"Content-Length: 9\r\n\r\n", b"415"),  # before anything of the body is sent
        (
            EXPECT.replace(b"100-continue", b"magic") + b"Content-Length: 9\r\nConnection: close\r\n\r\n" + b"x" * 9,
            b"417",
        ),
        (SMUGGLED, b"400"),
        (SMUGGLED.replace(b"Content-Length: 5", b"Content-Length: 5, 5"), b"400"),
        (b"GET /v1/ HTTP/1.1\nHost: 127.0.0.1\n\n", b"400"),
        (b"GET /v1/ HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\r\n b\r\n\r\n", b"400"),
        (b"GET /v1/ HTTP/2.0\r\nHost: 127.0.0.1\r\n\r\n", b"505"),
        (b"GET /v1/ HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 17_000 + b"\r\n\r\n", b"431"),
    ],
)
def test_bad_bytes_are_answered_once_and_ended(host: RunningHost, data: bytes, status: bytes) -> None:
    received = raw(host, data)
    assert received.startswith(b"HTTP/1.1 " + status) and received.count(b"HTTP/1.1 ") == 1


def test_nobody_sends_ahead_without_end(host: RunningHost) -> None:
    """Requests that come while one is answered are held, and their number of bytes is bounded."""
    slow = b"POST /v1/call/secondary/store/get HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    slow += b'Content-Length: 5\r\n\r\n["n"]'
    try:
        received = raw(host, slow * 20_000)
    except OSError:
        return  # it was cut while we wrote
    assert received.count(b"HTTP/1.1") < 20_000


def test_what_lies_ahead_is_bounded_over_many_requests(host: RunningHost) -> None:
    """A client that sends more with every answer is cut when 64 KiB wait, however many were answered meanwhile."""
    request = b"GET /v1/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    sent = 0
    plain = socket.create_connection(("127.0.0.1", host.port), timeout=30)
    with plain, context_of(host).wrap_socket(plain, server_hostname="127.0.0.1") as secure:
        try:
            while sent < 8 << 20:
                secure.sendall(request * 300)
                sent += 300 * len(request)
                if not secure.recv(65536):
                    break
        except OSError:
            pass  # it was cut while we wrote
    assert sent < 4 << 20


def test_a_client_that_leaves_in_a_call_leaves_no_traceback(host: RunningHost, browser: Browser) -> None:
    leaving = browser()
    assert call(leaving, f"{VICTIM}/value")[0] == 200
    leaving.request("POST", f"/v1/call/{VICTIM}/hold", None, JSON)
    assert call(browser(), f"{VICTIM}/value")[0] == 200  # so that one is under way
    leaving.close()
    assert call(browser(), f"{VICTIM}/release")[0] == 200
    assert "Traceback" not in host.log("primary")


def test_head_is_answered_without_a_body(host: RunningHost) -> None:
    for path, status in (
        (b"/v1/", b"200"),
        (b"/v1/events/third/io/notice", b"200"),
        (b"/v1/events/third/io/no", b"404"),
    ):
        received = raw(host, b"HEAD %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n" % path)
        assert received.startswith(b"HTTP/1.1 " + status) and received.endswith(b"\r\n\r\n"), path
        assert received.count(b"\r\n\r\n") == 1, path
    assert "Traceback" not in host.log("primary")


def test_a_respawned_primary_serves_again(host: RunningHost, browser: Browser) -> None:
    connection = browser()
    assert call(connection, "secondary/store/put", {"key": "kept", "value": 1})[0] == 200
    host.respawn("primary")
    assert call(browser(), "secondary/store/get", ["kept"]) == (200, 1)


def test_a_host_without_http_clients_has_no_http(request: pytest.FixtureRequest) -> None:
    for host in running(request, clients=["web"]):
        with socket.create_connection(("127.0.0.1", host.port), timeout=30) as plain, pytest.raises(ssl.SSLError) as no:
            context_of(host).wrap_socket(plain, server_hostname="127.0.0.1")
        assert "no application protocol" in str(no.value)
