"""`tlsrt search`: texts that this client has found by meaning, kept by `secondary/search` of the host.

What is added is read with the rights of this client, and written with them: no component reads files or messages of
others to have them found.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from tlsrt.channels.cli.client import client_of, hinting
from tlsrt.channels.client.async_client import AsyncClient
from tlsrt.command_line.fitted import fitted_table
from tlsrt.command_line.table import Document
from tlsrt.config.files import read_bounded
from tlsrt.errors import CallError, ConfigError, InvalidArgument
from tlsrt.sources import OWN, SEARCH, mailbox, searched
from tlsrt.text import printable, size
from tlsrt.when import shown_time

FILES = "third/files"
_FILE_BYTES = 1 << 20  # of `add_file`
_FILES_MOST = 1000  # of one command
_DEPTH = 16  # of folders
_COLUMNS = ("NAME", "KIND", "ADDED", "BY", "SIZE", "PASSAGES")
_PAGE = 500


async def add(arguments: argparse.Namespace) -> Document:
    """Add files and messages; what cannot be added is told, and the rest is."""
    if not arguments.files and not arguments.messages:
        raise InvalidArgument("there is nothing to add: write a FILE, or --messages")
    added, left_out = list[dict[str, Any]](), list[dict[str, str]]()
    async with client_of(arguments) as client:
        with hinting(client, SEARCH):
            async for name, kind, text in _texts(client, arguments, left_out):
                try:
                    done = await client.upload(
                        SEARCH, "add_file", text, name, kind, arguments.namespace or None, timeout_s=arguments.timeout
                    )
                except InvalidArgument as error:
                    left_out.append({"name": name, "why": str(error)})
                else:
                    added.append({"name": name, "passages": done["passages"], "replaced": done["replaced"]})
    if not added and left_out:
        raise InvalidArgument(f"nothing was added: {left_out[0]['name']}: {left_out[0]['why']}")
    return {"added": added, "left_out": left_out}


async def _texts(
    client: AsyncClient, arguments: argparse.Namespace, left_out: list[dict[str, str]]
) -> AsyncIterator[tuple[str, str, bytes]]:
    """Give name, kind and bytes of all that is to be added."""
    if arguments.messages:
        mails, notes = await mailbox(client, timeout_s=arguments.timeout)
        left_out += [{"name": "messages", "why": note} for note in notes]
        for mail in mails:
            if mail["body"].strip():
                yield f"{mail['id'][:8]} from {mail['from']}", "message", mail["body"].encode()
    count = 0
    for file in arguments.files:
        if arguments.host:
            async for path in _host_files(client, file, _DEPTH):
                count = _counted(count)
                try:
                    yield f"{FILES}/{path}", "file", await _host_file(client, path, arguments.timeout)
                except CallError as error:
                    left_out.append({"name": path, "why": error.message})
        else:
            for local in _local_files(Path(file)):
                count = _counted(count)
                try:
                    yield str(local), "file", read_bounded(local, _FILE_BYTES, "the file")
                except ConfigError as error:
                    left_out.append({"name": str(local), "why": str(error)})


def _counted(count: int) -> int:
    if count >= _FILES_MOST:
        raise InvalidArgument(f"more than {_FILES_MOST} files: name smaller folders")
    return count + 1


def _local_files(path: Path) -> Iterator[Path]:
    """Give a file, or all files of a folder by name, but for hidden ones; links in a folder are not followed."""
    if not path.is_dir():
        yield path
        return
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        for name in sorted(names):
            file = Path(folder, name)
            if not name.startswith(".") and file.is_file() and not file.is_symlink():
                yield file


async def _host_files(client: AsyncClient, path: str, depth: int) -> AsyncIterator[str]:
    """Give TREE/PATH of a file of the host, or those of all files of a folder. Raises what the calls raise."""
    inside = path.removeprefix(f"{FILES}/").strip("/")
    found = await client.call(FILES, "stat", inside, False, idempotent=True) if "/" in inside else {"kind": "folder"}
    if found["kind"] != "folder":
        yield inside
        return
    after = ""
    while True:
        page = (await client.call(FILES, "list", inside, after, _PAGE, idempotent=True))["entries"]
        for one in page:
            after = one["name"]
            if after.startswith("."):
                continue
            if one["kind"] == "file":
                yield f"{inside}/{after}"
            elif one["kind"] == "folder" and depth:
                async for each in _host_files(client, f"{inside}/{after}", depth - 1):
                    yield each
        if len(page) < _PAGE:
            return


async def _host_file(client: AsyncClient, path: str, timeout_s: float) -> bytes:
    data = bytearray()
    async for piece in client.stream(FILES, "read_stream", path, timeout_s=timeout_s):
        data += piece
        if len(data) > _FILE_BYTES:
            raise InvalidArgument(f"more than {_FILE_BYTES >> 20} MiB")
    return bytes(data)


async def find(arguments: argparse.Namespace) -> Document:
    """Return the nearest passages."""
    async with client_of(arguments) as client:
        found = await searched(
            client, " ".join(arguments.text), arguments.namespace or OWN, most=arguments.limit,
            timeout_s=arguments.timeout,
        )  # fmt: skip
        return {
            "found": [
                {"name": one.name, "at_ms": one.at_ms, "author": one.author, "text": one.text} for one in found.sources
            ],
            "notes": found.notes,
        }  # fmt: skip


async def list_sources(arguments: argparse.Namespace) -> Document:
    """Return what was added."""
    found, after = list[dict[str, Any]](), ""
    async with client_of(arguments) as client:
        with hinting(client, SEARCH):
            while True:
                page = await client.call(
                    SEARCH, "sources", after, _PAGE, arguments.namespace or None, timeout_s=arguments.timeout,
                    idempotent=True,
                )  # fmt: skip
                found += page
                if len(page) < _PAGE:
                    return {"sources": found}
                after = page[-1]["name"]


async def remove(arguments: argparse.Namespace) -> Document:
    """Remove what was added."""
    async with client_of(arguments) as client:
        with hinting(client, SEARCH):
            for name in arguments.names:
                await client.call(SEARCH, "remove", name, arguments.namespace or None, timeout_s=arguments.timeout)
    return {"removed": arguments.names}


def search_lines(answer: Document) -> list[str]:
    """Return what was added, found, listed or removed."""
    if "removed" in answer:
        return [f"removed {printable(name)}" for name in answer["removed"]]
    if "sources" in answer:
        rows = [
            (printable(one["name"]), one["kind"], shown_time(one["at_ms"]), one["author"] or "-", size(one["bytes"]),
             str(one["passages"]))
            for one in answer["sources"]
        ]  # fmt: skip
        return fitted_table([_COLUMNS, *rows], least=("SIZE", "PASSAGES", "KIND")) if rows else ["nothing was added"]
    if "found" in answer:
        lines = [line for one in answer["found"] for line in (_head(one), f"  {printable(one['text'])}", "")]
        return [*(lines[:-1] or ["nothing was found"]), *(f"note: {printable(one)}" for one in answer["notes"])]
    lines = [f"{'replaced' if one['replaced'] else 'added'} {printable(one['name'])}" for one in answer["added"]]
    return lines + [f"left out {printable(one['name'])}: {printable(one['why'])}" for one in answer["left_out"]]


def _head(one: Document) -> str:
    by = f" by {printable(one['author'])}" if one["author"] else ""
    return f"{printable(one['name'])}, added {shown_time(one['at_ms'])}{by}"
