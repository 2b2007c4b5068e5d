"""What components ask of the runtime itself: pauses, lists, the end of the host, its logs, status, and an archive.

A process says numbers: which of its rights, one of its own, and a value; and the SHA-256 of a subject, and of the
caller for whom it asks, which the authority finds among those that there are. What is meant stands in the
configuration, which the operator has approved. The audit log has an act before its effect. What people have done
through components is in host_acts.py. A pause is the operator's `stop LOOP`, with these bounds: the operator's own stop
stays what it is, and what depends on the target must be granted as well, as it ends too. What two components have
paused runs again when both have resumed it. Who reads logs is in the audit log once in the life of its process, before
it gets the first descriptor.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from tlsrt.channels.control.life import (
    ARCHIVES_AT_ONCE,
    ARCHIVES_PER_S,
    DIGEST_BYTES,
    FILES_AT_ONCE,
    FILES_OF_ANSWER,
    FILES_PER_S,
    PERSONS_AT_ONCE,
    PERSONS_PER_S,
    RUNTIME_AT_ONCE,
    RUNTIME_PER_S,
    RUNTIME_STATES,
    RUNTIME_WAITING,
    AskRuntimeMessage,
    RuntimeOutcome,
)
from tlsrt.config.components import ComponentConfig
from tlsrt.config.runtime_rights import Act, Right, rights_to_runtime
from tlsrt.config.supervision import PRIMARY
from tlsrt.errors import PeerError
from tlsrt.rate_limit import Buckets
from tlsrt.supervisor.control.host_acts import HOST_ACTS, HostActs
from tlsrt.supervisor.control.host_archives import HostArchives
from tlsrt.supervisor.control.policy_document import policy_document
from tlsrt.supervisor.control.record_files import RecordFile, RecordFolder
from tlsrt.supervisor.control.stop import StopRequest
from tlsrt.supervisor.process.memfd import sealed_memory
from tlsrt.supervisor.process.uids import AUTHORITY
from tlsrt.supervisor.supervision.asks import Asks, AuditRequests
from tlsrt.supervisor.supervision.boot_files import BootFiles
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.feature import Answer, Feature, LoopHandler
from tlsrt.supervisor.supervision.loop import Loop
from tlsrt.supervisor.supervision.loops import Loops
from tlsrt.supervisor.supervision.shutdown import Shutdown

WITHIN_MOST_MS = 600_000
_WORDS: Mapping[RuntimeOutcome, str] = {
    RuntimeOutcome.BUSY: "a reload is carried out, or too much is asked at once",
    RuntimeOutcome.UNRECORDED: "the audit log did not take it",
    RuntimeOutcome.MISSING: "there is no such component with a process of its own",
    RuntimeOutcome.HELD: "the operator or another component keeps it down",
    RuntimeOutcome.NEEDED: "others depend on it that are not granted",
    RuntimeOutcome.FAILED: "it did not get there",
    RuntimeOutcome.UNNAMED: "there is no such subject, or nothing is done about it",
    RuntimeOutcome.UNASKED: "who is said to ask has no session, or may not call the component",
    RuntimeOutcome.KEPT: "only the operator may do that to this one",
}


@dataclass(frozen=True, slots=True)
class _Asked:
    """One act on its way."""

    loop: Loop
    incarnation: int
    number: int
    right: Right
    value: int  # of a shutdown: within how many ms, 0: as the configuration says; of a right to read: the first file
    subject: str = ""  # whom it is done to; known when the log has it
    asker: str = ""  # likewise, for whom

    @property
    def words(self) -> str:
        words = f"{self.right.component}: {self.right.act} {self.target or self.subject}".rstrip()
        return f"{words}, for {self.asker}" if self.asker else words

    @property
    def target(self) -> str:
        return self.right.targets[0] if self.right.targets else ""


class RuntimeActs(Feature):
    """Takes `ask_runtime` of all processes."""

    def __init__(
        self, context: Context, loops: Loops, stop: StopRequest, audit: AuditRequests, shutdown: Shutdown,
        files: BootFiles, status: Callable[[], dict[str, Any]], acts: HostActs,
    ) -> None:  # fmt: skip
        self._context = context
        self._loops = loops
        self._stop = stop
        self._shutdown = shutdown
        self._status = status
        self._asks = Asks(
            context, audit, "runtime_act", waiting=RUNTIME_WAITING, at_once=RUNTIME_AT_ONCE, per_s=RUNTIME_PER_S
        )
        self._acts = acts
        self._persons = Asks(
            context, audit, "runtime_act", waiting=RUNTIME_WAITING, at_once=PERSONS_AT_ONCE, per_s=PERSONS_PER_S
        )
        self._reads = {
            act: Asks(context, audit, "runtime_act", waiting=RUNTIME_WAITING, at_once=FILES_AT_ONCE, per_s=FILES_PER_S)
            for act in Act
            if act.reads
        }
        self._readers: dict[tuple[str, Right], int] = {}  # the incarnation whose reading the audit log has
        self._paused: dict[str, set[str]] = {}  # process -> the components that have paused it
        self._files = files
        self._is_archiving = False  # from when one was asked for until the log has it
        self._archives = HostArchives(context.event_loop)
        self._archive_rates = Buckets(ARCHIVES_AT_ONCE, ARCHIVES_PER_S)

    def loop_messages(self) -> Mapping[str, LoopHandler]:
        return {"ask_runtime": self._asked_untrusted}

    def stopping(self) -> None:
        self._archives.cancel()

    def loop_changed(self, loop: Loop) -> None:
        """Note that the operator has started what was paused."""
        if loop.name in self._paused and not self._loops.restart_policy.is_stopped(loop.name):
            del self._paused[loop.name]

    def _asked_untrusted(self, loop: Loop, message: AskRuntimeMessage) -> None:
        """Begin to carry out an act; raises PeerError for one that this process has no right to."""
        if loop.managed_by is not self._context.current.children:
            self._say(loop, message.number, RuntimeOutcome.BUSY)  # it counts the rights of the configuration before
            return
        rights = rights_to_runtime(self._context.current.config.components_of(loop.name))
        if message.right >= len(rights):
            raise PeerError("no_such_right")
        asked = _Asked(loop, loop.incarnation, message.number, rights[message.right], message.value)
        if asked.right.act is Act.SHUTDOWN and message.value > WITHIN_MOST_MS:
            raise PeerError("time_out_of_range")
        for digest in (message.subject, message.asker):
            if len(digest) not in (0, DIGEST_BYTES):
                raise PeerError("no_such_subject")
        if asked.right.act.names_subject != bool(message.subject):
            raise PeerError("no_such_subject")
        if not self._asks_of(asked).admits(loop):
            self._say(loop, message.number, RuntimeOutcome.BUSY)
            return
        if asked.right.act is Act.LIST:
            states = bytes(RUNTIME_STATES.index(self._state(target)) for target in asked.right.targets)
            self._say(loop, message.number, RuntimeOutcome.DONE, states)
            return
        if asked.right.act is Act.BACKUP and not self._may_archive(loop):
            self._say(loop, message.number, RuntimeOutcome.BUSY)
            return
        if self._readers.get((loop.name, asked.right)) == loop.incarnation:
            self._hand_over(asked)
            return
        fields = asked.right.component, str(asked.right.act), asked.target, message.subject, message.asker
        self._asks_of(asked).record_named(loop, partial(self._recorded, asked), *fields)

    def _may_archive(self, loop: Loop) -> bool:
        """Tell whether an archive may begin: one at a time, also while that is recorded, and few of one process."""
        if self._archives.is_busy or self._is_archiving:
            return False
        self._is_archiving = self._archive_rates.take(loop.name, self._context.event_loop.now)
        return self._is_archiving

    def _asks_of(self, asked: _Asked) -> Asks:
        return self._persons if asked.right.act in HOST_ACTS else self._reads.get(asked.right.act, self._asks)

    def _recorded(self, asked: _Asked, is_recorded: bool, rows: list[Any]) -> None:
        """Do it, now that the log has it; or not, if it has not, or who asked has ended or lost the right."""
        if is_recorded and rows:
            asked = replace(asked, subject=rows[0][0], asker=rows[0][1])
        elif rows and isinstance(rows[0], int):
            self._end(asked, RuntimeOutcome(rows[0]))
            return
        key = -1
        if asked.right.act is Act.BACKUP:
            self._is_archiving, key = False, self._files.take_archive_key()
        try:
            self._do(asked, is_recorded, key)
        finally:
            if key >= 0:
                os.close(key)

    def _do(self, asked: _Asked, is_recorded: bool, key: int) -> None:
        loop = asked.loop
        if not is_recorded:
            self._end(asked, RuntimeOutcome.UNRECORDED)
        elif loop.managed_by is not self._context.current.children or self._loops.is_stopping:
            self._end(asked, RuntimeOutcome.BUSY)
        elif asked.right.act.reads:
            self._readers[loop.name, asked.right] = asked.incarnation
            self._asks_of(asked).ended(loop)
            self._context.events.emit("runtime_act", loop.name, asked.words)
            self._hand_over(asked)
        elif asked.right.act is Act.SHUTDOWN:
            self._end(asked, RuntimeOutcome.DONE)
            self._context.console.plain("supervisor", "stop", f"asked for by {asked.right.component}")
            begin = partial(self._shutdown.begin, asked.value / 1000)
            self._context.event_loop.call_later(0, begin)  # the answer leaves first
        elif asked.right.act is Act.BACKUP:
            self._archive(asked, key)
        elif asked.right.act in HOST_ACTS:
            ended = partial(self._end, asked)
            self._acts.do(asked.right, asked.loop.name, asked.subject, asked.asker, ended)
        else:
            self._change(asked)

    def _hand_over(self, asked: _Asked) -> None:
        """Give a process descriptors of files, which it reads by itself; never waits for it."""
        try:
            files, is_more = self._opened(asked)
        except OSError:
            self._say(asked.loop, asked.number, RuntimeOutcome.FAILED)
            return
        for file in files:
            fields = (asked.number, file.name, int(file.is_earlier))
            self._loops.tell(asked.loop, "runtime_file", *fields, descriptors=(file.descriptor,))
            os.close(file.descriptor)
        self._say(asked.loop, asked.number, RuntimeOutcome.DONE, bytes([is_more]))

    def _opened(self, asked: _Asked) -> tuple[list[RecordFile], bool]:
        """Open what an answer hands over, and tell whether there is more; raises OSError."""
        if asked.right.act is Act.STATUS:  # a copy in memory, of this moment
            document = {**self._status(), "policy": policy_document(self._context.current.config.policy)}
            status = json.dumps(document, separators=(",", ":")).encode()
            return [RecordFile(str(Act.STATUS), is_earlier=False, descriptor=sealed_memory(status, "status"))], False
        config, is_audit = self._context.current.config, asked.right.act is Act.AUDIT
        folder = RecordFolder(config.state_dir / AUTHORITY if is_audit else config.log_dir, is_audit=is_audit)
        return folder.open(asked.value, FILES_OF_ANSWER)

    def _archive(self, asked: _Asked, key: int) -> None:
        """Have an archive of the host written; the process gets a pipe when it has been tried."""
        if key < 0:
            self._end(asked, RuntimeOutcome.UNRECORDED)
            return

        def ready(pipe: int) -> None:
            if asked.loop.incarnation == asked.incarnation and asked.loop.is_living:
                self._loops.tell(asked.loop, "runtime_archive", asked.number, descriptors=(pipe,))
            self._end(asked, RuntimeOutcome.DONE)

        def failed(why: str) -> None:
            self._end(asked, RuntimeOutcome.FAILED, why)

        try:
            self._archives.begin(self._context.current.config, key, ready, failed)
        except OSError as error:
            failed(f"cannot begin: {error.strerror}")

    def _change(self, asked: _Asked) -> None:
        target = self._own_process(asked.target)
        if target is None or target.process in (PRIMARY, asked.loop.name):
            self._end(asked, RuntimeOutcome.MISSING)
            return
        name, holders = target.process, self._paused.get(target.process, set())
        is_down = self._loops.restart_policy.is_stopped(name)
        if is_down and not holders:
            self._end(asked, RuntimeOutcome.HELD)
        elif asked.right.act is Act.PAUSE:
            self._pause(asked, name)
        elif not is_down:
            self._end(asked, RuntimeOutcome.DONE)  # it runs already
        elif holders - {asked.right.component}:
            holders.discard(asked.right.component)
            self._end(asked, RuntimeOutcome.HELD)
        else:
            self._stop.start({"loop": name}, partial(self._resumed, asked, name))

    def _pause(self, asked: _Asked, name: str) -> None:
        granted = {
            right.targets[0].replace("/", ".")
            for right in rights_to_runtime(self._context.current.config.components_of(asked.loop.name))
            if right.component == asked.right.component and right.act is Act.PAUSE
        }
        if not {*self._loops.restart_policy.dependents(name)} <= granted:
            self._end(asked, RuntimeOutcome.NEEDED)
            return
        self._stop.stop({"loop": name}, partial(self._stopped, asked))
        if self._loops.restart_policy.is_stopped(name):
            self._paused.setdefault(name, set()).add(asked.right.component)

    def _stopped(self, asked: _Asked, answer: Answer) -> None:
        if "unavailable" in answer:
            self._end(asked, RuntimeOutcome.BUSY)
        else:
            self._end(asked, RuntimeOutcome.DONE if answer.get("stopped") else RuntimeOutcome.FAILED)

    def _resumed(self, asked: _Asked, name: str, answer: Answer) -> None:
        if "unavailable" in answer:
            self._end(asked, RuntimeOutcome.BUSY)
            return
        self._paused.pop(name, None)
        self._end(asked, RuntimeOutcome.FAILED if answer.get("failed", True) else RuntimeOutcome.DONE)

    def _own_process(self, address: str) -> ComponentConfig | None:
        """Return a component that runs alone in its process; None if there is none of this address."""
        for one in self._context.current.config.components:
            if one.address == address:
                return one if one.process == address.replace("/", ".") else None
        return None

    def _state(self, address: str) -> str:
        component = next((one for one in self._context.current.config.components if one.address == address), None)
        loop = next((one for one in self._loops.all if component is not None and one.name == component.process), None)
        if loop is None:
            return "absent"
        return "paused" if self._loops.restart_policy.is_stopped(loop.name) and not loop.is_living else str(loop.state)

    def _end(self, asked: _Asked, outcome: RuntimeOutcome, why: str = "") -> None:
        self._asks_of(asked).ended(asked.loop)
        if outcome is RuntimeOutcome.DONE:
            self._context.events.emit("runtime_act", asked.loop.name, asked.words)
        else:
            self._context.events.emit("runtime_act_failed", asked.loop.name, f"{asked.words}: {why or _WORDS[outcome]}")
        if asked.loop.incarnation == asked.incarnation:
            self._say(asked.loop, asked.number, outcome)

    def _say(self, loop: Loop, number: int, outcome: RuntimeOutcome, states: bytes = b"") -> None:
        self._loops.tell(loop, "runtime_said", number, int(outcome), states)
