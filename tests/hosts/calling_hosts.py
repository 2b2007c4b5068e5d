"""Two hosts that call each other: `kettle` rings `attic`, of which it is a client. A browser is in another network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from hosts.calling_host import CALLS, OTHER, PACKAGE, TELEPHONE, until
from hosts.joined_messages import set_secret
from hosts.joined_networks import HOST, JoinedNetworks, inside
from hosts.running_host import RunningHost
from tlsrt import TlsrtError

LIAR = "telephones:LyingCalls"
_RESTART = {"restart": {"deaths": 1000, "cap_s": 0.05}}


def _calls(options: dict[str, Any], port: int, egress: list[dict[str, Any]]) -> dict[str, Any]:
    listen = {"name": "media", "host": HOST, "port": port, "protocol": "udp", "replies": True, "why": "sound"}
    secrets = [{"name": name, "optional": True, "why": "another host"} for name in ("host", "liar")]
    needs = {"listen": [listen], "threads": 16, "state_mb": 16, "memory_mb": 384, "secrets": secrets, "egress": egress}
    return {
        "class": "tlsrt.loops.external.calls:Calls",
        "health": {"then": "none"},
        "needs": needs,
        "options": {"calls": 4, **options},
    }


def _host(calls: dict[str, Any], clients: list[str], policy: dict[str, Any]) -> RunningHost:
    return RunningHost(
        components={
            CALLS: calls, TELEPHONE: {"class": "telephones:Telephone"}, OTHER: {"class": "telephones:Telephone"},
        },
        packages=[PACKAGE], execute=True, clients=clients, extra={"supervision": _RESTART},
        detection={"mode": "act", "allow": ["127.0.0.1"]},
        policy={
            f"client/admin -> {TELEPHONE}": "*", f"client/admin -> {OTHER}": "*",
            f"{CALLS} -> {TELEPHONE}": ["take_call"], f"{OTHER} -> {CALLS}": ["dial"], **policy,
        },
    )  # fmt: skip


def attic_host() -> RunningHost:
    """Return the host that is rung: a component, and a person."""
    numbers = {
        "door": {"rings": [TELEPHONE], "by": ["*@kettle"]},
        "ben": {"rings": ["client/ben"], "by": ["client/anna@kettle", "client/bob"], "for_s": 20},
        "engaged": {"rings": [TELEPHONE], "by": ["*@kettle"]},
        "declining": {"rings": [TELEPHONE], "by": ["*@kettle"]},
        "patient": {"rings": [TELEPHONE], "by": ["*@kettle"]},
        "back": {"rings": ["attic@kettle"], "by": ["*@kettle"]},
        "own": {"rings": [TELEPHONE]},
    }
    options = {"numbers": numbers, "hosts": {"kettle": {"client": "client/kettle"}}}
    policy = {
        f"client/kettle -> {CALLS}": ["dial_from"],
        f"client/eve -> {CALLS}": ["dial_from", "dial"],
        f"client/ben -> {CALLS}": "*",
    }
    return _host(_calls(options, 7445, []), ["kettle", "eve", "ben"], policy)


def kettle_host(attic: RunningHost, liar: RunningHost) -> RunningHost:
    """Return the host that rings numbers of attic, and of one that lies."""
    numbers = {
        **{name: {"rings": [f"{name}@attic"]} for name in ("ben", "engaged", "declining", "patient", "back", "own")},
        "attic": {"rings": ["door@attic"]},
        "both": {"rings": ["door@attic", TELEPHONE]},
        **{name: {"rings": [f"{name}@liar"]} for name in ("garbage", "flood", "words", "deaf")},
    }
    hosts = {"attic": {"secret": "host"}, "liar": {"secret": "liar"}}
    egress = [{"to": [f"127.0.0.1:{one.port}"], "why": "another host"} for one in (attic, liar)]
    policy = {f"client/anna -> {CALLS}": "*", f"client/carl -> {CALLS}": "*"}
    return _host(_calls({"numbers": numbers, "hosts": hosts}, 7444, egress), ["anna", "carl"], policy)


def liar_host() -> RunningHost:
    """Return a host whose answers are lies."""
    return RunningHost(
        components={CALLS: {"class": LIAR}}, packages=[PACKAGE], execute=True, clients=["kettle"],
        policy={f"client/kettle -> {CALLS}": "*"},
    )  # fmt: skip


@contextmanager
def calling_hosts(
    request: pytest.FixtureRequest, name: str
) -> Iterator[tuple[RunningHost, RunningHost, JoinedNetworks]]:
    """Start kettle, attic and the one that lies, in one namespace; return the first two."""
    networks = JoinedNetworks(name)
    failed = request.session.testsfailed
    try:
        with ExitStack() as stack:
            stack.enter_context(inside(networks.host))
            attic, liar = stack.enter_context(attic_host()), stack.enter_context(liar_host())
            kettle = stack.enter_context(kettle_host(attic, liar))
            for secret, there in (("host", attic), ("liar", liar)):
                set_secret(kettle, secret, (there.folder / "kettle.tlsrt").read_bytes(), CALLS)
            until(lambda: _is_well(kettle))
            yield kettle, attic, networks
            if request.session.testsfailed > failed:
                kettle.print_logs()
                attic.print_logs()
    finally:
        networks.close()


def _is_well(host: RunningHost) -> bool:
    try:
        with host.client("anna") as anna:
            return bool(anna.call(CALLS, "numbers")) and "no way" not in str(host.loop("external.calls")["health"])
    except TlsrtError:
        return False
