"""`tlsrt-supervisor status` and `top`: what the supervisor says of itself, once or again and again."""

from __future__ import annotations

import argparse
import json
import os
import select
import shutil
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tlsrt.config.schema import Config
from tlsrt.supervisor.cli.status_text import status_text
from tlsrt.supervisor.cli.top_text import screen, top_lines
from tlsrt.supervisor.control.client import ControlClient

_HIDE_CURSOR, _SHOW_CURSOR, _CLEAR = "\x1b[?25l", "\x1b[?25h", "\x1b[2J"
_QUIT = (b"q", b"Q", b"")  # and the end of the keyboard


def run(arguments: argparse.Namespace, config: Config) -> int:
    """Print the status, or follow it."""
    if arguments.follow:
        return follow(arguments, config)
    with ControlClient(config.run_dir) as client:
        document = client.ask("status")
    print(json.dumps(document, indent=2) if arguments.json else status_text(document))
    return 0


def follow(arguments: argparse.Namespace, config: Config) -> int:
    """Follow until Ctrl-C, `q` at a terminal, or the end of the supervisor."""
    is_terminal = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    with ControlClient(config.run_dir) as client:
        documents = client.follow("follow_status", interval_s=arguments.interval)
        if arguments.json:
            for document in documents:
                print(json.dumps(document), flush=True)
        elif is_terminal:
            _redraw(client, documents)
        else:
            for document in documents:
                if "dropped" not in document:
                    print("\n".join(top_lines(document)), end="\n\n", flush=True)
    return 0


def _redraw(client: ControlClient, documents: Iterator[dict[str, Any]]) -> None:
    with _keyboard() as keyboard:
        sys.stdout.write(_HIDE_CURSOR + _CLEAR)
        try:
            for document in documents:
                if "dropped" not in document:
                    size = shutil.get_terminal_size()
                    sys.stdout.write(screen(top_lines(document), size.columns, size.lines))
                    sys.stdout.flush()
                if not client.has_line and _is_quit(client, keyboard):
                    return
        finally:
            sys.stdout.write(_SHOW_CURSOR)
            sys.stdout.flush()


def _is_quit(client: ControlClient, keyboard: int | None) -> bool:
    """Wait for the next document or a key; return whether the key ends it."""
    waited = [client.fileno()] + ([keyboard] if keyboard is not None else [])
    while True:
        ready, _, _ = select.select(waited, [], [])
        if keyboard in ready and keyboard is not None and os.read(keyboard, 1) in _QUIT:
            return True
        if client.fileno() in ready:
            return False


@contextmanager
def _keyboard() -> Iterator[int | None]:
    """Give standard input with every key at once, if it is a terminal; Ctrl-C stays what it is."""
    if not sys.stdin.isatty():
        yield None
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)
    try:
        yield descriptor
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
