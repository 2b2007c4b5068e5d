"""Token sizes: proves that token and grant of every subject fit, before its rights count."""

from __future__ import annotations

from collections.abc import Callable

from tlsrt.channels.session.grant import encode_grant, parse_grant_untrusted
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError, MisuseError, NotFound, PeerError
from tlsrt.supervisor.authority.keys.epochs import Epochs
from tlsrt.supervisor.authority.keys.key_ring import KeyRing
from tlsrt.supervisor.authority.model.client_registry import Enrolled, Registry
from tlsrt.supervisor.authority.model.loop_table import LoopTable
from tlsrt.supervisor.authority.sessions.key_messages import KeyMessages
from tlsrt.supervisor.authority.sessions.manager import Session, SessionManager
from tlsrt.supervisor.authority.sessions.policy import RightsTable
from tlsrt.supervisor.messages.changed_rules import ChangedRules, changed_by


class TokenSizes:
    """Tries tokens and grants on sessions that do not exist. `messages` are those of the policy in force."""

    def __init__(
        self, config: Config, keys: KeyRing, loops: LoopTable, epochs: Epochs, registry: Registry,
        messages: KeyMessages, randomness: Callable[[int], bytes], now: int,
    ) -> None:  # fmt: skip
        self._config = config
        self._keys = keys
        self._loops = loops
        self._epochs = epochs
        self._registry = registry
        self._messages = messages
        self._randomness = randomness
        self._now = now  # a time of this host, which has the size of all that come

    def check_all(self) -> None:
        """Raise ConfigError if the policy in force gives a subject too much."""
        self._check(self._config, self._messages)

    def rights_of(self, rules: ChangedRules) -> RightsTable:
        """Return the rights by other rules; raise ConfigError if they give a subject too much."""
        changed = changed_by(self._config, rules)
        trial = KeyMessages(changed, self._keys, self._loops, self._registry.policy_of)
        self._check(changed, trial)
        return trial.table

    def take(self, rules: ChangedRules) -> None:
        """Go by other rules from now on: those of a reload, which were tried."""
        self._config = changed_by(self._config, rules)

    def check_client(self, client: Enrolled) -> None:
        """Raise NotFound with a sentence if a client's rights do not fit into a token."""
        before = self._registry.get(client.name)
        self._registry.put(client)
        try:
            session = SessionManager(self._randomness).open_client(client.subject, bytes(32), self._now)
            problem = _problem_of(self._messages, session, self._epochs.serving)
        finally:
            self._registry.remove(client.name)
            if before is not None:
                self._registry.put(before)
        if problem:
            raise NotFound(problem)

    def _check(self, config: Config, messages: KeyMessages) -> None:
        manager = SessionManager(self._randomness)
        sessions = [
            manager.open_component(component.address, component.loop, self._now) for component in config.components
        ]
        sessions += [
            manager.open_client(f"client/{client.name}", client.fingerprint, self._now) for client in config.clients
        ]
        living = [client.subject for client in self._registry if self._registry.living(client.subject)]
        sessions += [manager.open_client(subject, bytes(32), self._now) for subject in living]
        problems = [problem for session in sessions if (problem := _problem_of(messages, session, 0))]
        if problems:
            raise ConfigError(problems)


def _problem_of(messages: KeyMessages, session: Session, epoch: int) -> str:
    try:
        parse_grant_untrusted(encode_grant(messages.grant(session, epoch, session.opened, is_trial=True)))
    except (MisuseError, PeerError) as error:
        return f"the policy gives {session.subject} too much for one token: {error}"
    return ""
