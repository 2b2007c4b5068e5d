"""The row `door`: a client over TLS -> gate -> a component in another loop -> back, and what others put there.

Our clients are real sessions: each opens with the admin's certificate, takes its grant, and seals its requests. They
are sealed before the clock starts and sent by the load client in C, which drives every server of the row; so what is
measured is the servers. What comes back is counted by its length, and before and after each burst one call of each
kind is opened and compared.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from bench.call_peers import TalkingPeer, talking
from bench.host import Host, free_port
from bench.processes import child, cpu_ns, python_environment
from bench.programs import c_program, environment, need_modules, program
from bench.row import Case, CaseMissing, Sample
from bench.tls import ANSWER_S, GROUP, Files, Load, Place, load_client, make_files
from bench.tls_peers import FOREVER_S, Processes, uvicorn_command
from tlsrt.channels.clock import boottime_ms
from tlsrt.channels.frames.body import decode_value_untrusted, encode_request
from tlsrt.channels.frames.frame import FrameKind, parse_frame_untrusted, parse_header_untrusted
from tlsrt.channels.session.endpoint import Endpoint
from tlsrt.channels.session.opening import ClientIdentity, Opening, identity_of
from tlsrt.channels.tls.message_stream import PROTOCOL, encode_control, parse_control_untrusted
from tlsrt.config.bundle import Bundle, read_bundle

TARGET, METHOD = "secondary/echo", "echo"
DEADLINE_MS = 200_000
LARGE_PER_S = 10_000  # the same where each has 4 KiB and more, which wait in memory
MOST_PER_S = 40_000  # requests that are sealed beforehand; a server that is faster ends its burst early
LENGTH_SLACK = 32
BROWSERS_MAX = 256
SETTINGS = {
    "max_unauthenticated_per_address": 64,
    "max_connections_per_client": 1024,
    "connections_per_address_s": 1000.0,
}


Frame = Callable[[bytes], bytes]
Begin = Callable[[Load, int], object]


def prefixed(payload: bytes) -> bytes:
    """Return a payload as it travels on a TLS stream."""
    return len(payload).to_bytes(4, "big") + payload


def masked(payload: bytes) -> bytes:
    """Return a payload as a browser sends it, RFC 6455, 5.2."""
    size = len(payload)
    head = bytes((0x82, 0x80 | size)) if size < 126 else bytes((0x82, 0xFE)) + size.to_bytes(2, "big")
    if size > 0xFFFF:
        head = bytes((0x82, 0xFF)) + size.to_bytes(8, "big")
    mask = os.urandom(4)
    pattern = (mask * (size // 4 + 1))[:size]
    return head + mask + (int.from_bytes(payload, "big") ^ int.from_bytes(pattern, "big")).to_bytes(size, "big")


def upgrade(port: int) -> Begin:
    """Return what asks for a WebSocket on a connection."""

    def begin(load: Load, number: int) -> None:
        host = f"127.0.0.1:{port}"
        request = (
            f"GET /tlsrt HTTP/1.1\r\nHost: {host}\r\nOrigin: https://{host}\r\nConnection: Upgrade\r\n"
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: tlsrt.1\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ).encode()
        found = load.order(f"upgrade {number} {len(request)}", request)
        if found["status"] != 101:
            raise RuntimeError(f"no WebSocket: {found['status']}")

    return begin


class Session:
    """One connection of the load client, opened as a session."""

    def __init__(self, load: Load, number: int, identity: ClientIdentity, frame: Frame, begin: Begin | None) -> None:
        self._load = load
        self._number = number
        self._frame = frame
        if begin is not None:
            begin(load, number)
        opening = Opening(identity)
        _, fields = parse_control_untrusted(self._hear(), "server")
        self._say(encode_control("open", *opening.answer_untrusted(*fields[:3])))
        name, fields = parse_control_untrusted(self._hear(), "server")
        if name != "granted":
            raise RuntimeError(f"no session: {name} {fields}")
        content = opening.accept_untrusted(*fields)
        self._endpoint = Endpoint("")
        self._endpoint.apply_grant(content, boottime_ms())

    def _hear(self) -> bytes:
        found = self._load.order(f"hear {self._number}")
        return self._load.bytes(found["bytes"])

    def _say(self, payload: bytes) -> None:
        message = self._frame(payload)
        self._load.order(f"say {self._number} {len(message)}", message)

    def _seal(self, body: bytes) -> bytes:
        deadline = boottime_ms() + DEADLINE_MS
        return self._endpoint.seal_request(
            FrameKind.REQUEST, TARGET, METHOD, encode_request([body], {}, None), deadline
        )[1]

    def prepare(self, body: bytes, count: int) -> None:
        """Hand the load client so many sealed requests."""
        frames = [self._seal(body) for _ in range(count)]
        if self._frame is not prefixed:
            frames = [self._frame(frame) for frame in frames]
        data = b"".join(map(prefixed, frames))
        self._load.order(f"load {self._number} {len(data)}", data)

    def call(self, body: bytes) -> int:
        """Call once, check the answer, and return its length."""
        self._say(self._seal(body))
        answer = self._hear()
        frame = parse_frame_untrusted(answer)
        opened = self._endpoint.open_untrusted(frame, parse_header_untrusted(frame.header), boottime_ms())
        if opened.header.kind != FrameKind.REPLY or decode_value_untrusted(opened.body) != body:
            raise RuntimeError(f"a wrong answer: {opened.header.kind}")
        return len(answer)


class TlsrtDoor:
    """A host and its sessions."""

    def __init__(self, host: Host, load: Load, frame: Frame = prefixed, begin: Begin | None = None) -> None:
        self.pids = host.pids()
        self._load = load
        self._frame, self._begin = frame, begin
        self._identity = identity_of(read_bundle(host.bundle))
        self._sessions: list[Session] = []

    def open(self, count: int) -> None:
        """Have so many sessions open; one after the other, since the door limits who is unknown yet."""
        for number in range(len(self._sessions), count):
            self._load.open(number + 1)
            self._sessions.append(Session(self._load, number, self._identity, self._frame, self._begin))

    def burst(self, case: Case, seconds: float) -> Sample:
        count = case.number("connections")
        if self._begin is not None and count > BROWSERS_MAX:
            raise CaseMissing("an address may ask for 50 WebSockets a second")
        return self.replay(count, count, case.number("size"), seconds)

    def replay(self, count: int, window: int, size: int, seconds: float) -> Sample:
        """Send requests on so many sessions, `window` of them under way at a time."""
        self.open(count)
        body = os.urandom(size)
        expected = self._sessions[0].call(body)
        each = int((MOST_PER_S if size < 4096 else LARGE_PER_S) * seconds / count) + 2
        for session in self._sessions[:count]:
            session.prepare(body, each)
        before = cpu_ns(self.pids.values())
        found = self._load.order(f"replay {count} {window} {seconds}", patience_s=seconds + ANSWER_S)
        used = cpu_ns(self.pids.values()) - before
        if found["other"] or abs(found["length"] - expected) > LENGTH_SLACK:
            raise RuntimeError(f"{found['other']} of {found['count']} answers were something else")
        self._sessions[0].call(body)
        return {
            "rate": found["count"] / found["seconds"],
            "p50_us": found["p50_us"],
            "p99_us": found["p99_us"],
            "cpu_us": used / 1000 / found["count"],
        }


def bundle_files(bundle: Bundle, folder: Path) -> Files:
    """Write a bundle's certificate and key where the load client can read them."""
    files = Files(folder / "client.pem", folder / "client.key", folder / "unused")
    for path, text in ((files.certificate, bundle.certificate_pem), (files.key, bundle.key_pem)):
        path.touch(0o600)
        path.write_bytes(text)
    return files


