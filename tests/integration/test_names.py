"""A component reaches the names of its egress rules, unpatched, from an empty network namespace; and no others."""

from __future__ import annotations

import http.server
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.echo_server import echo_servers
from fakes.name_server import NameServer, name_server
from hosts.late_prelude import LatePrelude
from hosts.running_host import RunningHost, running
from tools.programs import need

PACKAGE = Path(__file__).parents[1] / "hosts" / "fetching_package" / "fetching"
COMPONENT, POLLER = "forth/fetcher", "external/poller"
# A second is a short time to live, and no test waits for five minutes.
PRELUDE = """
from tlsrt.supervisor.supervision import name_lookup
name_lookup.LEAST_S, name_lookup.LINGER_S, name_lookup.ABSENT_S, name_lookup.RETRY_MOST_S = 0.2, 1.0, 0.2, 0.2
"""
NEAR = {"to": ["echo.test:*", "alias.test:*", "long.test:*", "late.test:*", "forged.test:*", "moving.test:*"]}
FAR = {"to": ["inward.test:*", "metadata.test:*", "mapped.test:*", "silent.test:*"]}


@pytest.fixture(scope="module")
def ports() -> Iterator[dict[str, int]]:
    with echo_servers() as found:
        yield found


@pytest.fixture(scope="module")
def server() -> Iterator[NameServer]:
    with name_server() as server:
        server.records.update(
            {
                "echo.test": ["127.0.0.1"], "alias.test": ["inner.test"], "inner.test": ["innermost.test"],
                "innermost.test": ["127.0.0.1"], "long.test": ["127.0.0.1"], "forged.test": ["127.0.0.1"],
                "moving.test": ["127.0.0.2"], "inward.test": ["127.0.0.1"], "metadata.test": ["169.254.169.254"],
                "mapped.test": ["::ffff:127.0.0.1", "::1", "fe80::1"], "silent.test": ["127.0.0.1"],
                "unlisted.test": ["127.0.0.1"], "web.test": ["127.0.0.1"],
            }
        )  # fmt: skip
        server.truncated.add("long.test")
        server.silent.add("silent.test")
        server.forged["forged.test"] = "127.0.0.9"
        yield server


class Greeter(http.server.BaseHTTPRequestHandler):
    """Says hello; who asks for /kept gets no end of it."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"hello {self.headers['Host']}\n".encode())
        self.wfile.flush()
        if self.path == "/kept":
            self.rfile.read(1)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def web() -> Iterator[int]:
    """Give the port of a web server."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Greeter) as one:
        one.daemon_threads = True
        threading.Thread(target=one.serve_forever, daemon=True).start()
        yield one.server_address[1]
        one.shutdown()


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, server: NameServer, web: int) -> Iterator[RunningHost]:
    need("curl")
    curl = {"run": os.path.realpath(shutil.which("curl") or ""), "args": ["-sS {url:text}"], "why": "a test"}
    to_web = [{"to": [f"web.test:{web}"], "within": ["127.0.0.0/8"], "why": "a test"}]
    egress = [
        {**NEAR, "within": ["127.0.0.0/8"], "why": "the echo server of the test"},
        {**FAR, "why": "servers of the Internet"},
    ]
    programs = {"curl": curl | {"egress": to_web}}
    components = {
        COMPONENT: {"class": "fetching:EarlyFetcher", "needs": {"egress": egress}, "programs": programs},
        POLLER: {
            "kind": "program",
            "run": curl["run"],
            "args": [f"-sSN http://web.test:{web}/kept"],
            "needs": {"egress": to_web},
        },
    }
    policy = {f"client/admin -> {COMPONENT}": "*"}
    extra = {"resolver": {"servers": [f"127.0.0.1:{server.port}"]}}
    yield from running(
        request, components=components, policy=policy, packages=[PACKAGE], prelude=LatePrelude(PRELUDE), extra=extra
    )  # fmt: skip


def test_a_name_is_reached_as_any_library_does(host: RunningHost, ports: dict[str, int]) -> None:
    with host.client() as client:
        assert client.call(COMPONENT, "found_at_start") == "127.0.0.1"
        assert client.call(COMPONENT, "interfaces") == ["lo"]
        for name in ("echo.test", "alias.test", "long.test", "forged.test"):
            assert pinned(host, name) == ["127.0.0.1"]
            assert client.call(COMPONENT, "look_up", name) == ["127.0.0.1"]
            assert client.call(COMPONENT, "fetch", name, ports["tcp"]) == "ping"


def pinned(host: RunningHost, name: str) -> list[str]:
    """Return the addresses of a name as soon as it has some."""
    status = host.until(lambda status: bool(entry(status, name)["addresses"]), f"an address of {name}")
    found: list[str] = entry(status, name)["addresses"]
    return found


def entry(status: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in status["names"] if one["name"] == name)


def test_what_no_rule_lists_is_not_found_and_nobody_is_asked(host: RunningHost, server: NameServer) -> None:
    with host.client() as client:
        for name in ("unlisted.test", "tell.them.my.secret.echo.test", "localhost.test"):
            assert "not known" in client.call(COMPONENT, "look_up", name)[0]
            assert name not in server.asked


