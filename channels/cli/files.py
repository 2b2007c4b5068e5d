"""`tlsrt put` and `get`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Awaitable
from functools import partial
from pathlib import Path
from typing import Protocol

from tlsrt.channels.cli.client import client_of, hinting
from tlsrt.channels.cli.progress import Bar
from tlsrt.channels.client.files.remote_path import parse_place
from tlsrt.channels.client.files.transfer import Told, Transferred
from tlsrt.errors import (
    Busy,
    CallError,
    DeadlineExceeded,
    InvalidArgument,
    OutcomeUnknown,
    StreamBroken,
    Unavailable,
)
from tlsrt.output import to_json
from tlsrt.text import printable, size


async def put(arguments: argparse.Namespace) -> None:
    """Send a file to one place or several."""
    file = arguments.file
    if file == "-":
        raise InvalidArgument("a pipe cannot be resumed: `tlsrt call TARGET write_stream NAME` takes one")
    targets = [parse_place(place, Path(file).name) for place in arguments.places]
    async with client_of(arguments) as client:
        for place in targets:
            send = partial(client.put, file, str(place), patience_s=arguments.timeout)
            with hinting(client, place.target):
                await _transfer(file, send, as_json=arguments.json)


async def get(arguments: argparse.Namespace) -> None:
    """Fetch one file, or several into a folder; the last of several words says where to."""
    words = [arguments.place, *arguments.words]
    places, file = (words[:-1], words[-1]) if len(words) > 1 else (words, ".")
    if file == "-":
        raise InvalidArgument("a pipe cannot be resumed: `tlsrt call TARGET read_stream NAME` gives one")
    sources = [parse_place(place) for place in places]
    destination = Path(file)
    is_folder = destination.is_dir()
    if len(sources) > 1 and not is_folder:
        raise InvalidArgument(f"{destination} is no folder, and {len(sources)} files do not fit into one file")
    async with client_of(arguments) as client:
        for place in sources:
            path = destination / place.own_name if is_folder else destination
            fetch = partial(client.get, str(place), path, patience_s=arguments.timeout)
            with hinting(client, place.target):
                await _transfer(str(path), fetch, as_json=arguments.json)


class _Work(Protocol):
    def __call__(self, *, on_progress: Told) -> Awaitable[Transferred]: ...


async def _transfer(file: str, work: _Work, *, as_json: bool) -> None:
    try:
        with Bar(Path(file).name, is_wanted=not as_json) as bar:
            done = await work(on_progress=bar.told)
    except CallError as error:
        if isinstance(error, (Unavailable, OutcomeUnknown, DeadlineExceeded, StreamBroken, Busy)):
            error.message += "; the same command goes on where this one ended"
        raise
    if as_json:
        print(to_json(done._asdict()), flush=True)
    elif sys.stdout.isatty():
        print(_told(done), flush=True)


def _told(done: Transferred) -> str:
    moved = done.size_bytes - done.resumed_bytes
    rate = f" ({size(moved / done.seconds)}/s)" if moved and done.seconds >= 0.1 else ""
    before = f", {size(done.resumed_bytes)} were there" if done.resumed_bytes else ""
    return printable(
        f"{done.place}  {size(done.size_bytes)} in {done.seconds:.1f} s{rate}{before}  SHA-256 {done.sha256}"
    )
