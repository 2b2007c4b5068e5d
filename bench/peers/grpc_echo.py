"""gRPC as a peer: one unary method that gives back its bytes. `grpc_echo.py server|client ADDRESS [CERTIFICATE KEY]`.

The synchronous Python API with its thread pool, as its documentation shows it; 64 outstanding calls are 64 futures on
one channel. With a certificate and key both ends speak TLS.
"""

from __future__ import annotations

import sys
from collections import deque
from concurrent import futures
from pathlib import Path

import grpc

from bench.peers.talking import measure_pipelined, serve_orders

METHOD = "/bench.Echo/Echo"
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
READY_S = 20


def serve(address: str, certificate: str = "", key: str = "") -> None:
    server = grpc.server(futures.ThreadPoolExecutor(8), options=OPTIONS)
    handler = grpc.unary_unary_rpc_method_handler(lambda request, context: request)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Echo", {"Echo": handler}),))
    if certificate:
        pair = (Path(key).read_bytes(), Path(certificate).read_bytes())
        server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
    else:
        server.add_insecure_port(address)
    server.start()
    server.wait_for_termination()


def ask(address: str, certificate: str = "", key: str = "") -> None:
    if certificate:
        trusted = grpc.ssl_channel_credentials(Path(certificate).read_bytes())
        channel = grpc.secure_channel(address, trusted, OPTIONS)
    else:
        channel = grpc.insecure_channel(address, OPTIONS)
    grpc.channel_ready_future(channel).result(READY_S)
    echo = channel.unary_unary(METHOD)
    waiting: deque[grpc.Future] = deque()

    def send(body: bytes) -> None:
        waiting.append(echo.future(body))

    def receive() -> bytes:
        answer: bytes = waiting.popleft().result()
        return answer

    def measure(order: dict[str, int]) -> dict[str, float]:
        if order["outstanding"] > 1:
            return measure_pipelined(send, receive, order)
        answers: deque[bytes] = deque()
        return measure_pipelined(lambda body: answers.append(echo(body)), answers.popleft, order)

    serve_orders(measure)


if __name__ == "__main__":
    {"server": serve, "client": ask}[sys.argv[1]](*sys.argv[2:])
