"""The rows of the bench. To add one, add a line here; to add a peer to a row, add a contender."""

from __future__ import annotations

from bench import (
    audit_log,
    calls,
    crashes,
    detection,
    door,
    floods,
    gates,
    growth,
    processes_memory,
    sandbox,
    sandbox_calls,
    starts,
    supervisors,
    tls,
    tls_memory,
    tls_peers,
)
from bench import contenders as peers
from bench.row import Case, Contender, Goal, Metric, Row

ROWS: tuple[Row, ...] = (
    Row(
        name="call",
        about="component -> gate -> component and back; the same bytes echoed",
        cases=peers.sized(*peers.SIZES),
        contenders=(
            Contender("tlsrt", calls.open_tlsrt, "full security; msgpack arguments; CPU of the whole runtime"),
            Contender("tlsrt, libzmq", calls.open_libzmq, "the same with channels.engine libzmq in the loops"),
            Contender("tlsrt, own processes", calls.open_own, "the same, both components in processes of their own"),
            Contender("tlsrt, a program", calls.open_program, "the same, the callee a program in C: lines of JSON"),
            peers.RAW, peers.PROXY, peers.CURVE, peers.GRPC, peers.DBUS_DAEMON, peers.DBUS_BROKER,
        ),
        metrics=peers.CALL_METRICS,
        burst_s=0.3,
        smoke_cases=("64 B, 1 outstanding", "64 B, 64 outstanding"),
        goals=(
            Goal("64 B, 64 outstanding", "rate", peers.RAW.name, 2.2),
            Goal("64 B, 64 outstanding", "rate", peers.PROXY.name, 2.5),
            Goal("1 KiB, 64 outstanding", "rate", peers.RAW.name, 2.5),
            Goal("64 KiB, 64 outstanding", "rate", peers.RAW.name, 0.95),
            Goal("64 B, 1 outstanding", "rate", peers.RAW.name, 1.3),
        ),
        notes=(peers.CALL_NOTE,),
    ),
    Row(
        name="call-placed",
        about="the same with Primary and both loops of ours on one core; peers as they are, and raw placed likewise",
        cases=peers.sized(peers.SIZES[0]),
        contenders=(
            Contender("tlsrt on one core", calls.open_placed, "scheduling.cpus: the three processes of the path"),
            peers.RAW, peers.RAW_PLACED, peers.DBUS_BROKER,
        ),
        metrics=peers.CALL_METRICS,
        burst_s=0.3,
        smoke_cases=("64 B, 1 outstanding",),
        goals=(
            Goal("64 B, 1 outstanding", "rate", peers.RAW.name, 2.0),
            Goal("64 B, 1 outstanding", "rate", peers.DBUS_BROKER.name, 1.2),
        ),
    ),
    Row(
        name="call-loaded",
        about="the same beside two busy loops, ours on one core under SCHED_RR",
        cases=peers.sized(peers.SIZES[0]),
        contenders=(
            Contender("tlsrt real-time", calls.open_real_time, "scheduling.real_time: one core, SCHED_RR"),
            Contender("tlsrt", calls.open_tlsrt, "as everybody"), peers.RAW, peers.PROXY, peers.GRPC, peers.DBUS_BROKER,
        ),
        metrics=peers.CALL_METRICS,
        burst_s=0.3,
        smoke_cases=("64 B, 1 outstanding",),
        load=2,
        headline=("p99_us", "rate"),
        goals=(Goal("64 B, 1 outstanding", "p99_us", peers.RAW.name, 0.05),),
        notes=("the peers run as everybody runs them, without a real-time priority",),
    ),
    Row(
        name="gate",
        about="one message through Gate.check_untrusted in process (requests and replies in turn)",
        cases=(
            *(Case(title, {"size": size, "joined": 1}) for title, size in (peers.SIZES[0], peers.SIZES[2])),
            Case("64 B, coalesced", {"size": 64, "joined": 16}),
        ),
        contenders=(
            Contender("tlsrt gate", gates.open_gate, "bodies pass unopened; coalesced: bundles of 16"),
            Contender("two AEAD calls", gates.open_bare, "AES-256-GCM: open the body, seal it again; nothing else"),
            Contender("naive gate", gates.open_naive, "verifies Ed25519 and opens and seals every time"),
        ),
        metrics=(Metric("ns", "ns each"), Metric("cpu_ns", "CPU ns each")),
        headline=("cpu_ns",),
        burst_s=0.1,
        smoke_burst_s=0.03,
        goals=tuple(
            Goal(case, "ns", peer, bound)
            for case, peer, bound in (
                ("64 B", "two AEAD calls", 2.0), ("64 KiB", "two AEAD calls", 2.0), ("64 B", "naive gate", 0.025),
                ("64 B, coalesced", "two AEAD calls", 0.5),
            )
        ),
    ),
    Row(
        name="tls-handshake",
        about="full TLS 1.3 handshakes by four parallel clients, each connection ended in order; CPU of the server",
        cases=tuple(Case(how, {"how": how, "parallel": 4}) for how in ("plain", "mutual")),
        contenders=(*peers.TLS, peers.S_SERVER),
        metrics=(Metric("rate", "handshakes/s", more=True), Metric("cpu_us", "CPU us each")),
        goals=(Goal("plain", "cpu_us", peers.NGINX, 1.15), Goal("mutual", "cpu_us", peers.NGINX, 1.15)),
        notes=(peers.TLS_NOTE,),
    ),
    Row(
        name="tls-request",
        about="requests over connections that stay open, one under way on each; CPU of the server",
        cases=tuple(
            Case(f"{title} x {connections}", {"size": size, "connections": connections})
            for title, size in (("64 B", 64), ("16 KiB", 16384))
            for connections in (1, 16, 64, 1000)
        ),
        contenders=peers.TLS,
        metrics=peers.DOOR_METRICS,
        headline=("rate", "p99_us", "cpu_us"),
        smoke_cases=("64 B x 16",),
        goals=(
            Goal("64 B x 16", "rate", peers.NGINX, 1.0), Goal("16 KiB x 16", "rate", peers.NGINX, 1.2),
        ),
        notes=(peers.TLS_NOTE,),
    ),
    Row(
        name="tls-memory",
        about="memory of the server for each of 500 connections: silent ones send nothing, idle ones shook hands",
        cases=(Case("silent", {"does": "silent"}), Case("idle", {"does": "idle"})),
        contenders=(
            Contender("tlsrt engine", tls_memory.opened(tls_peers.python_server("engine"), "frame", "tlsrt/1")),
            Contender("tlsrt door", tls_memory.open_door, "the whole path; an idle one has a session; all processes"),
            Contender(peers.FLOOR, tls_memory.opened(tls_peers.start_floor, "frame"), "epoll and OpenSSL, one thread"),
            Contender(peers.NGINX, tls_memory.opened(tls_peers.start_nginx, "http")),
            Contender(peers.HAPROXY, tls_memory.opened(tls_peers.start_haproxy, "http")),
            Contender("asyncio", tls_memory.opened(tls_peers.python_server("asyncio"), "frame")),
            Contender("uvloop", tls_memory.opened(tls_peers.python_server("uvloop"), "frame")),
        ),
        metrics=(Metric("kib", "KiB each", 1),),
        smoke_contenders=("tlsrt engine", peers.FLOOR),
        rounds_max=3,
        silence_s=120.0,
        notes=("PSS, so without what the kernel keeps for a socket; a fresh server each time",),
    ),
    Row(
        name="door",
        about="client over TLS -> gate -> a component in another loop -> back; CPU of the servers",
        cases=tuple(
            Case(f"{title} x {connections}", {"size": size, "connections": connections, "outstanding": connections})
            for title, size in (("64 B", 64), ("16 KiB", 16384))
            for connections in (1, 16, 64, 1000)
        ),
        contenders=(
            Contender("tlsrt", door.open_tlsrt, "mutual TLS, sessions, sealed end to end, checked twice"),
            Contender("tlsrt, WebSocket", door.open_web, "the same sessions as the console's page has them"),
            Contender(
                "nginx -> uvicorn", tls.opened(door.start_nginx_uvicorn, "http"),
                "no client certificates, no tokens; the body goes one way only",
            ),
            Contender("gRPC over TLS", door.open_grpc_tls, "its own client; nothing behind it, no tokens"),
        ),
        metrics=peers.DOOR_METRICS,
        headline=("rate", "p99_us", "cpu_us"),
        smoke_cases=("64 B x 16",),
        silence_s=180.0,
        goals=(
            Goal("64 B x 16", "rate", "nginx -> uvicorn", 1.2), Goal("64 B x 1", "rate", "nginx -> uvicorn", 1.0),
        ),
    ),
    Row(
        name="start",
        about="the command to five loops active and the first answer; SIGKILL to serving again; memory of the tree",
        cases=(
            Case("start", {"does": "start"}),
            Case("kill a loop", {"does": "kill", "loop": "third", "target": "third/driver", "method": "ping"}),
            Case("kill primary", {"does": "kill", "loop": "primary", "target": "primary/kernel", "method": "uname"}),
        ),
        contenders=(
            Contender("tlsrt", starts.open_tlsrt, "sandbox included; answers over TLS"),
            peers.SUPERVISORD, peers.CIRCUS,
            Contender("s6", supervisors.open_s6, "s6-svscan"), Contender("runit", supervisors.open_runit, "runsvdir"),
        ),
        metrics=(
            Metric("ready_ms", "answering ms", 1), Metric("active_ms", "active ms", 1), Metric("cpu_ms", "CPU ms"),
            Metric("pss_mib", "PSS MiB, all", 1), Metric("lost", "lost calls", total=True),
        ),
        smoke_cases=("start", "kill primary"),
        headline=("ready_ms", "pss_mib"),
        goals=(
            Goal("start", "ready_ms", "supervisord", 0.2), Goal("kill a loop", "ready_ms", "runit", 0.05),
            Goal("start", "pss_mib", "runit", 0.7),
        ),
        notes=("the peers' five children import what our loops import and then sleep; they are not confined",),
    ),
    Row(
        name="crash",
        about="what a client with 8 calls under way hears of a Primary that is killed: ends of calls for each crash",
        cases=(Case("without a key", {"key": "no"}), Case("with a key", {"key": "yes"})),
        contenders=(Contender("tlsrt", crashes.open_crashes, "a component of another loop answers"),),
        metrics=(
            Metric("ok", "answered"), Metric("outcome_unknown", "outcome_unknown"),
            Metric("unavailable", "unavailable"), Metric("other", "other", total=True),
            Metric("back_ms", "first answer ms", 1),
        ),
        burst_s=2.0,
        smoke_burst_s=1.0,
        smoke_cases=("with a key",),
        headline=("outcome_unknown", "unavailable", "back_ms"),
    ),
    Row(
        name="crash-loop",
        about="a loop that is killed as soon as it serves, for 15 s: how often it is started, and the longest wait",
        cases=(Case("15 s", {"does": "die"}),),
        contenders=(
            Contender("tlsrt", crashes.open_crash_loop, "backs off, and gives up"),
            peers.SUPERVISORD, peers.CIRCUS,
            Contender("s6", supervisors.open_s6, "s6-svscan"), Contender("runit", supervisors.open_runit, "runsvdir"),
        ),
        metrics=(Metric("spawns", "spawns"), Metric("gap_ms", "longest gap ms")),
        burst_s=15.0,
        smoke_burst_s=0.5,
        smoke_contenders=("tlsrt",),
        rounds_max=1,
        headline=("spawns", "gap_ms"),
        notes=("few spawns are not better by themselves: the row shows who holds a loop back that dies at once",),
    ),
    Row(
        name="idle",
        about="CPU and wake-ups of the whole tree while nobody asks anything", cases=(Case("idle", {"does": "idle"}),),
        contenders=(
            Contender("tlsrt", starts.open_tlsrt, "beats, attestation and feeds go on"),
            peers.SUPERVISORD, peers.CIRCUS,
        ),
        metrics=(Metric("cpu_us_s", "CPU us/s"), Metric("wakes", "wake-ups/s", 1)),
        burst_s=2.0, smoke_burst_s=0.5,
        headline=("cpu_us_s", "wakes"),
        goals=(Goal("idle", "cpu_us_s", "", 6000), Goal("idle", "wakes", "", 3)),
        notes=("a wake-up is a voluntary context switch of any thread",),
    ),
    Row(
        name="growth-sessions",
        about="requests at the door by more and more sessions that take turns",
        cases=tuple(Case(f"64 B, {window} under way", {"size": 64, "window": window}) for window in (1, 10)),
        contenders=tuple(
            Contender(peers.sessions(count), growth.open_sessions(count)) for count in (1000, 100, 10, 1)
        ),
        metrics=peers.DOOR_METRICS,
        burst_s=0.5,
        smoke_cases=("64 B, 10 under way",),
        smoke_contenders=(peers.sessions(100), peers.sessions(10)),
        silence_s=120.0,
        goals=tuple(
            Goal("64 B, 10 under way", metric, "10 sessions", bound)
            for metric, bound in (("rate", 0.85), ("cpu_us", 1.15), ("p99_us", 1.15))
        ),
        notes=("one request of a session at a time, so one session alone has one under way",),
    ),
    Row(
        name="growth-loops",
        about="calls between two loops of a host that has more and more of them",
        cases=peers.sized(peers.SIZES[0]),
        contenders=tuple(Contender(f"{count} loops", growth.open_loops(count)) for count in (25, 15, 5)),
        metrics=peers.CALL_METRICS,
        smoke_cases=("64 B, 64 outstanding",),
        smoke_contenders=("15 loops", "5 loops"),
        goals=tuple(
            Goal("64 B, 64 outstanding", metric, "5 loops", bound)
            for metric, bound in (("rate", 0.85), ("cpu_us", 1.15), ("p99_us", 1.15))
        ),
    ),
    Row(
        name="flood",
        about="calls of an innocent pair of loops while somebody else floods, beside the same pair left alone",
        cases=tuple(
            Case(f"{title}, {outstanding} outstanding", {
                "target": target, "sessions": sessions, "each": each, "outstanding": outstanding,
            })
            for title, target, sessions, each in (
                ("a component floods another", floods.VICTIM, 0, 2000),
                ("a component floods the same recipient", floods.HIS_FRIEND, 0, 2000),
                ("a client floods", "", 1, 1500),
                ("200 sessions of a client flood", "", 200, 20),
            )
            for outstanding in (1, 16)
        ),
        contenders=(
            Contender("flooded", floods.open_floods(flooded=True), "2 cores serve the flooder, the flooded and these"),
            Contender("left alone", floods.open_floods(flooded=False)),
        ),
        metrics=(
            Metric("rate", "calls/s", more=True), Metric("p50_us", "p50 us"), Metric("p99_us", "p99 us"),
        ),
        burst_s=1.0,
        smoke_burst_s=0.2,
        smoke_cases=("a component floods another, 1 outstanding",),
        rounds_max=3,
        headline=("rate", "p99_us"),
        goals=tuple(
            Goal(f"{title}, 16 outstanding", "rate", "left alone", 0.8)
            for title in ("a component floods another", "a client floods", "200 sessions of a client flood")
        ),
        notes=("the flooder takes processor time of its own, which a host with more cores would not miss",),
    ),
    Row(
        name="memory",
        about="memory of every process after start and one call to each, from smaps_rollup",
        cases=tuple(Case(name, {"process": name}) for name in peers.PROCESSES),
        contenders=(Contender("tlsrt", processes_memory.open_tlsrt),),
        metrics=(Metric("pss_mib", "PSS MiB", 1), Metric("uss_mib", "USS MiB", 1)),
    ),
    Row(
        name="sandbox-start",
        about="what the sandbox costs a loop that starts; the goal for all layers is 6 ms as root, 8 ms rootless",
        cases=tuple(Case(loop, {"loop": loop}) for loop in ("primary", "secondary", "third", "forth", "external")),
        contenders=(
            Contender("rootless", sandbox.open_starts("rootless"), "one uid, a user namespace"),
            Contender("root", sandbox.open_starts("root"), "a uid for each loop"),
        ),
        metrics=(
            Metric("layers_ms", "all layers ms", 2), Metric("cpu_ms", "of it CPU ms", 2),
            Metric("confined_ms", "fork to confined ms", 2), Metric("seal_ms", "seal ms", 2),
        ),
        smoke_cases=("third",),
        headline=("layers_ms", "confined_ms"),
        notes=("medians over 50 rounds and more are worth reading: --rounds 50",),
    ),
    Row(
        name="sandbox-call",
        about="the row call, sealed against unsealed: what Landlock and the filters cost each message",
        cases=peers.sized(peers.SIZES[0], peers.SIZES[1]),
        contenders=(
            Contender("sealed", sandbox.open_calls(sealed=True), "every layer"),
            Contender("unsealed", sandbox.open_calls(sealed=False), "no Landlock, no filters; all else as usual"),
        ),
        metrics=peers.CALL_METRICS,
        smoke_cases=("64 B, 64 outstanding",),
        headline=("rate", "cpu_us"),
        goals=tuple(
            Goal(f"{size}, {outstanding} outstanding", metric, "unsealed", bound)
            for size in ("64 B", "1 KiB") for outstanding in (1, 64)
            for metric, bound in (("rate", 0.97), ("cpu_us", 1.03))
        ),
    ),
    Row(
        name="detection",
        about="the row call, with every detector and decoy against none: what they cost each message that is in order",
        cases=peers.sized(peers.SIZES[0], peers.SIZES[1]),
        contenders=(
            Contender("watched", calls.open_tlsrt, "as it is installed"),
            Contender("unwatched", detection.open_without, "detection: {mode: ignore}, no decoys"),
        ),
        metrics=peers.CALL_METRICS,
        smoke_cases=("64 B, 64 outstanding",),
        headline=("rate", "cpu_us"),
        goals=tuple(
            Goal(f"{size}, {outstanding} outstanding", metric, "unwatched", bound)
            for size in ("64 B", "1 KiB") for outstanding in (1, 64)
            for metric, bound in (("rate", 0.97), ("cpu_us", 1.03))
        ),
    ),
    Row(
        name="sandbox-syscall",
        about="one system call of a loop's work, under the two filters of a loop and without any",
        cases=tuple(Case(name) for name in ("epoll_wait", "sendto, recvfrom", "getppid")),
        contenders=(
            Contender("sealed", sandbox_calls.open_caller(sealed=True), "both filters of a loop"),
            Contender("unsealed", sandbox_calls.open_caller(sealed=False), "none"),
        ),
        metrics=(Metric("ns", "CPU ns"),),
        notes=("a call of 64 B between two loops takes about 13 of them in three processes",),
    ),
    Row(
        name="audit",
        about="records of 0.4 KB safely on the disk, one by one and in groups, as they gather while the disk writes",
        cases=tuple(Case(f"{number} at once", {"together": number}) for number in (1, 64)),
        contenders=(
            Contender("tlsrt", audit_log.open_ours, "chain, MAC, tree, signed heads"),
            Contender("SQLite", audit_log.open_sqlite, "WAL, synchronous FULL; protects nothing"),
            Contender("lines of JSON", audit_log.open_lines, "append and fdatasync; protects nothing"),
        ),
        metrics=(Metric("rate", "records/s", more=True), Metric("cpu_us", "CPU us/record", 1)),
    ),
    Row(
        name="audit-verify",
        about="a log of 10,000 records looked at from its first byte to its last",
        cases=(Case("public key alone"), Case("with the MACs")),
        contenders=(
            Contender("tlsrt", audit_log.open_verify),
            Contender("json.loads", audit_log.open_reader(), "reads as many lines and looks at nothing"),
        ),
        metrics=(Metric("rate", "records/s", more=True), Metric("cpu_us", "CPU us/record", 1)),
    ),
)  # fmt: skip
