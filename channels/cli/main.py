"""The `tlsrt` command: calls methods of a running host as an external client.

Imports are late so that `--help` and mistakes answer at once. Nothing here ends in a traceback: every outcome is a
result, one sentence on stderr with its exit code, or silence after Ctrl-C (130) and a closed pipe (141).
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from tlsrt.errors import (
    EX_INTERRUPTED,
    EX_PIPE_CLOSED,
    EX_SOFTWARE,
    EX_USAGE,
    CallError,
    TlsrtError,
    exit_codes_text,
)
from tlsrt.text import parse_duration

if TYPE_CHECKING:
    from tlsrt.channels.cli.completion.tree import CommandNode
    from tlsrt.channels.cli.verbs import Options

_KINDS = ("lifecycle", "session", "security", "health")
_EPILOG = f"""\
examples:
  tlsrt describe
  tlsrt call primary/kernel uname
  tlsrt call secondary/store put greeting hello ttl_s=60
  tlsrt call secondary/store get greeting --json
  tlsrt put photo.jpg third/io
  tlsrt get third/io/photo.jpg copy.jpg
  tlsrt events --follow --kind security
  tlsrt export pem

The bundle is --bundle, else $TLSRT_BUNDLE, ./var/admin.tlsrt, or client.tlsrt or admin.tlsrt in the user's
configuration folder. `enroll` writes --bundle, or client.tlsrt there.
A method that takes data reads it from standard input. `tlsrt VERB --help` tells more.

