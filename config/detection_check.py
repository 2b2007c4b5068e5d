"""What the part `detection` of a file may say: its fields, and a sentence for every name that is none."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from tlsrt.config.detection import ALLOWED, DETECTORS, Mode
from tlsrt.config.field import NAME, NAME_SAYS, Field
from tlsrt.config.validation import Checker, nearest

_MODES = tuple(map(str, Mode))
DETECTION = Field(
    kind="table",
    about="What follows from attacks: offences add points to whoever they came from, points fade by half in a minute, "
    "and steps follow from them, which end by themselves.",
    default={},
    fields={
        "mode": Field(
            kind="text",
            about="act: steps are taken; observe: they are told and not taken; ignore: nothing is counted.",
            default=str(Mode.ACT),
            choices=_MODES,
        ),
        "detectors": Field(
            kind="map",
            about="Detectors by name, whose mode is to be another one.",
            default={},
            most=len(DETECTORS),
            pattern=NAME,
            says=NAME_SAYS,
            item=Field(
                kind="table",
                about="Settings of one detector.",
                fields={
                    "mode": Field(
                        kind="text",
                        about="act: it counts; observe: it is told and counts nothing; ignore: it is not told.",
                        required=True,
                        choices=_MODES,
                    )
                },
            ),
        ),
        "allow": Field(
            kind="list",
            about="Whom nothing happens to: addresses and networks, loops, loop/component or client/name. A proxy in "
            "front of the door belongs here, and whatever looks whether it is alive.",
            default=list(ALLOWED),
            most=256,
            item=Field(kind="text", about="An address, a network, or a name.", least=1, most=100),
        ),
    },
)


def check_detection(tree: Mapping[str, Any], known: Iterable[str], checker: Checker) -> None:
    """Add a problem for every detector that does not exist, and for everybody allowed who is nobody.

    `known` are the loops, components and clients.
    """
    names = list(known)
    detectors, allowed = tree.get("detectors"), tree.get("allow")
    for name in detectors if isinstance(detectors, dict) else ():
        if name not in DETECTORS:
            sentence = f"detection: there is no detector {name}{nearest(name, DETECTORS)}"
            checker.problems.add(*checker.marks["detection", "detectors", name], sentence)
    for index, entry in enumerate(allowed if isinstance(allowed, list) else ()):
        if not isinstance(entry, str) or entry in names or _is_network(entry):
            continue
        sentence = f"detection: {entry} is no address, network, loop, component or client{nearest(entry, names)}"
        checker.problems.add(*checker.marks["detection", "allow", str(index)], sentence)


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True