@contextmanager
def open_tlsrt(folder: Path) -> Iterator[TlsrtDoor]:
    c_program("tls_load")
    host = Host(folder, {"door": SETTINGS})  # one client opens all of them
    host.start()
    try:
        files = bundle_files(read_bundle(host.bundle), folder)
        with load_client(host.port, "tlsrt", folder / "errors", PROTOCOL, files) as load:
            yield TlsrtDoor(host, load)
    finally:
        host.stop()


@contextmanager
def open_web(folder: Path) -> Iterator[TlsrtDoor]:
    """The same sessions over WebSocket, without a client certificate in TLS, as the console's page opens them."""
    c_program("tls_load")
    host = Host(folder, {"door": {**SETTINGS, "console": True}})
    host.start()
    try:
        with load_client(host.port, "web", folder / "errors", "http/1.1") as load:
            yield TlsrtDoor(host, load, masked, upgrade(host.port))
    finally:
        host.stop()


def start_nginx_uvicorn(place: Place, stack: ExitStack) -> Processes:
    """nginx ends TLS and passes to uvicorn over a unix socket; no client certificate, no tokens."""
    need_modules("uvicorn", "uvloop", "httptools")
    folder, files = place.folder, place.files
    temporary = " ".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    shared = (
        f"ssl_certificate {files.certificate}; ssl_certificate_key {files.key}; ssl_protocols TLSv1.3; "
        f"ssl_ecdh_curve {GROUP}; location / {{ proxy_pass http://behind; proxy_http_version 1.1; "
        'proxy_set_header Connection ""; }'
    )
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off; master_process off; worker_processes 1; pid {folder}/pid; error_log {folder}/errors;\n"
        f"events {{ worker_connections 4096; }} http {{ access_log off; keepalive_requests 100000000; {temporary}\n"
        f"keepalive_timeout {FOREVER_S}; tcp_nodelay on; upstream behind {{ server unix:{folder}/uvicorn; "
        f"keepalive 64; keepalive_requests 100000000; }}\n"
        f"server {{ listen 127.0.0.1:{place.port} ssl; listen 127.0.0.1:{place.mutual_port} ssl; {shared} }} }}\n"
    )
    behind = child(uvicorn_command("--uds", f"{folder}/uvicorn"), errors=place.errors, env=python_environment())
    argv = [str(program("nginx")), "-p", str(folder), "-e", str(folder / "errors"), "-c", str(config)]
    front = child(argv, errors=place.errors, env=environment())
    return [stack.enter_context(behind), stack.enter_context(front)]


def open_grpc_tls(folder: Path) -> AbstractContextManager[TalkingPeer]:
    """gRPC over TLS, with its own client: nobody else speaks to it."""
    need_modules("grpc")
    files = make_files(folder)
    address = f"localhost:{free_port()}"
    roles = [
        ("bench.peers.grpc_echo", role, address, str(files.certificate), str(files.key))
        for role in ("server", "client")
    ]
    return talking(folder, roles, servers_only=True)
