"""The verbs that talk to a running host: every entry of the table leads somewhere."""

from __future__ import annotations

from importlib import import_module

import pytest

from tlsrt.supervisor.cli.verbs import HOST_VERBS, HostVerb


@pytest.mark.parametrize("verb", HOST_VERBS, ids=lambda verb: verb.name)
def test_every_verb_has_its_module(verb: HostVerb) -> None:
    assert callable(import_module(f"tlsrt.supervisor.cli.{verb.module}").run)
    assert verb.text and not verb.text.endswith(".")
    assert all(option.settings.get("help") for option in verb.options)


def test_names_are_unique() -> None:
    assert len({verb.name for verb in HOST_VERBS}) == len(HOST_VERBS)