@pytest.mark.parametrize("name", ["inward.test", "metadata.test", "mapped.test"])
def test_a_name_of_the_internet_that_leads_inside_leads_nowhere(
    host: RunningHost, ports: dict[str, int], name: str
) -> None:
    status = host.until(lambda status: bool(entry(status, name)["refused"]), f"that {name} is refused")
    assert entry(status, name)["addresses"] == [] and "not public" in entry(status, name)["problem"]
    host.wait_for(f"resolver +warning +{name} is said to be")
    with host.client() as client:
        assert "not known" in client.call(COMPONENT, "look_up", name)[0]
        assert client.call(COMPONENT, "fetch", "169.254.169.254", 80) == "EACCES"


def test_an_address_is_reached_only_while_a_name_has_it(
    host: RunningHost, server: NameServer, ports: dict[str, int]
) -> None:
    assert pinned(host, "moving.test") == ["127.0.0.2"]
    with host.client() as client:
        assert client.call(COMPONENT, "fetch", "127.0.0.3", ports["tcp"]) == "EACCES"
        server.records["moving.test"] = ["127.0.0.3"]
        host.until(lambda status: entry(status, "moving.test")["addresses"] == ["127.0.0.3"], "the other address")
        assert client.call(COMPONENT, "look_up", "moving.test") == ["127.0.0.3"]
        assert client.call(COMPONENT, "fetch", "127.0.0.2", ports["tcp"]) == "EACCES"
        assert client.call(COMPONENT, "fetch", "127.0.0.3", ports["tcp"]) == "ECONNREFUSED"  # nobody listens there


def test_a_name_that_is_not_there_yet_comes(host: RunningHost, server: NameServer, ports: dict[str, int]) -> None:
    with host.client() as client:
        assert "not known" in client.call(COMPONENT, "look_up", "late.test")[0]
        server.records["late.test"] = ["127.0.0.1"]
        pinned(host, "late.test")
        assert client.call(COMPONENT, "fetch", "late.test", ports["tcp"]) == "ping"


def test_a_server_that_fails_takes_no_address_away(host: RunningHost, server: NameServer) -> None:
    assert pinned(host, "echo.test") == ["127.0.0.1"]
    server.failing.add("echo.test")
    try:
        asked = len(server.asked)
        host.until(lambda status: server.asked[asked:].count("echo.test") > 8, "eight failures")
        assert pinned(host, "echo.test") == ["127.0.0.1"]
    finally:
        server.failing.clear()


def test_a_resolver_that_dies_comes_again_and_no_name_is_lost(host: RunningHost, ports: dict[str, int]) -> None:
    pinned(host, "echo.test")
    before = host.status()["resolver"]
    os.kill(before["pid"], signal.SIGKILL)
    host.until(lambda status: status["resolver"]["restarts"] > before["restarts"], "a resolver that comes again")
    with host.client() as client:
        assert client.call(COMPONENT, "fetch", "echo.test", ports["tcp"]) == "ping"
    host.until(lambda status: status["resolver"]["state"] == "active", "that it works")


def test_a_resolver_is_confined_as_its_profile_says(host: RunningHost) -> None:
    status = host.until(lambda status: status["resolver"]["state"] == "active", "the resolver")
    pid = status["resolver"]["pid"]
    assert os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")
    shown = host.cli("sandbox", "show", "resolver").stdout
    assert "makes no socket" in shown or "holds no key" in shown
    refused = host.cli("sandbox", "explain", "resolver", "socket", "AF_INET", "SOCK_DGRAM")
    assert refused.returncode == 1


def test_explain_answers_for_names(host: RunningHost, ports: dict[str, int]) -> None:
    pinned(host, "echo.test")
    allowed = host.cli("sandbox", "explain", "forth.fetcher", "connect", "echo.test:8883")
    assert allowed.returncode == 0, allowed.stderr
    assert "the echo server of the test" in allowed.stdout and "now 127.0.0.1" in " ".join(allowed.stdout.split())
    refused = host.cli("sandbox", "explain", "forth.fetcher", "connect", "ecno.test:8883")
    assert refused.returncode == 1 and "did you mean echo.test" in " ".join(refused.stdout.split())


def test_a_program_reaches_the_names_of_its_rules_and_no_other(
    host: RunningHost, server: NameServer, web: int, ports: dict[str, int]
) -> None:
    pinned(host, "web.test")
    with host.client() as client:
        assert client.call(COMPONENT, "by_curl", f"http://web.test:{web}/") == f"hello web.test:{web}\n"
        for name in ("unlisted.test", "echo.test"):  # of no component, and of its own
            assert "Could not resolve host" in client.call(COMPONENT, "by_curl", f"http://{name}:{web}/")
        for place in (f"127.0.0.1:{ports['tcp']}", f"127.0.0.2:{web}", f"169.254.169.254:{web}"):
            assert "onnect" in client.call(COMPONENT, "by_curl", f"http://{place}/")  # in words of a version of curl
    assert "unlisted.test" not in server.asked
    explained = host.cli("sandbox", "explain", "forth.fetcher/curl", "connect", f"web.test:{web}").stdout
    assert f"web.test:{web}" in explained and "127.0.0.0/8" in explained, explained


def test_a_component_that_is_a_program_reaches_its_names(host: RunningHost, web: int) -> None:
    host.until(lambda status: f"hello web.test:{web}" in host.log("external.poller"), "what it has got")
