"""The door of a real host for browsers: the page, the WebSocket, enrolment, a session, and how it ends."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import json
import socket
from collections.abc import Iterator
from contextlib import redirect_stdout

import pytest
from hosts.reloading_host import edit, outcomes, reload, seal_host
from hosts.running_host import RunningHost, running
from hosts.web_client import PING, PONG, WebPeer, WebSession, browser_context, enrol

from tlsrt.channels.session.enrolment import parse_code
from tlsrt.config.bundle import Bundle
from tlsrt.config.console_page import digest_of, read_page
from tlsrt.supervisor.cli.main import main

STORE = "secondary/store"


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(request, extra={"door": {"console": True}})


def supervisor(host: RunningHost, *words: str) -> str:
    said = io.StringIO()
    with redirect_stdout(said):
        assert main([*words, "--config", str(host.config_path)]) == 0, said.getvalue()
    return said.getvalue()


def browser(host: RunningHost, *protocols: str) -> WebPeer:
    return WebPeer(host.admin.ca_pem, host.port, protocols=protocols or ("http/1.1",))


def enrolled(host: RunningHost, name: str) -> Bundle:
    said = json.loads(supervisor(host, "client", "add", name, "--allow", f'{STORE}: "*"', "--json"))

    async def run() -> Bundle | None:
        async with browser(host) as peer:
            return await enrol(peer, parse_code(said["code"]))

    bundle = asyncio.run(run())
    assert bundle is not None
    return bundle


@pytest.mark.parametrize("protocols", [("http/1.1",), ("h2", "http/1.1")])
def test_a_stranger_gets_the_page(host: RunningHost, protocols: tuple[str, ...]) -> None:
    async def run() -> None:
        for name, body in read_page().items():  # each on a connection of its own, which has 64 requests
            async with browser(host, *protocols) as peer:
                status, fields, got = await peer.ask(f"/{name}")
                assert (status, got) == (200, body)
                assert fields["etag"] == f'"{hashlib.sha256(body).hexdigest()}"'
                assert "default-src 'none'" in fields["content-security-policy"] and "content-encoding" not in fields
                status, packed, got = await peer.ask(f"/{name}", accept_encoding="gzip, deflate, br, zstd")
                assert (status, gzip.decompress(got)) == (200, body) and packed["content-encoding"] == "gzip"
                assert packed["vary"] == fields["vary"] == "Accept-Encoding" and packed["etag"] != fields["etag"]
                status, _, got = await peer.ask(f"/{name}", if_none_match=fields["etag"])
                assert (status, got) == (304, b"")
        async with browser(host, *protocols) as peer:
            status, fields, got = await peer.ask("/", "HEAD")
            assert status == 200 and int(fields["content-length"]) == len(read_page()["index.html"])
            status, fields, _ = await peer.ask("/v1/")
            assert status == 404 and fields["connection"] == "close"

    asyncio.run(run())


def test_a_browser_enrols_and_is_a_client_as_any_other(host: RunningHost) -> None:
    bundle = enrolled(host, "phone")

    async def run() -> None:
        async with browser(host) as peer:
            assert await peer.upgrade() == 101
            session = WebSession(peer, bundle)
            assert await session.open() == "granted"
            assert session.endpoint.subject == "client/phone"
            value = "x" * 200_000
            await session.caller.call(STORE, "put", ["greeting", value])
            assert await session.caller.call(STORE, "get", ["greeting"]) == value
            supervisor(host, "client", "revoke", "phone")
            said = await asyncio.wait_for(session.closed(), 10)
            assert said == [("goodbye", "ended"), (8, (1000).to_bytes(2, "big"))]

    asyncio.run(run())
    assert "phone" in supervisor(host, "client", "list")


def test_a_ping_is_answered_and_nothing_else_comes_before_the_open(host: RunningHost) -> None:
    async def run() -> None:
        async with browser(host) as peer:
            assert await peer.upgrade() == 101
            assert (await peer.read_control())[0] == "challenge"
            peer.send(b"are you there", PING)
            assert await peer.read_frame() == (PONG, b"are you there")

    asyncio.run(run())


def test_console_prints_a_link_and_what_to_compare(host: RunningHost) -> None:
    said = supervisor(host, "console", "kiosk")
    assert f"https://127.0.0.1:{host.port}/#" in said and "client revoke kiosk" in said
    assert digest_of(read_page()) in said
    assert "first: `tlsrt-supervisor component add third/status`" in said
    with socket.create_connection(("127.0.0.1", host.port)) as plain:
        tls = browser_context(host.admin.ca_pem).wrap_socket(plain, server_hostname="127.0.0.1")
        shown = hashlib.sha256(tls.getpeercert(binary_form=True) or b"").hexdigest().upper()
        tls.close()
    assert ":".join(shown[at : at + 2] for at in range(0, 64, 2)) in said
    supervisor(host, "client", "revoke", "kiosk")


def test_a_reload_switches_the_console_off_and_on(host: RunningHost) -> None:
    """The last test of this host: its Primary is another one afterwards."""

    async def status() -> int:
        async with browser(host) as peer:
            return (await peer.ask("/"))[0]

    def switch(is_on: bool) -> dict[str, str]:
        edit(host, lambda document: document["door"].update(console=is_on))
        seal_host(host)
        return outcomes(reload(host))

    assert asyncio.run(status()) == 200
    assert switch(False) == dict.fromkeys(outcomes(reload(host)), "unchanged") | {host.config.door.runs_in: "restarted"}
    with pytest.raises(OSError, match=r"(?i)no.application.protocol"):  # this host speaks no HTTP now
        asyncio.run(status())
    done = host.cli("console")
    assert done.returncode == 78 and "`tlsrt-supervisor console --enable`" in done.stderr
    assert switch(True)[host.config.door.runs_in] == "restarted"
    assert asyncio.run(status()) == 200
