"""`tlsrt ask`: a question to the language model of the host, and the calls that it wants."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from contextlib import aclosing
from pathlib import Path
from typing import Any

from tlsrt.channels.cli.client import client_of, hinting
from tlsrt.channels.client.asking import DEFAULT, Source, WantedCall, converse, offered
from tlsrt.config.files import read_bounded
from tlsrt.errors import ConfigError, Denied, InvalidArgument
from tlsrt.output import to_json, to_line
from tlsrt.text import printable

_SOURCE_BYTES = 64 * 1024
_SOURCES_MOST = 16


async def ask(arguments: argparse.Namespace) -> None:
    """Print an answer as it comes, and on standard error what the model wants to have called."""
    sources = [_source(name) for name in arguments.source or ()]
    if len(sources) > _SOURCES_MOST:
        raise InvalidArgument(f"--source: {_SOURCES_MOST} files at most")
    is_ended = True
    async with client_of(arguments) as client:
        if arguments.target == DEFAULT and DEFAULT not in client.rights:
            raise Denied(
                "this client can ask no language model at this host: `tlsrt-supervisor component add secondary/ask` "
                "adds one, and `tlsrt-supervisor client set` lets this client use it"
            )
        with hinting(client, arguments.target):
            tools = await offered(client, arguments.tool or ())
            answer = converse(
                client, " ".join(arguments.question), tools=tools, sources=sources, target=arguments.target,
                tokens=arguments.tokens, may=_always if arguments.yes else _asked,
            )  # fmt: skip
            async with aclosing(answer):
                async for item in answer:
                    if arguments.json:
                        print(to_json(item), flush=True)
                    elif "text" in item:
                        print(printable(str(item["text"]), keep="\n"), end="", flush=True)
                        is_ended = str(item["text"]).endswith("\n")
                    elif "outcome" in item:
                        _say(f"{_shown(item['call'])}: {item['outcome']}")
                    elif "end" in item:
                        if not is_ended:
                            print(flush=True)
                        if item["end"] == "length":
                            _say(f"the answer ends after {arguments.tokens} tokens; --tokens gives it more")


def _say(text: str) -> None:
    print(f"tlsrt: {text}", file=sys.stderr, flush=True)


def _shown(call: dict[str, Any]) -> str:
    arguments = " ".join(f"{printable(str(name))}={to_line(value)}" for name, value in call["arguments"].items())
    return f"{printable(str(call['tool']))} {arguments}".rstrip()


def _source(name: str) -> Source:
    """Return a file as a source. Raises InvalidArgument."""
    try:
        data = sys.stdin.buffer.read(_SOURCE_BYTES + 1) if name == "-" else None
        if data is None:
            data = read_bounded(Path(name), _SOURCE_BYTES, "the source")
        elif len(data) > _SOURCE_BYTES:
            raise InvalidArgument(f"--source -: more than {_SOURCE_BYTES >> 10} KiB")
        return Source("standard input" if name == "-" else name, data.decode())
    except ConfigError as error:
        raise InvalidArgument(f"--source {name}: {error}") from None
    except UnicodeDecodeError:
        raise InvalidArgument(f"--source {name}: it is no UTF-8 text") from None


async def _always(wanted: WantedCall) -> bool:
    return True


async def _asked(wanted: WantedCall) -> bool:
    """Ask the person at the terminal; without one nothing is called."""
    shown = _shown({"tool": wanted.tool, "arguments": wanted.arguments})
    try:
        descriptor = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        _say(f"{shown}: there is no terminal to ask at; --yes calls what --tool names")
        return False
    with os.fdopen(descriptor, "r+b", buffering=0) as terminal:
        terminal.write(f"the model wants {shown}\ncall it? [y/N] ".encode())
        answer = await asyncio.to_thread(terminal.readline, 100)
    return answer.strip().lower() in (b"y", b"yes")
