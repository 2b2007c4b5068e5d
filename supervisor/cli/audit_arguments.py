"""The arguments of `tlsrt-supervisor audit`. What the verbs do is in `audit.py`, which is imported when one runs."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

_FOLDER = "a folder with the log's files, such as a copy of one (default: that of the configuration)"


def add_audit(verb: argparse.ArgumentParser, common: argparse.ArgumentParser, number: Callable[[str], int]) -> None:
    """Add the verbs below `audit`; `number` reads a whole number."""
    verbs = verb.add_subparsers(metavar="VERB", required=True, parser_class=type(common), dest="audit_verb")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        below: argparse.ArgumentParser = verbs.add_parser(name, parents=[common], help=text, description=text)
        below.add_argument("--folder", metavar="DIR", type=Path, help=_FOLDER)
        return below

    tail = add("tail", "print the newest records, and with --follow those that come")
    tail.add_argument("-n", dest="count", metavar="N", type=number, default=20, help="how many (default: %(default)s)")
    tail.add_argument("--follow", action="store_true", help="go on until Ctrl-C")
    tail.add_argument("--json", action="store_true", help="one JSON document a line")
    show = add("show", "print all that is known of one record")
    show.add_argument("sequence", metavar="SEQ", type=number, help="its sequence number")
    verify = add("verify", "say whether the log is whole, and name the first entry that is not")
    verify.add_argument(
        "--key", metavar="FILE", type=Path,
        help="the public key, as `audit key` prints it (default: master_key, which also checks the MACs)",
    )  # fmt: skip
    verify.add_argument("--anchors", metavar="FILE", type=Path, help="heads that journald has kept, as it prints them")
    verify.add_argument("--closed", action="store_true", help="the last file must end with FINAL")
    verify.add_argument(
        "--moved-away", action="store_true", help="older files are elsewhere: do not ask for a record of their removal"
    )
    verify.add_argument("--proof", metavar="FILE", type=Path, help="instead: check what `export --proof` has printed")
    verify.add_argument("--json", action="store_true", help="the same as one JSON document")
    export = add("export", "print every entry as one line of JSON, or the proof that one is in the log")
    export.add_argument("--proof", metavar="SEQ", type=number, help="of this record, for whoever has the public key")
    add("key", "print the public key that verifies the log elsewhere")
