"""Puts the authority's parts together after a boot, and proves that every subject's token and grant will fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tlsrt.channels.session.grant import encode_grant, parse_grant_untrusted
from tlsrt.config.schema import Config, PolicyRule
from tlsrt.errors import ConfigError, MisuseError, PeerError
from tlsrt.supervisor.authority.boot import Booted
from tlsrt.supervisor.authority.clients.admin import ClientAdmin
from tlsrt.supervisor.authority.clients.ca import ClientCA
from tlsrt.supervisor.authority.clients.certificates import ClientCertificates
from tlsrt.supervisor.authority.clients.challenges import Challenges
from tlsrt.supervisor.authority.clients.enrolment import Enrolment
from tlsrt.supervisor.authority.clients.issuing import CertificateIssuer
from tlsrt.supervisor.authority.clients.renewal import CertificateRenewals
from tlsrt.supervisor.authority.clients.rights import ClientRights
from tlsrt.supervisor.authority.clients.sessions import ClientSessions
from tlsrt.supervisor.authority.detection.decoys import DecoyService
from tlsrt.supervisor.authority.detection.service import DetectionService
from tlsrt.supervisor.authority.door.rollout import DoorChange
from tlsrt.supervisor.authority.keys.epochs import Epochs
from tlsrt.supervisor.authority.keys.issuer import Issuer
from tlsrt.supervisor.authority.keys.key_ring import EpochKeySet, KeyRing
from tlsrt.supervisor.authority.lock.client_requests import ClientLockRequests
from tlsrt.supervisor.authority.lock.host_lock import HostLock
from tlsrt.supervisor.authority.model.client_registry import Enrolled, Registry
from tlsrt.supervisor.authority.model.join_codes import JoinCodes
from tlsrt.supervisor.authority.model.loop_table import LoopTable
from tlsrt.supervisor.authority.model.ports import Outgoing
from tlsrt.supervisor.authority.model.state import StateStore
from tlsrt.supervisor.authority.model.state_writer import StateWriter
from tlsrt.supervisor.authority.service import AuthorityService
from tlsrt.supervisor.authority.sessions.key_messages import KeyMessages
from tlsrt.supervisor.authority.sessions.manager import Session, SessionManager
from tlsrt.supervisor.authority.sessions.policy import RightsTable

Service = AuthorityService
Randomness = Callable[[int], bytes]


def make_service(
    config: Config,
    booted: Booted,
    roster: LoopTable,
    store: StateStore,
    outlet: Outgoing,
    randomness: Randomness,
    now: int,
) -> AuthorityService:
    """Return the service of one authority's life; raise ConfigError when the policy does not fit its tokens."""
    registry = Registry(booted.state.enrolled, [client.name for client in config.clients])
    issuer = Issuer(booted.issuer_seed, booted.key_version, config.install_id, booted.boot, randomness)
    ring = KeyRing(EpochKeySet(booted.run, issuer))
    briefing = KeyMessages(config, ring, roster, registry.policy_of)
    _prove_sizes(config, registry, briefing, SessionManager(randomness), now)
    state = booted.state
    epochs = Epochs(state.epoch - 1, has_issued=False) if booted.is_resumed else Epochs(state.epoch, has_issued=True)
    manager = SessionManager(randomness)
    certificates = ClientCertificates(
        booted.door.authorities, config.clients, config.install_id, booted.door.revoked, registry
    )
    door = DoorChange(booted.door, state.boots, roster, outlet)
    door.on_taken = lambda: certificates.trust(door.files.authorities, door.files.revoked)
    challenges = Challenges(randomness)
    clients = ClientSessions(
        ring, briefing, certificates, challenges, manager, epochs, state, outlet, config.door.max_connections
    )

    persist = StateWriter(store, state, outlet).write

    def rights_of_policy(policy: tuple[PolicyRule, ...]) -> RightsTable:
        changed = replace(config, policy=policy)
        trial = KeyMessages(changed, ring, roster, registry.policy_of)
        _prove_sizes(changed, registry, trial, SessionManager(randomness), now)
        return trial.table

    lock = HostLock(roster, ring, epochs, door, state, persist, outlet, randomness)
    client_locks = ClientLockRequests(lock, ring, certificates, challenges, state, outlet)
    service = AuthorityService(
        config, roster, ring, briefing, manager, epochs, clients, door, state, persist, outlet, lock, client_locks
    )  # fmt: skip
    service.rights_of_policy = rights_of_policy

    def prove(client: Enrolled) -> str:
        before = registry.get(client.name)
        registry.put(client)
        try:
            session = SessionManager(randomness).open_client(client.subject, bytes(32), now)
            return _problem_of(briefing, session, epochs.serving, now)
        finally:
            registry.remove(client.name)
            if before is not None:
                registry.put(before)

    certifier = CertificateIssuer(ClientCA(booted.ca_key, config.install_id), service)
    codes = JoinCodes(state.join_codes, randomness)
    desk = ClientAdmin(config, registry, codes, certifier, service, manager, state, persist, prove, outlet)
    targets = [component.address for component in config.components]
    changes = ClientRights(registry, desk.living, targets, prove, persist, service)
    service.office_handlers["client_set"] = changes.set
    joining = Enrolment(registry, codes, certifier, service, persist, outlet)
    service.handlers["enrol"] = joining.enrol
    renewals = CertificateRenewals(
        registry, certifier, clients, manager, service, lambda: ring.of(epochs.serving).issuer, persist, outlet
    )
    service.handlers["renew"] = renewals.renew
    service.office_handlers.update(desk.handlers)
    service.desk.enrolled = lambda: [client.subject for client in registry if registry.living(client.subject)]
    clients.on_opened = desk.opened
    loops = [loop.name for loop in config.loops]
    response = DetectionService(
        service, config.detection, loops, lambda: randomness(1)[0] / 255, state, persist
    )  # fmt: skip
    response.recall(state.response, now, is_resumed=booted.is_resumed)
    DecoyService(service, randomness, booted.canaries, config.deception)
    return service


def _prove_sizes(config: Config, registry: Registry, briefing: KeyMessages, manager: SessionManager, now: int) -> None:
    sessions = [manager.open_component(component.address, component.loop, now) for component in config.components]
    sessions += [manager.open_client(f"client/{client.name}", client.fingerprint, now) for client in config.clients]
    living = [client.subject for client in registry if registry.living(client.subject)]
    sessions += [manager.open_client(subject, bytes(32), now) for subject in living]
    problems = [problem for session in sessions if (problem := _problem_of(briefing, session, 0, now))]
    if problems:
        raise ConfigError(problems)


def _problem_of(briefing: KeyMessages, session: Session, epoch: int, now: int) -> str:
    try:
        parse_grant_untrusted(encode_grant(briefing.grant(session, epoch, now, is_trial=True)))
    except (MisuseError, PeerError) as error:
        return f"the policy gives {session.subject} too much for one token: {error}"
    return ""
