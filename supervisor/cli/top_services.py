"""What services of the host have kept of the last hour and day, asked for with the rights of the operator.

The supervisor has no way into a component, and needs none: this is a client of the host as `tlsrt call` is, by the
same bundle, with a session of its own from the first question on. What it may not call is not tried, as a refused call
counts against a client.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from tlsrt.channels.cli.contexts import chosen
from tlsrt.channels.client.sync_client import Client
from tlsrt.config.bundle import Bundle, read_bundle
from tlsrt.config.search_path import find_bundle
from tlsrt.errors import CallError, ConfigError, TlsrtError
from tlsrt.supervisor.cli.top_series import NoNumbers, Past, history_untrusted
from tlsrt.text import ascii_only, sentence

ANSWER_S = 5.0
_METHOD, _PARAMETER = "history", "span"
_SPANS = ("hour", "day")


class Kept(NamedTuple):
    """What one service keeps, or a sentence why that is not known; nothing of both for one that keeps none."""

    address: str
    pasts: tuple[Past, ...] = ()
    words: str = ""


class Services:
    """Asks services for their histories. Its methods may be called from any thread; one is answered at a time."""

    def __init__(self, bundle: Callable[[], tuple[Bundle, str | None]]) -> None:
        self._bundle = bundle
        self._lock = Lock()
        self._client: Client | None = None
        self._keeps: dict[str, bool] = {}  # address -> whether it has such a method

    def kept(self, addresses: Sequence[str]) -> list[Kept]:
        """Return what each of these keeps. Raises nothing: what cannot be had is a sentence."""
        with self._lock:
            try:
                if self._client is None:
                    self._client = Client(*self._bundle(), connect_timeout_s=ANSWER_S)
                return [self._of(self._client, address) for address in addresses]
            except (TlsrtError, ValueError, OSError) as error:
                return [Kept(address, (), f"no history: {sentence(str(error), 300)}") for address in addresses]

    def close(self) -> None:
        """End the session."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _of(self, client: Client, address: str) -> Kept:
        methods = client.rights.get(address, ())
        if _METHOD not in methods and "*" not in methods:
            return Kept(address, (), f"no history: {client.subject} may not call {ascii_only(address, 60)} {_METHOD}")
        try:
            if address not in self._keeps:
                self._keeps[address] = _keeps(client.describe(address, timeout_s=ANSWER_S).get(address))
            if not self._keeps[address]:
                return Kept(address)
            answers = [client.call(address, _METHOD, span, timeout_s=ANSWER_S) for span in _SPANS]
            hour, day = (history_untrusted(answer) for answer in answers)
        except (CallError, NoNumbers) as error:
            return Kept(address, (), f"no history: {sentence(str(error), 300)}")
        by_name = {series.name: series for series in day}
        return Kept(address, tuple(Past(one.name, (one, by_name[one.name])) for one in hour if one.name in by_name))


def operator_bundle(arguments: argparse.Namespace, install_id: bytes | None) -> tuple[Bundle, str | None]:
    """Return the bundle and address that `tlsrt` would take, if they are of this host. Raises ConfigError."""
    named, address = chosen(argparse.Namespace(bundle=arguments.bundle, context=None, address=None))
    path = Path(named) if named is not None else find_bundle(None)
    bundle = read_bundle(path)
    if install_id is not None and bundle.install_id != install_id:
        raise ConfigError(f"{path} is of another host: name a bundle of this one with --bundle FILE")
    return bundle, address


def _keeps(description: object) -> bool:
    """Tell whether a component has a method `history` that takes a span and changes nothing."""
    if not isinstance(description, dict) or not isinstance(description.get("methods"), dict):
        return False
    method = description["methods"].get(_METHOD)
    if not isinstance(method, dict) or method.get("idempotent") is not True or method.get("stream"):
        return False
    parameters = method.get("parameters")
    return isinstance(parameters, list) and [
        one.get("name") for one in parameters if isinstance(one, dict)
    ] == [_PARAMETER]  # fmt: skip
