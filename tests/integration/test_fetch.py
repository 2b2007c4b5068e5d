"""external/fetch in a running host: each by its caller's egress rules, against a web server that also lies."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from fakes.lying_web_server import MIB, WebServer
from fakes.own_certificate import server_context
from hosts.running_host import RunningHost, running

import tlsrt.loops.external
from tlsrt import Denied, Failed, InvalidArgument, Unavailable

PACKAGE = Path(__file__).parents[1] / "hosts" / "fetching_package" / "fetching"
MANIFEST = Path(tlsrt.loops.external.__file__).parent / "fetch.tlsrt.yaml"
FETCH = "external/fetch"


class Servers:
    """Web servers: of the client, another origin of it, one of the component, and one with TLS."""

    def __init__(self, folder: Path) -> None:
        self.ca = folder / "ca.pem"
        context = server_context(folder)
        self.mine, self.other, self.theirs, self.safe = WebServer(), WebServer(), WebServer(), WebServer(context)

    def close(self) -> None:
        for one in (self.mine, self.other, self.theirs, self.safe):
            one.close()


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with tempfile.TemporaryDirectory(prefix="tlsrt-web.") as name:
        folder = Path(name)
        folder.chmod(0o755)
        made = Servers(folder)
        yield made
        made.close()


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, servers: Servers) -> Iterator[RunningHost]:
    manifest = yaml.safe_load(MANIFEST.read_text())
    to = [f"127.0.0.1:{one.port}" for one in (servers.mine, servers.other, servers.safe)]
    relay = {**manifest["needs"]["relay"], "clients": {"client/admin": [{"to": to, "why": "a test"}]}}
    read = [*manifest["needs"]["read"], {"path": str(servers.ca.parent), "why": "the authority of a test"}]
    fetch = {
        "class": manifest["class"], "needs": {**manifest["needs"], "relay": relay, "read": read},
        "options": {"authorities": {"test": str(servers.ca)}},
    }  # fmt: skip
    egress = [{"to": [f"127.0.0.1:{servers.theirs.port}"], "why": "a test"}]
    components = {FETCH: fetch, "third/asker": {"class": "fetching:Fetcher", "needs": {"egress": egress}}}
    policy = {f"client/admin -> {FETCH}": "*", "client/admin -> third/asker": "*", f"third/asker -> {FETCH}": ["get"]}
    yield from running(request, components=components, policy=policy, packages=[PACKAGE])


def get(host: RunningHost, url: str, **more: Any) -> dict[str, Any]:
    with host.client() as client:
        answer: dict[str, Any] = client.call(FETCH, "get", url, **more)
        return answer


def test_each_reaches_what_its_own_rules_list(host: RunningHost, servers: Servers) -> None:
    answer = get(host, servers.mine.url("/echo"))
    assert answer["status"] == 200 and json.loads(answer["body"])["headers"]["host"] == f"127.0.0.1:{servers.mine.port}"
    with host.client() as client:
        assert client.call("third/asker", "through", servers.theirs.url()) == 200
        with pytest.raises(Denied, match="no egress rule of third/asker"):
            client.call("third/asker", "through", servers.mine.url())
        with pytest.raises(Denied, match="no egress rule of client/admin lists 127"):
            client.call(FETCH, "get", servers.theirs.url())
    for url in ("http://169.254.169.254/latest", "http://localhost/", "http://[::1]/", "http://example.org/"):
        with pytest.raises(Denied):
            get(host, url)


def test_a_redirect_is_judged_by_the_same_rules(host: RunningHost, servers: Servers) -> None:
    before = len(servers.theirs.asked)
    with pytest.raises(Denied):
        get(host, servers.mine.url(f"/go?to={quote(servers.theirs.url())}"))
    assert len(servers.theirs.asked) == before
    assert get(host, servers.mine.url("/go?to=/hello"))["redirects"] == [servers.mine.url("/go?to=/hello")]
    with pytest.raises(Failed, match="redirects once more, after 3"):
        get(host, servers.mine.url("/go?to=/go%3Fto%3D/go%3Fto%3D/go%3Fto%3D/go"), redirects=3)


def test_no_secret_follows_a_redirect_to_another_origin(host: RunningHost, servers: Servers) -> None:
    headers = {"Authorization": "Bearer x", "Cookie": "a=b", "X-Key": "k", "Accept": "text/plain"}
    for server, is_there in ((servers.mine, True), (servers.other, False)):
        url = servers.mine.url(f"/go?to={quote(server.url('/echo'))}")
        seen = json.loads(get(host, url, headers=headers)["body"])["headers"]
        assert [name in seen for name in ("authorization", "cookie", "x-key")] == [is_there] * 3
        assert seen["accept"] == "text/plain"
    url = servers.mine.url(f"/go?status=307&to={quote(servers.other.url('/echo'))}")
    with host.client() as client, pytest.raises(Failed, match="leads the body to another origin"):
        client.call(FETCH, "request", "POST", url, body=b"secret", redirects=1)


def test_what_may_be_kept_is_kept_for_the_caller_alone(host: RunningHost, servers: Servers) -> None:
    url = servers.mine.url("/hello?kept")
    assert [get(host, url)["cached"] for _ in range(3)] == [False, True, True]
    assert get(host, url, headers={"cache-control": "no-cache"})["cached"] is False
    assert sum(path == "GET /hello?kept" for path, _ in servers.mine.asked) == 2
    with host.client() as client:
        client.call(FETCH, "request", "POST", url, body=b"x")
    assert get(host, url)["cached"] is False
    tagged = servers.mine.url("/tagged")
    assert [get(host, tagged)["cached"] for _ in range(2)] == [False, True]
    for language in ("de", "fr", "de"):
        answer = get(host, servers.mine.url("/vary"), headers={"accept-language": language})
        assert answer["body"].decode() == language
    assert answer["cached"] is True
    assert [get(host, url, headers={"authorization": "me"})["cached"] for _ in range(2)] == [False, False]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("short", "no HTTP response"), ("chunks", "no HTTP response"), ("two_lengths", "no HTTP response"),
        ("endless_head", "no HTTP response"), ("interim", "interim responses"), ("garbage", "no HTTP response"),
        ("nothing", "before a response|no HTTP response"), ("bomb", "sent more than 1048576 bytes"),
        ("cut_packed", "cut off"), ("big", "sent more than 1048576 bytes"),
    ],
)  # fmt: skip
def test_who_lies_gets_one_sentence(host: RunningHost, servers: Servers, path: str, words: str) -> None:
    pid = host.loop("external.fetch")["pid"]
    with pytest.raises(Failed, match=words):
        get(host, servers.mine.url(f"/{path}"))
    assert host.loop("external.fetch")["pid"] == pid
    assert get(host, servers.mine.url("/packed"))["body"] == b"packed" * 1000


def test_who_is_slow_or_away_is_told(host: RunningHost, servers: Servers) -> None:
    with pytest.raises(Unavailable, match="did not answer within 0"):
        get(host, servers.mine.url("/silent"), within_s=0.3)
    servers.other.close()
    with pytest.raises(Unavailable, match="cannot be reached: connection refused"):
        get(host, servers.other.url())


def test_tls_is_verified_by_the_authority_that_is_named(host: RunningHost, servers: Servers) -> None:
    with pytest.raises(Unavailable, match="certificate that is not trusted"):
        get(host, servers.safe.url())
    assert get(host, servers.safe.url(), ca="test")["status"] == 200
    with pytest.raises(InvalidArgument, match="no authority 'nobody'"):
        get(host, servers.safe.url(), ca="nobody")
    with pytest.raises(Failed, match="leads from https to http"):
        get(host, servers.safe.url(f"/go?to={quote(servers.mine.url())}"), ca="test")


def test_a_large_body_is_streamed(host: RunningHost, servers: Servers) -> None:
    with host.client() as client:
        first, *rest = client.stream(FETCH, "download", servers.mine.url("/big"))
    assert first["status"] == 200 and sum(len(one["body"]) for one in rest) == 24 * MIB


@pytest.mark.parametrize(
    "url",
    ["ftp://127.0.0.1/", "http://user@127.0.0.1/", "http://127.0.0.1:0/", "http://[fe80::1%25lo]/", "http://a b/", "http://",
     "http://127.0.0.1:99999/", "http://127.0.0.1\\@example.org/", "http://exa\u00e4mple.org/"],
)  # fmt: skip
def test_what_is_no_url_is_refused(host: RunningHost, url: str) -> None:
    with pytest.raises(InvalidArgument):
        get(host, url)


@pytest.mark.parametrize("headers", [{"Host": "x"}, {"content-length": "1"}, {"a": "b\r\nc: d"}, {"a b": "c"}])
def test_a_header_that_could_smuggle_is_refused(host: RunningHost, servers: Servers, headers: dict[str, str]) -> None:
    with pytest.raises(InvalidArgument):
        get(host, servers.mine.url(), headers=headers)


def test_how_long_it_takes(host: RunningHost, servers: Servers) -> None:
    """Through TLS to the door: from what is kept, over HTTP and over HTTPS, each with a new connection."""
    urls = {"cached": servers.mine.url("/hello"), "http": servers.mine.url("/echo"), "https": servers.safe.url("/echo")}
    with host.client() as client:
        for name, url in urls.items():
            took = []
            for _ in range(60):
                began = time.perf_counter()
                client.call(FETCH, "get", url, ca="test")
                took.append((time.perf_counter() - began) * 1000)
            tiles = statistics.quantiles(took, n=100)
            print(f"{name}: p50 {tiles[49]:.1f} ms, p99 {tiles[98]:.1f} ms")
            assert tiles[49] < 5000
