"""The verbs of signed releases, as data."""

from __future__ import annotations

from pathlib import Path

from tlsrt.command_line.table import Argument, Verb, flag, whole_number

_WHEEL = Argument(("wheel",), "the wheel", "WHEEL", kind=Path)
RELEASE_FILE = Argument(
    ("--release",), "its signed manifest (else the one in the wheel or beside it)", "FILE", kind=Path
)  # fmt: skip
DOWNGRADE = flag("--allow-downgrade", text="accept a version that is older than one that this host has run")
ACCEPT = Argument(
    ("--accept",),
    "accept only this: NAME==VERSION, whose signature is verified if its publisher is pinned, or a name or folder "
    "as --diff prints it; may be repeated",
    "WHAT", is_repeated=True,
)  # fmt: skip
RELEASE = (
    Verb(
        "key",
        "write a new key that signs releases, and print its public key",
        (Argument(("file",), "a new file, of mode 0600", "FILE", kind=Path),),
        run="release.key",
    ),
    Verb(
        "sign",
        "sign every file of a wheel: write the manifest WHEEL.release, or into the wheel",
        (
            Argument(("key",), "the key that signs, as `release key` has written it", "KEY", kind=Path),
            _WHEEL,
            Argument(("--days",), "how long it is accepted (730)", "N", kind=whole_number, default=730),
            flag("--embed", text="put the manifest into the wheel: `seal --accept` finds it where that is installed"),
        ),
        run="release.sign",
    ),
    Verb(
        "verify",
        "say whether a wheel is what a publisher has signed; runs nothing of it",
        (
            _WHEEL, RELEASE_FILE,
            Argument(("--publisher",), "their public key (those that the configuration pins)", "HEX"),
        ),
        run="release.verify",
    ),
)  # fmt: skip
UPGRADE = Verb(
    "upgrade",
    "verify a wheel that a pinned publisher has signed, install it by pip, and seal it; restart the host afterwards",
    (_WHEEL, RELEASE_FILE, DOWNGRADE),
    run="release.upgrade",
)
