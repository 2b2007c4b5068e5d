"""Peers that several rows of the bench are measured beside, and what those rows have in common."""

from __future__ import annotations

from bench import call_peers, supervisors, tls, tls_peers
from bench.row import Case, Contender, Metric

SIZES = (("64 B", 64), ("1 KiB", 1024), ("64 KiB", 65536))
PROCESSES = (
    "launcher",
    "supervisor",
    "authority",
    "primary",
    "primary.facts",
    "secondary",
    "third",
    "forth",
    "external",
    "total",
)


def sized(*sizes: tuple[str, int]) -> tuple[Case, ...]:
    return tuple(
        Case(f"{title}, {outstanding} outstanding", {"size": size, "outstanding": outstanding})
        for title, size in sizes
        for outstanding in (1, 64)
    )


CALL_METRICS = (
    Metric("rate", "calls/s", more=True), Metric("p50_us", "p50 us"), Metric("p99_us", "p99 us"),
    Metric("cpu_us", "CPU us/call", 1),
)  # fmt: skip
RAW = Contender("raw pyzmq broker", call_peers.open_broker("raw"), "no security; CPU of its 3 processes")
PROXY = Contender("zmq.proxy in C", call_peers.open_broker("proxy"), "no security; libzmq's own proxy")
CURVE = Contender("CurveZMQ broker", call_peers.open_broker("curve"), "transport security on both hops only")
GRPC = Contender("gRPC", call_peers.open_grpc, "unary, unix socket, no security; no broker between")
DBUS_DAEMON = Contender("dbus-daemon", call_peers.open_dbus_daemon, "no security of frames; both ends dbus-fast")
DBUS_BROKER = Contender("dbus-broker", call_peers.open_dbus_broker, "no security of frames; both ends dbus-fast")
RAW_PLACED = Contender("raw on one core", call_peers.open_broker("raw", placed=True), "the raw broker, placed likewise")
FLOOR, NGINX, HAPROXY = "C floor", "nginx", "haproxy"
TLS = (
    Contender("tlsrt engine", tls.opened(tls_peers.python_server("engine"), "frame", "tlsrt/1"), "plain handler"),
    Contender(FLOOR, tls.opened(tls_peers.start_floor, "frame"), "epoll and OpenSSL, one thread"),
    Contender(NGINX, tls.opened(tls_peers.start_nginx, "http"), "one process; 16 KiB from a file"),
    Contender(HAPROXY, tls.opened(tls_peers.start_haproxy, "http"), "one thread, http-request return"),
    Contender("asyncio", tls.opened(tls_peers.python_server("asyncio"), "frame"), "a Protocol on its TLS transport"),
    Contender("uvloop", tls.opened(tls_peers.python_server("uvloop"), "frame"), "the same Protocol"),
    Contender("uvicorn", tls.opened(tls_peers.start_uvicorn, "http"), "uvloop, httptools"),
    Contender("stunnel", tls.opened(tls_peers.start_stunnel, "frame"), "in front of the C server without TLS"),
)  # fmt: skip
S_SERVER = Contender(
    "s_server", tls.opened(tls_peers.start_s_server, "http"), "openssl s_server, one connection at a time"
)
TLS_NOTE = (
    "TLS 1.3, ECDSA P-256, one group for all (" + tls.GROUP + "); nginx, haproxy, uvicorn and stunnel send two session "
    "tickets, the others none, as the door does"
)
DOOR_METRICS = (
    Metric("rate", "requests/s", more=True), Metric("p50_us", "p50 us"), Metric("p99_us", "p99 us"),
    Metric("cpu_us", "CPU us each", 1),
)  # fmt: skip
SUPERVISORD = Contender("supervisord", supervisors.open_supervisord)
CIRCUS = Contender("circus", supervisors.open_circus)
CALL_NOTE = "with 64 outstanding tlsrt coalesces what one turn brought for the same loop; none of the peers does"


def sessions(count: int) -> str:
    return f"{count:,} session{'s' if count > 1 else ''}"
