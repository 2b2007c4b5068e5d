"""`tlsrt ask`: a question to the language model of the host, and the calls that it wants."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import termios
from collections.abc import Sequence
from contextlib import aclosing
from datetime import datetime
from pathlib import Path
from typing import Any

from tlsrt.asking import DEFAULT, WantedCall, converse, offered
from tlsrt.channels.cli.client import client_of, hinting
from tlsrt.channels.client.async_client import AsyncClient
from tlsrt.config.files import read_bounded
from tlsrt.errors import ConfigError, Denied, InvalidArgument
from tlsrt.output import to_json
from tlsrt.sources import (
    Gathered,
    Source,
    expect_some,
    filed,
    kept,
    logged,
    period,
    received,
    searched,
)
from tlsrt.text import printable
from tlsrt.when import shown_time

TERMINAL = "/dev/tty"  # that of this process
_SOURCE_BYTES = 64 * 1024
_SOURCES_MOST = 16
_ASKED_MOST = 1000  # characters of a call that a person is asked about
_EXCERPT, _WHERE = 110, 200  # characters of a source, and of its name, that are shown


async def ask(arguments: argparse.Namespace) -> None:
    """Print an answer as it comes, and on standard error what the model wants to have called."""
    files = [_source(name) for name in arguments.source or ()]
    if len(files) > _SOURCES_MOST:
        raise InvalidArgument(f"--source: {_SOURCES_MOST} files at most")
    question = " ".join(arguments.question)
    given, is_ended = list[dict[str, Any]](), True
    async with client_of(arguments) as client:
        if arguments.target == DEFAULT and DEFAULT not in client.rights:
            raise Denied(
                "this client can ask no language model at this host: `tlsrt-supervisor component add secondary/ask` "
                "adds one, and `tlsrt-supervisor client set` lets this client use it"
            )
        with hinting(client, arguments.target):
            tools = await offered(client, arguments.tool or ())
            sources = [*files, *await _found(client, question, arguments, is_needed=not files)]
            answer = converse(
                client, question, tools=tools, sources=sources, target=arguments.target,
                tokens=arguments.tokens, may=_always if arguments.yes else _asked,
            )  # fmt: skip
            async with aclosing(answer):
                async for item in answer:
                    if arguments.json:
                        print(to_json(item), flush=True)
                    elif "sources" in item:
                        given = item["sources"]
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
                        if given:
                            print("\n".join(source_lines(given)), flush=True)


async def _found(client: AsyncClient, question: str, arguments: argparse.Namespace, *, is_needed: bool) -> list[Source]:
    """Return what this client may read of the places that are asked of. Raises NotFound if there is nothing."""
    most, wait_s, now = arguments.passages, arguments.timeout, datetime.now()  # days are local
    found, places = list[Gathered](), list[str]()
    for namespace in arguments.search or ():
        places.append(f"namespace {printable(namespace)}")
        found.append(await searched(client, question, namespace, most=most, timeout_s=wait_s))
    for tree in arguments.files or ():
        places.append(f"tree {printable(tree)}")
        found.append(await filed(client, question, tree, most=most, timeout_s=wait_s))
    for namespace in arguments.store or ():
        places.append(f"namespace {printable(namespace)} of the store")
        found.append(await kept(client, question, namespace, most=most, timeout_s=wait_s))
    if arguments.messages:
        places.append("your messages")
        found.append(await received(client, question, most=most, timeout_s=wait_s))
    for text, is_audit in ((arguments.logs, False), (arguments.audit, True)):
        if text:
            places.append(f"the {'audit log' if is_audit else 'logs'} of {printable(text)}")
            when = period(text, now)
            found.append(await logged(client, question, when, audit=is_audit, most=most, timeout_s=wait_s))
    for one in found:
        for note in one.notes:
            _say(printable(note))
    return expect_some(found, places if is_needed else ())


def source_lines(given: Sequence[dict[str, Any]]) -> list[str]:
    """Return the list of sources under an answer."""
    lines = ["", "Sources that the model was given, whether its answer stands on them or not:"]
    for one in given:
        where = [one["name"], one["place"], shown_time(one["at_ms"]) if one["at_ms"] is not None else ""]
        by = f", by {printable(one['author'])}" if one["author"] else ""
        said = printable(one["text"].strip(), _EXCERPT)
        lines.append(f"{one['number']:3}  {', '.join(printable(word, _WHERE) for word in where if word)}{by}")
        lines.append(f"     {said}")
    return lines


def _say(text: str) -> None:
    print(f"tlsrt: {text}", file=sys.stderr, flush=True)


def _shown(call: dict[str, Any]) -> str:
    # as JSON: a text that holds `to=...` does not look like another argument
    arguments = " ".join(f"{printable(str(name))}={printable(to_json(one))}" for name, one in call["arguments"].items())
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
    if len(shown) > _ASKED_MOST:  # it would leave the screen, and with it what is to be called
        _say(f"{shown[:_EXCERPT]}...: a call of {len(shown)} characters is not asked for; it was not made")
        return False
    try:
        descriptor = os.open(TERMINAL, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        _say(f"{shown}: there is no terminal to ask at; --yes calls what --tool names")
        return False
    with os.fdopen(descriptor, "r+b", buffering=0) as terminal:
        termios.tcflush(descriptor, termios.TCIFLUSH)  # what was typed before the question is no answer to it
        terminal.write(f"the model wants {shown}\ncall it? [y/N] ".encode())
        answer = await asyncio.to_thread(terminal.readline, 100)
    return answer.strip().lower() in (b"y", b"yes")
