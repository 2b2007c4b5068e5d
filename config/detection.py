"""The part `detection`: the detectors as data, its values and its checks. Pure.

A trigger cannot happen by accident; what may be an accident adds points, which fade by half in a minute. The actions
that follow from a score are in supervisor/authority/detection/escalation.py.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tlsrt.config.setting import choice, listing, mapping, table, text
from tlsrt.config.validation import Checker
from tlsrt.text import did_you_mean


class Mode(StrEnum):
    """What follows from the findings of a detector."""

    ACT = "act"  # it counts, and actions follow
    OBSERVE = "observe"  # it is reported, and nothing follows
    IGNORE = "ignore"  # it is not even reported


LEARNED = "learned"


@dataclass(frozen=True, slots=True)
class Detector:
    """One kind of offence."""

    name: str
    points: int
    about: str
    is_trigger: bool = False
    is_distinct: bool = False  # the same thing again within a minute counts nothing
    has_grace: bool = False  # it may happen by chance shortly after an epoch, a restart, a reload
    is_advisory: bool = False  # it may end a session, and never does more by itself
    mode: Mode = Mode.ACT


def _trigger(name: str, points: int, about: str) -> Detector:
    return Detector(name, points, about, is_trigger=True)


DETECTORS: Mapping[str, Detector] = {
    detector.name: detector
    for detector in (
        _trigger("canary_token", 100, "a token was presented that was never issued"),
        _trigger("canary_client", 100, "a client certificate was used that was never issued"),
        _trigger("decoy_component", 100, "a component was called that does not exist and is nowhere described"),
        _trigger("decoy_method", 100, "a method was called that does not exist and is nowhere described"),
        _trigger("decoy_file", 100, "a decoy file was opened"),
        _trigger("decoy_endpoint", 100, "a handshake was finished at a decoy port"),
        _trigger("decoy_path", 100, "a path was asked for over HTTP that is nowhere described"),
        _trigger("foreign_token", 100, "a token or session of another holder was presented"),
        _trigger("forged_signature", 100, "a token was wrapped rightly and signed wrongly"),
        _trigger("attestation", 100, "a process is not confined as its profile says"),
        _trigger(
            "gate", 100, "loops refused frames that Primary let through, and no one loop can be behind all of them"
        ),
        _trigger("seccomp_kill", 60, "a process made a system call that no process may make"),
        Detector("bad_tag", 50, "a frame or token whose authenticator is wrong"),
        Detector("recipients", 50, "two loops refused frames of one sender that Primary let through"),
        Detector("recipient", 0, "a loop refused a frame that Primary let through", mode=Mode.OBSERVE),
        Detector("replay", 30, "a frame that was sent before"),
        Detector("revoked", 30, "a revoked token was used on", is_distinct=True, has_grace=True),
        Detector("control_protocol", 25, "a loop broke the protocol of its control channel"),
        Detector("shape", 10, "something that is no frame, or none that may come from there"),
        Detector("oversize", 10, "a frame above the cap"),
        Detector("token_grinding", 10, "too many unknown tokens"),
        Detector("unlock", 10, "an answer to the lock's challenge that is wrong"),
        Detector("enrolment", 5, "a join code that is wrong"),
        Detector("policy", 5, "a call that no policy line allows", is_distinct=True),
        Detector("guessing", 20, "calls of ever other things that no policy line allows", is_distinct=True),
        Detector("expired", 5, "a token that has ended", is_distinct=True, has_grace=True),
        Detector("old_epoch", 5, "keys of an epoch that has ended", is_distinct=True, has_grace=True),
        Detector("flood", 10, "too many frames that break rules, on one connection"),
        Detector("sessions_revoked", 30, "one of its sessions was ended for what came over it"),
        Detector("limit", 15, "a process has used up a limit of its profile", is_distinct=True),
        Detector("alert_warning", 25, "a component reports an anomaly of the host", mode=Mode.OBSERVE),
        Detector("alert_critical", 100, "a component reports a grave anomaly of the host", mode=Mode.OBSERVE),
        Detector("health", 5, "a component says that it is not well", mode=Mode.OBSERVE),
        Detector("seccomp_refused", 2, "a system call that the profile does not allow"),
        Detector("tls_garbage", 2, "a handshake that failed: no TLS 1.3, no protocol of ours, or no TLS at all"),
        Detector("bad_certificate", 2, "a client certificate that is not accepted"),
        Detector("half_open", 2, "a connection that proved nothing in time"),
        Detector("door_flood", 2, "more connections than one address may have"),
        Detector("over_budget", 0, "more than the share of one subject: it is made to wait", mode=Mode.OBSERVE),
        Detector("door_protocol", 10, "what was said at the door is not the protocol"),
        Detector(LEARNED, 0, "unlike what this session usually does", is_advisory=True),
    )
}
# A local address is that of all users of this host, and of a proxy in front.
ALLOWED = ("127.0.0.0/8", "::1")


@dataclass(frozen=True, slots=True)
class DetectorConfig:
    """Settings of one detector."""

    mode: Mode = field(
        metadata=choice("act: it counts; observe: it is reported and counts nothing; ignore: it is not reported.", Mode)
    )


@dataclass(frozen=True, slots=True)
class DetectionConfig:
    """What follows from attacks: points for their source, which fade, and measures, which end.

    Points fade by half in a minute.
    """

    mode: Mode = field(  # of all together
        default=Mode.ACT,
        metadata=choice("act: measures are taken; observe: they are only reported; ignore: nothing is counted.", Mode),
    )
    detectors: Mapping[str, DetectorConfig] = field(
        default_factory=dict[str, DetectorConfig],
        metadata=mapping(
            "Detectors that get another mode, by name.",
            table(DetectorConfig),
            len(DETECTORS),
            example="{replay: {mode: observe}}",
        ),
    )
    allow: tuple[str, ...] = field(
        default=ALLOWED,
        metadata=listing(
            "Sources without consequences: addresses and networks, loops, loop/component or client/name. A proxy in "
            "front of the door belongs here, and what checks whether the host is alive.",
            text("An address, a network, or a name.", least=1, most=100),
            256,
        ),
    )

    def mode_of(self, detector: Detector) -> Mode:
        """Return what follows from the findings of a detector."""
        config = self.detectors.get(detector.name)
        return detector.mode if config is None else config.mode


def detector_of(name: str) -> Detector:
    """Return a detector; one that is not in the table has no points of its own."""
    return DETECTORS.get(name) or Detector(name, 0, name)


def check_detection(tree: Mapping[str, Any], known: Iterable[str], checker: Checker) -> None:
    """Add a problem for every detector and every allowed source that does not exist.

    `known` are the loops, components and clients.
    """
    names = list(known)
    detectors, allowed = tree.get("detectors"), tree.get("allow")
    for name in detectors if isinstance(detectors, dict) else ():
        if name not in DETECTORS:
            sentence = f"detection: there is no detector {name}{did_you_mean(name, DETECTORS)}"
            checker.refuse(("detection", "detectors", name), sentence)
    for index, entry in enumerate(allowed if isinstance(allowed, list) else ()):
        if not isinstance(entry, str) or entry in names or _is_network(entry):
            continue
        sentence = f"detection: {entry} is no address, network, loop, component or client{did_you_mean(entry, names)}"
        checker.refuse(("detection", "allow", str(index)), sentence)


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True
