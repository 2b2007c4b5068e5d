"""D-Bus as a peer: an echo service and a client on a bus, both on dbus-fast. `dbus_echo.py server|client SOCKET`."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import NoReturn

from dbus_fast import Message, MessageType
from dbus_fast.aio import MessageBus

from bench.peers.talking import measure_calls

NAME, PATH = "bench.Echo", "/bench"


async def serve(bus: MessageBus) -> NoReturn:
    def answer(message: Message) -> Message | None:
        if message.member == "Echo":
            return Message.new_method_return(message, "ay", message.body)
        return None

    bus.add_message_handler(answer)
    await bus.request_name(NAME)
    while True:
        await asyncio.Event().wait()


async def ask(bus: MessageBus) -> None:
    async def call(body: bytes) -> bytes:
        message = Message(NAME, PATH, NAME, "Echo", signature="ay", body=[body])
        answer = await bus.call(message)
        if answer is None or answer.message_type is not MessageType.METHOD_RETURN:
            raise RuntimeError(f"the bus answers {answer and answer.body}")
        echoed: bytes = answer.body[0]
        return echoed

    while True:  # until the service has its name
        try:
            await call(b"")
            break
        except RuntimeError:
            await asyncio.sleep(0.02)
    print(json.dumps("ready"), flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(await measure_calls(call, json.loads(line))), flush=True)


async def main(role: str, socket: str) -> None:
    bus = await MessageBus(bus_address=f"unix:path={socket}").connect()
    await (serve(bus) if role == "server" else ask(bus))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
