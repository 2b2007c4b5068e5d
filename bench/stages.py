"""From sampled stacks to the stages of a message. Pure.

A sample counts for the stage of its innermost frame that a rule knows: so the cryptography that `Endpoint` calls
counts as sealing, and what the event loop does between two callbacks as the event loop. A process that waits for
events is seen in `select`; such samples are no CPU and are left out, and with them the short work of that call itself.
Rules are data: a pattern for "file:function" and the stage; the first one that matches a frame wins.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

_FRAME = re.compile(r"(?:\w+\.|<\w+>\.)*(?P<function>[\w<>]+) \((?P<file>[^():]+)(?::\d+)?\)$")

RULES: tuple[tuple[str, str], ...] = (
    (r"tlsrt_bench/", "component (driver, echo)"),
    (r"channels/body\.py:", "arguments: pack, unpack"),
    (r"channels/(verifier|token)\.py:", "token: memo, times, rights"),
    (r"channels/endpoint\.py:.*(seal|_next|_reply_key)", "seal: header, body, proof"),
    (r"channels/endpoint\.py:", "recipient check, open the body"),
    (r"loops/arrivals\.py:", "recipient check, open the body"),
    (r"channels/outbox\.py:", "outbox: bundle what is alike"),
    (r"channels/shape\.py:", "frames: known by their shape"),
    (r"channels/turn\.py:", "end of the turn"),
    (r"loops/(lane|gate_state)\.py:", "gate: fast lane"),
    (r"loops/gate\.py:.*authentic", "gate: proof, sequence"),
    (r"loops/gate\.py:", "gate: session, policy, open call"),
    (r"loops/primary/.*:(forward|_deliver)", "forward"),
    (r"channels/(link|zmq_link|zmtp|turn|channel)\.py:.*(send|flush|write|join|head|post)", "link: send"),
    (r"channels/(link|zmq_link|zmtp|turn|channel)\.py:", "link: receive"),
    (r"channels/(calls|flow)\.py:", "caller: open call, wait, end"),
    (r"loops/(responder|host|method|validate|shape)\.py:", "dispatch, validate, run the handler"),
    (r"loops/process\.py:.*(take|send|frame|refused)", "dispatch, validate, run the handler"),
    (r"channels/wire\.py:", "door: sockets"),
    (r"channels/tls_connection\.py:", "door: TLS connection"),
    (r"(channels/(tls_\w+|client_hello)|loops/tls_engine)\.py:", "TLS engine"),
    (r"(loops/(door|client_link|admission)|channels/(message_link|stream))\.py:", "door: connections, messages"),
    (r"peers/tls_servers\.py:", "plain handler"),
    (r"(asyncio/|selectors\.py:)", "event loop"),
    (r"channels/frame\.py:", "frames"),
    (r"(loops/process|channels/(life|trust|control))\.py:", "life: beats, authority"),
)  # fmt: skip
_COMPILED = tuple((re.compile(pattern), stage) for pattern, stage in RULES)
OTHER = "other"
_WAITING = re.compile(r"\bselect \([^()]*selectors\.py")


def stage_of(frames: Sequence[str]) -> str:
    """Return the stage of a stack, outermost frame first, each "function (file:line)"."""
    for frame in reversed(frames):
        found = _FRAME.search(frame)
        if found is None:
            continue
        name = f"{found['file']}:{found['function']}"
        for pattern, stage in _COMPILED:
            if pattern.search(name):
                return stage
    return OTHER


def stages(collapsed: Iterable[str]) -> Counter[str]:
    """Count samples by stage; each line is "frame;frame;... count"."""
    found: Counter[str] = Counter()
    for line in collapsed:
        stack, _, count = line.strip().rpartition(" ")
        if stack and not _WAITING.search(stack.rpartition(";")[2]):
            found[stage_of(stack.split(";"))] += int(count)
    return found


LIBRARIES: tuple[tuple[str, str], ...] = (
    (r"^\[kernel|^\[guest", "kernel"),
    (r"libpython|/python\d|^python", "interpreter"),
    (r"_rust\.abi3|libcrypto", "crypto"),
    (r"libssl", "TLS library"),
    (r"libzmq", "libzmq"),
    (r"_c?msgpack", "msgpack"),
    (r"_asyncio|select\.cpython|_socket|_ssl\.cpython", "asyncio, sockets in C"),
    (r"^libc\.|^libc-|vdso|ld-linux|libpthread", "libc"),
)
_LIBRARIES = tuple((re.compile(pattern), name) for pattern, name in LIBRARIES)


def library_of(dso: str) -> str:
    """Return what a shared object is to a reader."""
    return next((name for pattern, name in _LIBRARIES if pattern.search(dso)), OTHER)


def libraries(report: Iterable[str]) -> dict[int, dict[str, float]]:
    """Return pid -> library -> percent of all samples, from `perf report --sort pid,dso`."""
    found: dict[int, dict[str, float]] = {}
    for line in report:
        match = re.match(r"\s*([\d.]+)%\s+(\d+):\S+\s+(\S+)", line)
        if match:
            shares = found.setdefault(int(match[2]), {})
            name = library_of(match[3])
            shares[name] = shares.get(name, 0.0) + float(match[1])
    return found
