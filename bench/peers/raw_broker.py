"""The raw pyzmq broker: DEALER -> ROUTER -> DEALER over ipc://, no security, bodies as they are.

`raw_broker.py broker|worker|client FOLDER`. The broker is what most people write: recv_multipart, look at the
identity, send_multipart, blocking. The client reads one JSON line a burst from stdin and answers with one.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import deque
from typing import NoReturn

import zmq

CLIENT, WORKER = b"client", b"worker"
OTHER = {CLIENT: WORKER, WORKER: CLIENT}


def serve_broker(address: str) -> NoReturn:
    socket = zmq.Context().socket(zmq.ROUTER)
    socket.bind(address)
    while True:
        identity, body = socket.recv_multipart()
        socket.send_multipart((OTHER[identity], body))


def connect(address: str, identity: bytes) -> zmq.Socket[bytes]:
    socket = zmq.Context().socket(zmq.DEALER)
    socket.identity = identity
    socket.connect(address)
    return socket


def serve_worker(address: str) -> NoReturn:
    socket = connect(address, WORKER)
    while True:
        socket.send(socket.recv())


def measure(socket: zmq.Socket[bytes], size: int, outstanding: int, seconds: float) -> dict[str, float]:
    """Keep so many messages under way for so long; the same figures as tlsrt_bench.Driver.run."""
    body = os.urandom(size)
    clock = time.perf_counter_ns
    sent: deque[int] = deque()
    latencies: list[int] = []
    begin = clock()
    end = begin + int(seconds * 1e9)
    for _ in range(outstanding):
        sent.append(clock())
        socket.send(body)
    while sent:
        socket.recv()
        now = clock()
        latencies.append(now - sent.popleft())
        if now < end:
            sent.append(now)
            socket.send(body)
    elapsed = (clock() - begin) / 1e9
    latencies.sort()
    count = len(latencies)
    return {
        "count": count,
        "seconds": elapsed,
        "p50_us": latencies[count // 2] / 1000,
        "p99_us": latencies[min(count - 1, count * 99 // 100)] / 1000,
    }


def wait_for_worker(socket: zmq.Socket[bytes]) -> None:
    """A ROUTER drops what is for an identity that has not come yet: knock until there is an echo, then fall silent."""
    while not socket.poll(50):
        socket.send(b"")
    while socket.poll(200):
        socket.recv()


def serve_client(address: str) -> None:
    socket = connect(address, CLIENT)
    wait_for_worker(socket)
    for line in sys.stdin:
        order = json.loads(line)
        print(json.dumps(measure(socket, order["size"], order["outstanding"], order["seconds"])), flush=True)


if __name__ == "__main__":
    where = f"ipc://{sys.argv[2]}/broker"
    {"broker": serve_broker, "worker": serve_worker, "client": serve_client}[sys.argv[1]](where)
