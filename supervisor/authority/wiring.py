"""Wiring of the authority: makes all services after a boot, in one visible tuple."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tlsrt.channels.clock import Moment
from tlsrt.config.schema import Config
from tlsrt.cron import Offset
from tlsrt.supervisor.audit.vouch import KEPT, SUBJECT, StateSummary
from tlsrt.supervisor.authority.boot import Booted
from tlsrt.supervisor.authority.clients.admin import ClientAdmin
from tlsrt.supervisor.authority.clients.ca import ClientCA
from tlsrt.supervisor.authority.clients.certificates import ClientCertificates
from tlsrt.supervisor.authority.clients.enrolment import Enrolment
from tlsrt.supervisor.authority.clients.issuing import CertificateIssuer
from tlsrt.supervisor.authority.clients.renewal import CertificateRenewals
from tlsrt.supervisor.authority.detection.admin import DetectionAdmin
from tlsrt.supervisor.authority.detection.anomaly_detector import AnomalyDetector
from tlsrt.supervisor.authority.detection.decoys import DecoyService
from tlsrt.supervisor.authority.detection.service import DetectionService
from tlsrt.supervisor.authority.dispatcher import Dispatcher
from tlsrt.supervisor.authority.door.certificate_clock import CertificateClock
from tlsrt.supervisor.authority.door.issued_pair import IssuedPair
from tlsrt.supervisor.authority.door.operators import DoorOperators
from tlsrt.supervisor.authority.door.orders import CertificateOrders
from tlsrt.supervisor.authority.door.rollout import DoorChange
from tlsrt.supervisor.authority.incoming_events import IncomingEvents
from tlsrt.supervisor.authority.jobs.admin import JobAdmin
from tlsrt.supervisor.authority.jobs.puts import JobPuts
from tlsrt.supervisor.authority.jobs.runs import JobRuns
from tlsrt.supervisor.authority.jobs.table import JobTable
from tlsrt.supervisor.authority.keys.epochs import Epochs
from tlsrt.supervisor.authority.keys.issuer import Issuer
from tlsrt.supervisor.authority.keys.key_ring import EpochKeySet, KeyRing
from tlsrt.supervisor.authority.lock.client_requests import ClientLockRequests
from tlsrt.supervisor.authority.master_key_rotation import MasterKeyRotation
from tlsrt.supervisor.authority.model.client_registry import Registry
from tlsrt.supervisor.authority.model.context import AuthorityContext, Randomness
from tlsrt.supervisor.authority.model.join_codes import JoinCodes
from tlsrt.supervisor.authority.model.loop_table import LoopTable
from tlsrt.supervisor.authority.model.ports import Outgoing, Recorder, Service
from tlsrt.supervisor.authority.model.state import AuthorityState
from tlsrt.supervisor.authority.model.state_writer import StateThread, StateWriter
from tlsrt.supervisor.authority.named_subjects import NamedSubjects
from tlsrt.supervisor.authority.primary_messages import PrimaryMessages
from tlsrt.supervisor.authority.provisioning import Provisioner
from tlsrt.supervisor.authority.reload import HostReload, record_grants
from tlsrt.supervisor.authority.sessions.admin import SessionAdmin
from tlsrt.supervisor.authority.sessions.event_notes import EventNotes, SessionLog
from tlsrt.supervisor.authority.sessions.key_messages import KeyMessages
from tlsrt.supervisor.authority.sessions.manager import SessionManager
from tlsrt.supervisor.authority.sessions.token_sizes import TokenSizes
from tlsrt.supervisor.authority.setting_records import SettingRecords
from tlsrt.supervisor.messages.changed_rules import rules_of


def offset_of_host(at: int) -> int:
    """Return the seconds east of UTC at a time. The zone is that of the C library, read when the supervisor started."""
    return time.localtime(at).tm_gmtoff


@dataclass(frozen=True, slots=True)
class Ports:
    """What the shell gives to the services."""

    store: StateThread
    outgoing: Outgoing
    recorder: Recorder
    notes: EventNotes
    randomness: Randomness
    moment: Callable[[], Moment]  # of this wake-up
    offset: Offset = offset_of_host


class StateNotes:
    """Has the audit log note what is on the disk of the state, after each change that matters."""

    def __init__(self, state: AuthorityState, ports: Ports) -> None:
        self._known = state.summary()  # the record of the boot says it
        self._ports = ports

    def persisted(self, summary: StateSummary) -> None:
        if summary.is_other_than(self._known):
            self._known = summary
            self._ports.recorder.note(KEPT, SUBJECT, summary.detail(), self._ports.moment())


@dataclass(frozen=True, slots=True)
class Wired:
    """What the shell needs of the services."""

    dispatcher: Dispatcher
    context: AuthorityContext
    provisioner: Provisioner
    detection: DetectionService
    reload: HostReload


def wire(config: Config, booted: Booted, nonce: bytes, ports: Ports, audit: Service | None = None) -> Wired:
    """Return the services of one authority's life. Raise ConfigError when the policy does not fit its tokens."""
    state, now = booted.state, ports.moment().now
    loops = LoopTable(rules_of(config).processes)
    keys = KeyRing(
        EpochKeySet(
            booted.run,
            Issuer(booted.issuer_seed, booted.key_version, config.install_id, booted.boot, ports.randomness),
            booted.secrets,
        )
    )
    epochs = Epochs(state.epoch - 1, has_issued=False) if booted.is_resumed else Epochs(state.epoch, has_issued=True)
    registry = Registry(state.enrolled, [client.name for client in config.clients])
    messages = KeyMessages(config, keys, loops, registry.policy_of)
    sizes = TokenSizes(config, keys, loops, epochs, registry, messages, ports.randomness, now)
    sizes.check_all()
    context = AuthorityContext(
        config, state, StateWriter(ports.store, state, ports.outgoing, StateNotes(state, ports).persisted),
        loops, keys, epochs,
        SessionManager(ports.randomness, SessionLog(ports.notes, ports.recorder, ports.moment)),
        ports.outgoing, ports.recorder, ports.notes, ports.randomness, ports.moment,
    )  # fmt: skip

    certificates = ClientCertificates(
        booted.door.authorities, config.clients, config.install_id, booted.door.revoked, registry
    )
    issued = IssuedPair(loops, ports.outgoing, state.boots)
    door = DoorChange(context, booted.door, certificates, issued)
    events = IncomingEvents(context)
    provisioner = Provisioner(context, messages, door, events, certificates, registry)
    clients, revocations, lock = provisioner.clients, provisioner.revocations, provisioner.lock
    detection = DetectionService(context, revocations, lock)
    detection.recall(state.response, now, is_resumed=booted.is_resumed)
    codes = JoinCodes(state.join_codes, ports.randomness)
    issuer = CertificateIssuer(ClientCA(booted.ca_key, config.install_id), context, door)
    rotation = MasterKeyRotation(config, nonce, keys, state, ports.randomness)
    reload = HostReload(context, booted.mac_key, rotation, provisioner, door, sizes)
    record_grants(ports.recorder, config.grants, ports.moment())
    jobs = JobTable(context, registry, messages)
    puts = JobPuts(context, jobs, messages, ports.offset)

    services: tuple[Service, ...] = (  # in the order in which they take their turn
        provisioner,
        revocations,
        door,
        CertificateClock(door, context.outgoing),
        CertificateOrders(context, issued),
        DoorOperators(context, certificates, registry),
        lock,
        detection,
        DecoyService(context, detection, booted.canaries, certificates),
        AnomalyDetector(context.sessions, context.notes, detection, context.outgoing, context.randomness),
        *((audit,) if audit is not None else ()),
        context.writer,
        clients,
        events,
        PrimaryMessages(context, clients, door, detection),
        ClientLockRequests(context, lock, certificates, clients.challenges),
        Enrolment(context, registry, codes, issuer, detection),
        CertificateRenewals(context, registry, issuer, clients),
        SessionAdmin(context, registry, revocations, provisioner.changes),
        ClientAdmin(context, registry, codes, issuer, revocations, sizes),
        DetectionAdmin(context, detection),
        SettingRecords(context, NamedSubjects(context, registry, messages, detection)),
        puts,
        JobRuns(context, jobs, registry, ports.offset, is_resumed=booted.is_resumed),
        JobAdmin(context, puts),
        reload,
    )
    return Wired(Dispatcher(services, provisioner, loops), context, provisioner, detection, reload)
