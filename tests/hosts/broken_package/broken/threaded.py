"""A package whose part starts a thread when it is imported."""

from __future__ import annotations

from importlib import import_module

from tlsrt import Component


class Threaded(Component):
    """Has not asked for the thread."""

    sender = import_module("broken.telemetry").sender
