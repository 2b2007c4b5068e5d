"""The row `call`: our component to component through the gate, and the raw broker of pyzmq."""

from __future__ import annotations

import json
import select
import subprocess
import sys
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench.host import Host
from bench.processes import child, cpu_ns
from bench.row import Case, Sample
from tlsrt import Client

RAW_BROKER = Path(__file__).resolve().parent / "peers" / "raw_broker.py"
ANSWER_S = 30.0  # beyond the burst itself


def sample_of(result: dict[str, Any], cpu: int) -> Sample:
    """Turn what a driver or client measured, and the CPU ns of everybody, into a sample."""
    return {
        "rate": result["count"] / result["seconds"],
        "p50_us": result["p50_us"],
        "p99_us": result["p99_us"],
        "cpu_us": cpu / 1000 / result["count"],
    }


class TlsrtCalls:
    """Asks the driver component over TLS for a burst; the driver measures."""

    def __init__(self, client: Client, pids: Collection[int]) -> None:
        self._client = client
        self._pids = pids

    def burst(self, case: Case, seconds: float) -> Sample:
        before = cpu_ns(self._pids)
        result = self._client.call(
            "third/driver", "run", "secondary/echo", case.number("size"), case.number("outstanding"), seconds,
            timeout_s=seconds + ANSWER_S,
        )  # fmt: skip
        return sample_of(result, cpu_ns(self._pids) - before)


@contextmanager
def open_tlsrt(folder: Path) -> Iterator[TlsrtCalls]:
    host = Host(folder)
    host.start()
    try:
        with Client(host.bundle) as client:
            yield TlsrtCalls(client, host.pids().values())
    finally:
        host.stop()


class TalkingPeer:
    """Tells a client process the burst as a line of JSON, and reads its figures."""

    def __init__(self, client: subprocess.Popen[bytes], pids: Collection[int]) -> None:
        self._client = client
        self._pids = pids

    def burst(self, case: Case, seconds: float) -> Sample:
        assert self._client.stdin is not None
        assert self._client.stdout is not None
        before = cpu_ns(self._pids)
        self._client.stdin.write(json.dumps({**case.options, "seconds": seconds}).encode() + b"\n")
        self._client.stdin.flush()
        if not select.select([self._client.stdout], [], [], seconds + ANSWER_S)[0]:
            raise RuntimeError("the peer hangs")
        line = self._client.stdout.readline()
        if not line:
            raise RuntimeError("the peer has ended")
        return sample_of(json.loads(line), cpu_ns(self._pids) - before)


@contextmanager
def open_raw_broker(folder: Path) -> Iterator[TalkingPeer]:
    with ExitStack() as stack:
        roles = [
            stack.enter_context(
                child(
                    [sys.executable, str(RAW_BROKER), role, str(folder)],
                    talk=role == "client", listen=role == "client", errors=folder / "errors",
                )
            )
            for role in ("broker", "worker", "client")
        ]  # fmt: skip
        yield TalkingPeer(roles[-1], [role.pid for role in roles])