{exit_codes_text()}
"""
_VERBS = {
    "call": "call a method: TARGET METHOD [ARG...]; an ARG is JSON or a plain word, or NAME=VALUE",
    "describe": "list the components, methods, parameter types and docs that this client may use: [TARGET]",
    "put": "send a file: FILE PLACE...; a PLACE is LOOP/COMPONENT[/NAME], such as third/io or third/io/photo.jpg",
    "get": "fetch a file: PLACE [FILE]; or several into a folder: PLACE... FOLDER",
    "events": "print what happened on the host, and with --follow what happens; policy says who may hear it",
    "lock": "lock the host, so that nobody has a session; for clients that its operator lets do so",
    "unlock": "unlock the host, and wait until it serves again; likewise",
    "whoami": "show who this client is to the host, its session and its rights",
    "enroll": "become a client of a host: HOST:PORT CODE; the code comes from `tlsrt-supervisor client add`",
    "export": "write this client's certificate, key and CA as PEM files into a new FOLDER, for curl",
    "renew": "get another certificate for this client, over a session of its own; then the old one ends",
    "completion": "print what teaches a shell to complete this command: source <(tlsrt completion bash)",
}


class _Parser(argparse.ArgumentParser):
    """Mistakes are one sentence and exit code 64 (sysexits.h)."""

    def error(self, message: str) -> NoReturn:
        self.exit(EX_USAGE, f"tlsrt: {message}; see `{self.prog} --help`\n")


def _add_options(parser: argparse.ArgumentParser, *, again: bool) -> None:
    """The same options stand before and after the verb; the later one counts."""
    default = argparse.SUPPRESS if again else None
    parser.add_argument("--bundle", metavar="FILE", default=default, help="the client bundle")
    parser.add_argument("--address", metavar="HOST:PORT", default=default, help="the host, instead of the bundle's")
    parser.add_argument(
        "--timeout", metavar="S", type=_timeout, default=argparse.SUPPRESS if again else 30.0,
        help="seconds until an answer must be there, or of a transfer the next byte (30; at most 300)",
    )  # fmt: skip
    parser.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS if again else False, help="print JSON; bytes as base64"
    )
    parser.add_argument(
        "--wait-locked", metavar="S", type=_longest_wait, default=argparse.SUPPRESS if again else 0.0,
        help="if the host is locked, wait so many seconds for its unlock (inf: for ever)",
    )  # fmt: skip


def _timeout(text: str) -> float:
    try:
        return parse_duration(text, most_s=300.0, has_default_unit=True)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def _longest_wait(text: str) -> float:
    try:
        return math.inf if text == "inf" else parse_duration(text, least_s=0.0, has_default_unit=True)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _top_parser() -> _Parser:
    verbs = "\n".join(f"  {name:<10} {text}" for name, text in _VERBS.items())
    parser = _Parser(
        "tlsrt", usage="tlsrt [OPTION...] VERB ...", description=f"Talk to a running tlsrt host.\n\nverbs:\n{verbs}",
        epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
    )  # fmt: skip
    _add_options(parser, again=False)
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.add_argument("verb", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


def _verb_parser(verb: str) -> _Parser:
    parser = _Parser(f"tlsrt {verb}", description=_VERBS[verb], allow_abbrev=False)
    if verb == "completion":
        parser.add_argument("shell", metavar="SHELL", choices=("bash", "zsh", "fish"), help="bash, zsh or fish")
        return parser
    _add_options(parser, again=True)
    if verb == "call":
        parser.add_argument("target", metavar="TARGET", help="a component, such as secondary/store")
        parser.add_argument("method", metavar="METHOD")
        parser.add_argument("words", metavar="ARG", nargs="*", default=[])
    elif verb == "put":
        parser.add_argument("file", metavar="FILE", help="the file that is sent")
        parser.add_argument("places", metavar="PLACE", nargs="+", help="LOOP/COMPONENT, or LOOP/COMPONENT/NAME")
    elif verb == "get":
        parser.add_argument("places", metavar="PLACE", nargs=1, help="LOOP/COMPONENT/NAME")
        parser.add_argument("words", metavar="FILE", nargs="*", help="where it is written (its own name, here)")
    elif verb == "enroll":
        parser.add_argument("where", metavar="HOST:PORT", help="the host's door")
        parser.add_argument("code", metavar="CODE", help="the join code: good for 10 minutes, and once")
        parser.add_argument("--server-name", metavar="NAME", default="", help="whom its certificate names, if not HOST")
    elif verb == "export":
        parser.add_argument("folder", metavar="FOLDER", help="where they are written; it must not exist yet")
    elif verb == "describe":
        parser.add_argument("target", metavar="TARGET", nargs="?")
    elif verb == "lock":
        parser.add_argument(
            "--reason", metavar="TEXT", default="", help="why, for the host's operators (200 characters)"
        )
    elif verb == "events":
        parser.add_argument("--follow", "-f", action="store_true", help="go on with every new event, until Ctrl-C")
        parser.add_argument(
            "--since", metavar="SEQ", type=_number, default=0, help="only those after the event of that number"
        )
        parser.add_argument(
            "--kind", action="append", choices=_KINDS, default=[], help="only events of this kind; may be repeated"
        )
    return parser


def completion_tree() -> CommandNode:
    """Return this command as data, for completion."""
    from tlsrt.channels.cli.completion.tree import node_of

    top = node_of(_top_parser(), ("tlsrt",))
    verbs = tuple(node_of(_verb_parser(verb), ("tlsrt", verb), text) for verb, text in _VERBS.items())
    return top._replace(verbs=verbs)


def parse(arguments: Sequence[str]) -> argparse.Namespace | None:
    """Return what is asked for, or None if it has been answered; exits like argparse on mistakes."""
    parser = _top_parser()
    asked = parser.parse_args(arguments)
    if asked.version:
        from tlsrt import __version__

        print(f"tlsrt {__version__}")
        return None
    if asked.verb is None:
        parser.error("say what to do: " + ", ".join(_VERBS))
    if asked.verb not in _VERBS:
        parser.error(f"there is no verb {asked.verb!r}, only " + ", ".join(_VERBS))
    rest = _verb_parser(asked.verb).parse_intermixed_args(asked.rest)
    vars(asked).update(vars(rest))
    return asked


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    try:
        asked = parse(sys.argv[1:] if arguments is None else arguments)
        code = 0 if asked is None else _run(asked)
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = EX_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the flush at exit has somewhere to go
        code = EX_PIPE_CLOSED
    except TlsrtError as error:
        code = _tell(error)
    except Exception as error:  # the edge of the process: a bug of ours is a sentence too
        print(f"tlsrt: internal error, please report it: {type(error).__name__}: {error}", file=sys.stderr)
        code = EX_SOFTWARE
    return code


def _run(asked: argparse.Namespace) -> int:
    if asked.verb == "completion":
        from tlsrt.channels.cli.completion import script_of

        print(script_of(asked.shell, completion_tree()), end="")
        return 0
    if asked.verb == "enroll":
        return _enroll(asked)
    if asked.verb == "export":
        return _export(asked)
    import asyncio

    from tlsrt.channels.cli import verbs

    options: Options = verbs.Options(asked.bundle, asked.address, asked.timeout, asked.json, asked.wait_locked)
    if asked.verb == "call":
        work = verbs.call(options, asked.target, asked.method, asked.words)
    elif asked.verb in ("put", "get"):
        from tlsrt.channels.cli import files as transfer

        work = (
            transfer.put(options, asked.file, asked.places) if asked.verb == "put"
            else transfer.get(options, [*asked.places, *asked.words])
        )  # fmt: skip
    elif asked.verb == "events":
        work = verbs.events(options, asked.kind, asked.since, is_followed=asked.follow)
    elif asked.verb == "lock":
        work = verbs.lock(options, asked.reason)
    elif asked.verb == "unlock":
        work = verbs.unlock(options)
    elif asked.verb == "describe":
        work = verbs.describe(options, asked.target)
    elif asked.verb == "renew":
        work = verbs.renew(options)
    else:
        work = verbs.whoami(options)
    asyncio.run(work)
    return 0


def _enroll(asked: argparse.Namespace) -> int:
    import json
    from pathlib import Path

    from tlsrt.channels.client.address import parse_address
    from tlsrt.channels.client.enroll import enroll
    from tlsrt.channels.session.enrolment import parse_code
    from tlsrt.config.search_path import own_bundle

    path = Path(asked.bundle or os.environ.get("TLSRT_BUNDLE") or own_bundle())
    code = parse_code(asked.code)
    bundle = enroll(
        *parse_address(asked.where), code, path, server_name=asked.server_name, timeout_s=asked.timeout
    )  # fmt: skip
    if asked.json:
        print(json.dumps({"client": bundle.name, "bundle": str(path)}))
    else:
        print(f"this is client {bundle.name} now; its bundle is {path}: whoever has it is this client")
    return 0


def _export(asked: argparse.Namespace) -> int:
    import json
    from pathlib import Path

    from tlsrt.channels.client.address import parse_address
    from tlsrt.channels.client.pem_export import curl_line, export_pem
    from tlsrt.config.bundle import read_bundle
    from tlsrt.config.search_path import find_bundle
    from tlsrt.text import printable

    bundle = read_bundle(find_bundle(asked.bundle))
    host, port = parse_address(asked.address) if asked.address else (bundle.host, bundle.port)
    files = export_pem(bundle, Path(asked.folder))
    line = curl_line(files, bundle, host, port)
    if asked.json:
        print(json.dumps({"client": bundle.name, **{name: str(path) for name, path in files._asdict().items()}}))
    else:
        print(f"{files.key} is the key of client {printable(bundle.name)}: whoever has it is this client")
        print(f"if the host serves HTTP to it:\n\n  {printable(line)}")
    return 0


def _tell(error: TlsrtError) -> int:
    from tlsrt.text import printable

    text = error.message if isinstance(error, CallError) else str(error)
    for line in text.splitlines() or [type(error).__name__]:
        print(f"tlsrt: {printable(line)}", file=sys.stderr)
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
