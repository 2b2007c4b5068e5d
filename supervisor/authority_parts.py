"""Puts the authority's parts together after a boot, and proves that every subject's token and grant will fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tlsrt.channels.grant import encode_grant, parse_grant_untrusted
from tlsrt.config.schema import Config, PolicyRule
from tlsrt.errors import ConfigError, MisuseError, PeerError
from tlsrt.supervisor.authority_state import StateFile
from tlsrt.supervisor.boot_check import Booted
from tlsrt.supervisor.briefing import Briefing, RightsTable
from tlsrt.supervisor.challenges import Challenges
from tlsrt.supervisor.client_certificates import ClientCertificates
from tlsrt.supervisor.client_service import ClientService
from tlsrt.supervisor.door_change import DoorChange
from tlsrt.supervisor.epochs import Epochs
from tlsrt.supervisor.issuer import Issuer
from tlsrt.supervisor.keeper import Keeper
from tlsrt.supervisor.key_ring import EpochKeys, KeyRing
from tlsrt.supervisor.outlet import Outlet
from tlsrt.supervisor.roster import Roster
from tlsrt.supervisor.session_manager import SessionManager
from tlsrt.supervisor.trust_service import TrustService

Service = TrustService
Randomness = Callable[[int], bytes]


def make_service(
    config: Config,
    booted: Booted,
    roster: Roster,
    store: StateFile,
    outlet: Outlet,
    randomness: Randomness,
    now: int,
) -> TrustService:
    """Return the service of one authority's life; raise ConfigError when the policy does not fit its tokens."""
    issuer = Issuer(booted.issuer_seed, booted.key_version, config.install_id, booted.boot, randomness)
    ring = KeyRing(EpochKeys(booted.run, issuer))
    briefing = Briefing(config, ring, roster)
    _prove_sizes(config, briefing, SessionManager(randomness), now)
    state = booted.state
    epochs = Epochs(state.epoch - 1, has_issued=False) if booted.is_resumed else Epochs(state.epoch, has_issued=True)
    manager = SessionManager(randomness)
    certificates = ClientCertificates(
        booted.door.authorities, config.clients, config.install_id, booted.door.revoked
    )  # fmt: skip
    door = DoorChange(booted.door, state.boots, roster, outlet)
    door.on_taken = lambda: certificates.trust(door.files.authorities, door.files.revoked)
    challenges = Challenges(randomness)
    clients = ClientService(
        ring, briefing, certificates, challenges, manager, epochs, state, outlet, config.door.max_connections
    )

    persist = Keeper(store, state, outlet).write

    def rights_of_policy(policy: tuple[PolicyRule, ...]) -> RightsTable:
        changed = replace(config, policy=policy)
        trial = Briefing(changed, ring, roster)
        _prove_sizes(changed, trial, SessionManager(randomness), now)
        return trial.table

    service = TrustService(config, roster, ring, briefing, manager, epochs, clients, door, state, persist, outlet)
    service.rights_of_policy = rights_of_policy
    return service


def _prove_sizes(config: Config, briefing: Briefing, manager: SessionManager, now: int) -> None:
    problems: list[str] = []
    sessions = [manager.open_component(component.address, component.loop, now) for component in config.components]
    sessions += [manager.open_client(f"client/{client.name}", client.fingerprint, now) for client in config.clients]
    for session in sessions:
        try:
            parse_grant_untrusted(encode_grant(briefing.grant(session, 0, now, is_trial=True)))
        except (MisuseError, PeerError) as error:
            problems.append(f"the policy gives {session.subject} too much for one token: {error}")
    if problems:
        raise ConfigError(problems)
