"""Messages about certificates of a CA: supervisor, authority and Primary."""

from __future__ import annotations

from typing import Any, NamedTuple


class PairMessage(NamedTuple):
    """A certificate and its key, sealed memfds, under a number that grows."""

    number: int


class PairTriedMessage(NamedTuple):
    """Whether Primary can serve with a pair; a sentence: it cannot."""

    number: int
    sentence: str


class NameMessage(NamedTuple):
    """Add a name to those that are ordered (1), or remove it (0)."""

    number: int
    name: str
    is_added: int


class RequestMessage(NamedTuple):
    """Make a key and a signing request for these names; `account_key` and then `answer` come back."""

    number: int
    directory: str  # of the CA, whose account it is
    names: list[Any]


class ProofMessage(NamedTuple):
    """Have the door show this digest for a name of the request; no digest: show nothing any more."""

    number: int
    name: str
    digest: bytes


class ChainMessage(NamedTuple):
    """Judge a chain, DER, for the key of the last request, and serve with it."""

    number: int
    chain: list[Any]


class AccountKeyMessage(NamedTuple):
    """The key of the account, a sealed memfd that is for the ACME process."""

    number: int
