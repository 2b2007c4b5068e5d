"""From sampled stacks to the stages of a message. Pure.

A sample counts for the stage of its innermost frame that a rule knows: so the cryptography that `Endpoint` calls
counts as sealing, and what the event loop does between two callbacks as the event loop. A process that waits for
events is seen in `select`, or in the line of our event loop that polls; such samples are no CPU and are left out, and
with them the short work of that call itself.
Rules are data: a pattern for "file:function" and the stage; the first one that matches a frame wins.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tlsrt.channels import event_loop

_FRAME = re.compile(r"(?:\w+\.|<\w+>\.)*(?P<function>[\w<>]+) \((?P<file>[^():]+)(?::\d+)?\)$")

RULES: tuple[tuple[str, str], ...] = (
    (r"tlsrt_bench/", "component (driver, echo)"),
    (r"frames/body\.py:", "arguments: pack, unpack"),
    (r"session/(verifier|token)\.py:", "token: memo, times, rights"),
    (r"session/(endpoint|keys)\.py:.*(seal|_right|take_|_next|_reply_key)", "seal: header, body, proof"),
    (r"session/(endpoint|heard_sessions)\.py:", "recipient check, open the body"),
    (r"dispatch/fast_path\.py:", "recipient check, open the body"),
    (r"calls/batching\.py:", "batcher: bundle what is alike"),
    (r"frames/patterns\.py:", "frames: known by their shape"),
    (r"links/write_batch\.py:", "end of the turn"),
    (r"gate/(fast_path|open_calls|state)\.py:", "gate: fast path"),
    (r"gate/gate\.py:.*authentic", "gate: proof, sequence"),
    (r"gate/gate\.py:", "gate: session, policy, open call"),
    (r"loops/primary/.*:(forward|_deliver)", "forward"),
    (r"links/\w+\.py:.*(send|flush|write|join|head|post)", "link: send"),
    (r"links/\w+\.py:", "link: receive"),
    (r"calls/(pending_calls|flow_control|retry)\.py:", "open calls: answers, ends"),
    (r"calls/\w+\.py:", "caller: make, wait"),
    (r"dispatch/(in_flight|replies|idempotency|processor_shares|streams)\.py:", "dispatch: calls in flight, replies"),
    (r"loops/(dispatch/\w+|runtime/component_host|component/\w+)\.py:", "dispatch, validate, run the handler"),
    (r"runtime/process\.py:.*(take|send|frame|refused)", "dispatch, validate, run the handler"),
    (r"tls/epoll_transport\.py:", "door: sockets"),
    (r"tls/connection\.py:", "door: TLS connection"),
    (r"(tls/(engine|client_hello|server_hello)|door/tls_contexts)\.py:", "TLS engine"),
    (r"(door/\w+|tls/(message_link|message_stream))\.py:", "door: connections, messages"),
    (r"peers/tls_servers\.py:", "plain handler"),
    (r"(asyncio/|selectors\.py:|channels/event_loop\.py:)", "event loop"),
    (r"frames/frame\.py:", "frames"),
    (r"(runtime/process|channels/control/\w+)\.py:", "life: beats, authority"),
)  # fmt: skip
_COMPILED = tuple((re.compile(pattern), stage) for pattern, stage in RULES)
OTHER = "other"
_LOOP = Path(event_loop.__file__).read_text().splitlines()
_POLL = next(number for number, line in enumerate(_LOOP, 1) if "events = poll(timeout" in line)
_WAITING = re.compile(rf"\bselect \([^()]*selectors\.py|\b_run_once \([^()]*channels/event_loop\.py:{_POLL}\)")


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
