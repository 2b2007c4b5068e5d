"""`tlsrt send`, `inbox` and `outbox`: messages of this client, kept by `external/messages` of the host."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any

from tlsrt.channels.cli.client import client_of
from tlsrt.channels.client.async_client import AsyncClient
from tlsrt.channels.client.files.remote_path import parse_place
from tlsrt.command_line.fitted import fitted_table
from tlsrt.command_line.table import Document
from tlsrt.errors import CallError, Denied, InvalidArgument, NotFound
from tlsrt.output import to_json
from tlsrt.text import printable, size
from tlsrt.when import shown_time

TARGET = "external/messages"
BODY_MAX = 64 * 1024
ID_SHOWN = 8
_COLUMNS = ("ID", "FROM", "TOPIC", "WHEN", "STATE", "FILES", "TEXT")
_OUT = ("ID", "FROM", "TO", "STATE", "TRIES", "NEXT", "REASON")
_PAUSE_S = 1.0


@contextmanager
def _known(client: AsyncClient) -> Iterator[None]:
    """Say of a host without messages what is to be done."""
    try:
        yield
    except (Denied, NotFound) as error:
        if TARGET not in client.rights:
            error.message = (
                f"this client has no messages at this host: `tlsrt-supervisor component add {TARGET}` adds them, and "
                "`tlsrt-supervisor client set` lets it use them"
            )
        raise


async def send(arguments: argparse.Namespace) -> Document:
    """Send a message; returns when the host has it on its disk."""
    body = _text(arguments.text)
    if not body and not arguments.attach:
        raise InvalidArgument("there is no text: write one, `-` for standard input, or --attach FILE")
    files = [Path(name) for name in arguments.attach or []]
    for file in files:
        parse_place(TARGET, file.name)  # its name is one there, before anything is sent
    more: dict[str, Any] = {
        "topic": arguments.topic, "expires_s": arguments.expires, "in_reply_to": arguments.reply_to,
        "priority": arguments.priority,
    }  # fmt: skip
    given = {name: value for name, value in more.items() if value is not None}
    async with client_of(arguments) as client:
        with _known(client):
            attachments = []
            for file in files:
                done = await client.put(file, f"{TARGET}/{file.name}", patience_s=arguments.timeout)
                attachments.append({"name": file.name, "size": done.size_bytes, "sha256": done.sha256})
            answer = await client.call(
                TARGET, "send", arguments.to, body, attachments=attachments, id=os.urandom(16).hex(),
                timeout_s=arguments.timeout, idempotent=True, **given,
            )  # fmt: skip
            return dict(answer)


def _text(words: str | None) -> str | bytes:
    """Return what is to be sent: the argument, or standard input for `-`. Raises InvalidArgument."""
    if words != "-":
        return words or ""
    data = sys.stdin.buffer.read(BODY_MAX + 1)
    if len(data) > BODY_MAX:
        raise InvalidArgument(f"standard input has more than {BODY_MAX} bytes: send it by --attach FILE")
    try:
        return data.decode().removesuffix("\n")
    except UnicodeDecodeError:
        return data


def send_lines(answer: Document) -> list[str]:
    """Say where the message is now."""
    lines = [f"kept {answer['id']}"]
    lines += [f"in the mailbox of {printable(box)}" for box in answer["mailboxes"]]
    lines += [f"waits for the host {printable(host)}" for host in answer["hosts"]]
    lines += [f"note: no one has looked into the mailbox of {printable(box)} yet" for box in answer["unopened"]]
    return lines


async def inbox(arguments: argparse.Namespace) -> Document | None:
    """List the mailbox of this client, follow it, read a message, or acknowledge some."""
    what, ids = arguments.what or "list", arguments.ids
    if what not in ("list", "read", "acknowledge") or (what == "list") == bool(ids):
        raise InvalidArgument("say `inbox`, `inbox --follow`, `inbox read ID` or `inbox acknowledge ID...`")
    if arguments.follow and what != "list":
        raise InvalidArgument("say --follow without ID: it shows every message that comes")
    async with client_of(arguments) as client:
        with _known(client):
            if arguments.follow:
                await _follow(client, arguments)
                return None
            if what == "list":
                return dict(await client.call(TARGET, "inbox", timeout_s=arguments.timeout, idempotent=True))
            if what == "acknowledge":
                done = await client.call(TARGET, "acknowledge", ids, timeout_s=arguments.timeout, idempotent=True)
                return {"acknowledged": done}
            if len(ids) > 1:
                raise InvalidArgument("read one message at a time: `inbox read ID`")
            found = await client.call(TARGET, "read", ids[0], timeout_s=arguments.timeout, idempotent=True)
            saved = []
            for one in found["attachments"] if arguments.save else []:
                # The host is asked, and not believed where it writes.
                if one["name"] in ("", "..") or Path(one["name"]).name != one["name"]:
                    raise InvalidArgument(f"the host names a file {printable(one['name'])!r}, which is no name")
                to = Path(arguments.save) / one["name"]
                await client.get(f"{TARGET}/{found['id']}/{one['name']}", to, patience_s=arguments.timeout)
                saved.append(str(to))
            return {**found, "saved": saved}


async def _follow(client: AsyncClient, arguments: argparse.Namespace) -> None:
    """Print each message as it comes, over lost connections, each once; say on standard error why none come."""
    import asyncio

    after, told = 0, ""
    while True:
        try:
            items = client.stream(TARGET, "watch", after, timeout_s=arguments.timeout)
            async with aclosing(items) as closing:
                async for one in closing:
                    print(to_json(one) if arguments.json else "\n".join([*read_lines(one), ""]), flush=True)
                    after, told = one["position"], ""
        except (Denied, NotFound, InvalidArgument):
            raise
        except CallError as error:
            if error.message != told:
                print(f"tlsrt: {printable(error.message)}; trying again", file=sys.stderr, flush=True)
                told = error.message
            await asyncio.sleep(_PAUSE_S)


def inbox_lines(answer: Document) -> list[str]:
    """Return the table of a mailbox, one message, or what was done."""
    if "acknowledged" in answer:
        return [f"acknowledged {answer['acknowledged']}"]
    if "body" in answer:
        return read_lines(answer)
    if not answer["messages"]:
        return ["no messages"]
    rows = [
        (
            one["id"][:ID_SHOWN], one["from"], one["topic"] or "-", shown_time(one["created_ms"]), one["state"],
            str(len(one["attachments"]) or "-"), printable(one["preview"].partition("\n")[0]),
        )
        for one in answer["messages"]
    ]  # fmt: skip
    return fitted_table([_COLUMNS, *rows], least=("FILES", "WHEN", "TOPIC"))


def read_lines(message: Document) -> list[str]:
    """Return a message as a person reads it."""
    head = {
        "id": message["id"], "from": message["from"], "written by": message["origin"], "to": message["to"],
        "topic": message["topic"], "sent": shown_time(message["created_ms"]), "answers": message["in_reply_to"],
    }  # fmt: skip
    shown = {name: value for name, value in head.items() if value}
    width = max(map(len, shown))
    lines = [f"{name:{width}}  {printable(str(value))}" for name, value in shown.items()]
    for one in message["attachments"]:
        lines.append(f"{'file':{width}}  {printable(one['name'])}, {size(one['size'])}: "
                     f"tlsrt get {TARGET}/{message['id']}/{printable(one['name'])}")  # fmt: skip
    lines += [f"{'saved':{width}}  {printable(name)}" for name in message.get("saved", [])]
    body = message["body"]
    if isinstance(body, bytes):
        return [*lines, "", f"({len(body)} bytes of {printable(message['content_type'])}; --json shows them)"]
    return [*lines, "", *(printable(line) for line in body.split("\n"))] if body else lines


async def outbox(arguments: argparse.Namespace) -> Document:
    """List what waits for other hosts or was given up, or try or drop one."""
    what, ids = arguments.what or "list", arguments.ids
    if what not in ("list", "retry", "drop") or (what == "list") == bool(ids):
        raise InvalidArgument("say `outbox`, `outbox retry ID...` or `outbox drop ID...`")
    async with client_of(arguments) as client:
        with _known(client):
            found = await client.call(TARGET, "outbox", timeout_s=arguments.timeout, idempotent=True)
            if what == "list":
                return dict(found)
            done = []
            for id in ids:
                whole = _whole(id, [one["id"] for one in found["messages"]])
                await client.call(TARGET, what, whole, timeout_s=arguments.timeout, idempotent=True)
                done.append(whole)
            return {"done": done, "what": what}


def _whole(part: str, ids: list[str]) -> str:
    found = sorted({id for id in ids if id.startswith(part)})
    if len(found) > 1:
        raise InvalidArgument(f"two messages begin with {part}: give more of the id")
    if not found:
        raise NotFound(f"no message {part} waits for another host or was given up: see `tlsrt outbox`")
    return found[0]


def outbox_lines(answer: Document) -> list[str]:
    """Return the table of what waits, and why hosts are away."""
    if "done" in answer:
        words = {"retry": "is tried again", "drop": "goes no further"}
        return [f"{id} {words[answer['what']]}" for id in answer["done"]]
    rows = [
        (
            one["id"][:ID_SHOWN], one["from"], one["to"], one["state"], str(one["attempts"]),
            shown_time(one["due_ms"]) if one["due_ms"] else "-", printable(one["error"] or "-"),
        )
        for one in answer["messages"]
    ]  # fmt: skip
    away = [f"host {printable(name)}: {printable(why)}" for name, why in answer["hosts"].items() if why]
    return [*(fitted_table([_OUT, *rows], least=("NEXT", "TRIES", "FROM")) if rows else ["nothing waits"]), *away]
