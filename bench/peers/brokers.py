"""ZeroMQ brokers as peers: DEALER -> broker -> DEALER over ipc://, bodies as they are.

`brokers.py raw|proxy|curve broker|worker|client FOLDER`, one process a role:
- raw: what most people write with pyzmq: a ROUTER, recv_multipart, look at the identity, send_multipart, blocking.
- proxy: libzmq's own `zmq_proxy` in C between a ROUTER and a DEALER: the floor of any ZeroMQ broker with one hop.
- curve: the raw broker with CurveZMQ on both hops: transport security only, no tokens, no policy.

The client reads one JSON line a burst from stdin and answers with one.
"""

from __future__ import annotations

import os
import sys
import time
from typing import NoReturn

import zmq

from bench.peers.talking import measure_pipelined, serve_orders

CLIENT, WORKER = b"client", b"worker"
OTHER = {CLIENT: WORKER, WORKER: CLIENT}
Socket = zmq.Socket[bytes]


def _secure(socket: Socket, kind: str, folder: str, *, server: bool) -> None:
    """Give a socket its CurveZMQ keys; the broker makes its pair and leaves the public half in the folder."""
    if kind != "curve":
        return
    public, secret = zmq.curve_keypair()
    socket.curve_publickey, socket.curve_secretkey = public, secret
    path = f"{folder}/curve.public"
    if server:
        socket.curve_server = True
        with open(f"{path}.new", "wb") as file:
            file.write(public)
        os.rename(f"{path}.new", path)
    else:
        socket.curve_serverkey = _wait_for_file(path)


def _wait_for_file(path: str) -> bytes:
    while not os.path.exists(path):
        time.sleep(0.01)
    with open(path, "rb") as file:
        return file.read()


def serve_broker(kind: str, folder: str) -> NoReturn:
    context = zmq.Context()
    front = context.socket(zmq.ROUTER)
    _secure(front, kind, folder, server=True)
    front.bind(f"ipc://{folder}/front")
    if kind == "proxy":
        back = context.socket(zmq.DEALER)
        back.bind(f"ipc://{folder}/back")
        zmq.proxy(front, back)
    while True:
        identity, body = front.recv_multipart()
        front.send_multipart((OTHER[identity], body))


def _connect(kind: str, folder: str, identity: bytes, end: str) -> Socket:
    socket = zmq.Context().socket(zmq.DEALER)
    socket.identity = identity
    _secure(socket, kind, folder, server=False)
    socket.connect(f"ipc://{folder}/{end}")
    return socket


def serve_worker(kind: str, folder: str) -> NoReturn:
    socket = _connect(kind, folder, WORKER, "back" if kind == "proxy" else "front")
    if kind == "proxy":  # the envelope of the asker comes along
        while True:
            socket.send_multipart(socket.recv_multipart())
    while True:
        socket.send(socket.recv())


def wait_for_worker(socket: Socket) -> None:
    """A ROUTER drops what is for an identity that has not come yet: knock until there is an echo, then fall silent."""
    while not socket.poll(50):
        socket.send(b"")
    while socket.poll(200):
        socket.recv()


def serve_client(kind: str, folder: str) -> None:
    socket = _connect(kind, folder, CLIENT, "front")
    wait_for_worker(socket)
    serve_orders(lambda order: measure_pipelined(socket.send, socket.recv, order))


if __name__ == "__main__":
    {"broker": serve_broker, "worker": serve_worker, "client": serve_client}[sys.argv[2]](sys.argv[1], sys.argv[3])
