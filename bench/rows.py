"""The rows of the bench. To add one, add a line here; to add a peer to a row, add a contender."""

from __future__ import annotations

from bench import calls, gates, processes_memory, starts
from bench.row import Case, Contender, Metric, Row

_SIZES = (("64 B", 64), ("1 KiB", 1024), ("64 KiB", 65536))
_PROCESSES = ("launcher", "supervisor", "authority", "primary", "secondary", "third", "forth", "external", "total")

ROWS: tuple[Row, ...] = (
    Row(
        name="call",
        about="component -> gate -> component and back; the same bytes echoed",
        cases=tuple(
            Case(f"{title}, {outstanding} outstanding", {"size": size, "outstanding": outstanding})
            for title, size in _SIZES
            for outstanding in (1, 64)
        ),
        contenders=(
            Contender("tlsrt", calls.open_tlsrt, "full security; msgpack arguments; CPU of the whole runtime"),
            Contender("raw pyzmq broker", calls.open_raw_broker, "no security, no msgpack; CPU of its 3 processes"),
        ),
        metrics=(
            Metric("rate", "calls/s"), Metric("p50_us", "p50 us"), Metric("p99_us", "p99 us"),
            Metric("cpu_us", "CPU us/call", 1),
        ),
        goals=("1 KiB, 64 outstanding: calls/s at least 0.50x the raw broker",),
    ),
    Row(
        name="gate",
        about="one frame through Gate.check_untrusted in process (requests and replies in turn)",
        cases=tuple(Case(title, {"size": size}) for title, size in (_SIZES[0], _SIZES[2])),
        contenders=(
            Contender("tlsrt gate", gates.open_gate, "bodies pass unopened"),
            Contender("two AEAD calls", gates.open_bare, "AES-256-GCM: open the body, seal it again; nothing else"),
            Contender("naive gate", gates.open_naive, "verifies Ed25519 and opens and seals every time"),
        ),
        metrics=(Metric("ns", "ns/frame"), Metric("cpu_ns", "CPU ns/frame")),
        burst_s=0.1,
        smoke_burst_s=0.03,
        goals=("at most 2.0x two AEAD calls at 64 B and 64 KiB; at most 0.025x naive",),
    ),
    Row(
        name="start",
        about="tlsrt-supervisor start to five loops active, to the first answer over TLS; SIGKILL to serving again",
        cases=(
            Case("start", {"does": "start"}),
            Case("kill third", {"does": "kill", "loop": "third", "target": "third/driver", "method": "ping"}),
            Case("kill primary", {"does": "kill", "loop": "primary", "target": "primary/kernel", "method": "uname"}),
        ),
        contenders=(Contender("tlsrt", starts.open_tlsrt, "sandbox included; CPU of all processes until active"),),
        metrics=(
            Metric("active_ms", "active ms", 1), Metric("answer_ms", "answer ms", 1), Metric("cpu_ms", "CPU ms"),
            Metric("lost", "lost calls", total=True),
        ),
        goals=("start to active under 0.6 s",),
    ),
    Row(
        name="memory",
        about="memory of every process after start and one call to each, from smaps_rollup",
        cases=tuple(Case(name, {"process": name}) for name in _PROCESSES),
        contenders=(Contender("tlsrt", processes_memory.open_tlsrt),),
        metrics=(Metric("pss_mib", "PSS MiB", 1), Metric("uss_mib", "USS MiB", 1)),
    ),
)  # fmt: skip
