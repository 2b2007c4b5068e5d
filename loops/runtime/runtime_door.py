"""The door of a process to the runtime itself: it sends the number of a right, and waits for how that ended."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from tlsrt.channels.control.life import (
    FILES_MOST,
    FILES_OF_ANSWER,
    RUNTIME_STATES,
    RUNTIME_WAITING,
    RuntimeArchiveMessage,
    RuntimeFileMessage,
    RuntimeOutcome,
    RuntimeSaidMessage,
)
from tlsrt.config.runtime_rights import Act, Right, digest_of_subject, rights_to_runtime
from tlsrt.config.schema import Config
from tlsrt.errors import Busy, Denied, Failed, MisuseError, OutcomeUnknown, PeerError, Unavailable
from tlsrt.loops.component.host_archive import HostArchive
from tlsrt.loops.component.runtime_file import RuntimeFile
from tlsrt.loops.component.types import shown
from tlsrt.text import did_you_mean

ANSWER_S = 90.0  # a process may take as long as it does to stop or start
_ARCHIVE_S = 900.0  # all of the host is copied and read again, before the pipe comes

_REASONS = {
    RuntimeOutcome.MISSING: "there is no such component with a process of its own",
    RuntimeOutcome.HELD: "the operator, or another component, keeps it down",
    RuntimeOutcome.NEEDED: "others depend on it that are not granted: name them beside it",
    RuntimeOutcome.UNNAMED: "there is no such client, or nothing is done about it",
    RuntimeOutcome.UNASKED: "who asks for it has no session, or may not call this component",
    RuntimeOutcome.KEPT: "only the operator may, on the host: that is who asks, or who does it, or one of its keepers",
}


class RuntimeDoor:
    """All that the components of one process may ask of the runtime.

    `say` sends a number, which right, a value, and the digests of a subject and of who asks.
    """

    def __init__(self, config: Config, process: str, say: Callable[[int, int, int, bytes, bytes], None]) -> None:
        self._say = say
        self._rights = rights_to_runtime(config.components_of(process))
        self._number = 0
        self._waiting: dict[int, asyncio.Future[RuntimeSaidMessage]] = {}
        self._files: dict[int, list[RuntimeFile]] = {}  # that have come under a number
        self._pipes: dict[int, int] = {}  # of archives, until their answers

    def archive_came(self, message: RuntimeArchiveMessage, descriptor: int) -> None:
        """Take the pipe of an archive, which is said before its answer."""
        if message.number in self._waiting and message.number not in self._pipes:
            self._pipes[message.number] = descriptor
        else:  # who asked does not wait any more
            os.close(descriptor)

    async def archive(self, component: str) -> HostArchive:
        """Return an archive of the host to be read. Raises as `do` does."""
        granted = self._of(component, Act.BACKUP)
        if not granted:
            raise MisuseError(
                f"{component} may not have an archive of the host: ask for `backup` under `needs: runtime`"
            )
        said, _ = await self._ask(granted[0][0], "backup", longest_s=_ARCHIVE_S)
        return HostArchive(self._pipes.pop(said.number))

    def answered(self, message: RuntimeSaidMessage) -> None:
        """Take the answer to something that was asked."""
        waiting = self._waiting.pop(message.number, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(message)

    def file_came(self, message: RuntimeFileMessage, descriptor: int) -> None:
        """Take a file, before the answer that ends them."""
        if message.number in self._waiting and len(self._files.get(message.number, ())) < FILES_OF_ANSWER:
            file = RuntimeFile(message.name, descriptor, is_earlier=bool(message.is_earlier))
            self._files.setdefault(message.number, []).append(file)
        else:
            os.close(descriptor)  # what asked has given up

    async def files(self, component: str, act: Act, most: int) -> list[RuntimeFile]:
        """Return files that may be read, open. Raises as `do` does."""
        granted = self._of(component, act)
        if not granted:
            raise MisuseError(f"{component} may not read {act}: name it under `needs: runtime`")
        found: list[RuntimeFile] = []
        first, is_more = 0, True
        try:
            while is_more and first < min(most, FILES_MOST):
                said, files = await self._ask(granted[0][0], f"read {act}", first)
                found += files
                first += FILES_OF_ANSWER
                is_more = said.states == b"\1"
        except BaseException:
            for file in found:
                file.close()
            raise
        for file in found[most:]:
            file.close()
        return found[:most]

    def targets(self, component: str, act: Act) -> tuple[str, ...]:
        """Return the components to which an act may be done, or ("",) if it is not done to one; () if it may not."""
        return tuple(right.targets[0] if right.targets else "" for _, right in self._of(component, act))

    async def do(
        self, component: str, act: Act, target: str = "", within_s: float = 0, *, subject: str = "", asked_by: str = ""
    ) -> None:
        """Have an act done, and wait for how it ended. Raises CallErrors, and MisuseError without a grant."""
        known = self.targets(component, act)
        if target not in known:
            hint = did_you_mean(target, known)
            words = f"{component} may not {act} {target}".rstrip()
            raise MisuseError(f"{words}{hint}: name it under `needs: runtime`")
        number = next(number for number, right in self._of(component, act) if target in (*right.targets, ""))
        words = f"{act} {target or shown(subject)}".rstrip() if target or subject else str(act)
        await self._ask(number, words, round(within_s * 1000), subject=subject, asked_by=asked_by)

    async def states(self, component: str) -> dict[str, str]:
        """Return the states of all that may be listed. Raises as `do` does."""
        granted = self._of(component, Act.LIST)
        if not granted:
            raise MisuseError(f"{component} may list nothing: name components under `needs: runtime`")
        found: dict[str, str] = {}
        for number, right in granted:
            said, _ = await self._ask(number, "list")
            found |= {target: RUNTIME_STATES[state] for target, state in zip(right.targets, said.states, strict=True)}
        return found

    def _of(self, component: str, act: Act) -> list[tuple[int, Right]]:
        rights = enumerate(self._rights)
        return [(number, right) for number, right in rights if right.component == component and right.act is act]

    async def _ask(
        self,
        right: int,
        words: str,
        value: int = 0,
        longest_s: float = ANSWER_S,
        *,
        subject: str = "",
        asked_by: str = "",
    ) -> tuple[RuntimeSaidMessage, list[RuntimeFile]]:
        if len(self._waiting) >= RUNTIME_WAITING:
            raise Busy(f"{words}: too much is asked of the runtime at once; try again")
        self._number += 1
        try:
            digests = [digest_of_subject(name) if name else b"" for name in (subject, asked_by)]
            self._say(self._number, right, value, *digests)
        except PeerError as error:
            raise Busy(f"{words}: the supervisor does not listen now: {error.reason}") from None
        number = self._number
        waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(longest_s):
                said: RuntimeSaidMessage = await waiting
            _raise_if_bad(said, words)
        except TimeoutError:
            self._close_pipe(number)
            raise OutcomeUnknown(f"{words}: no answer in {longest_s:g} s") from None
        except BaseException:
            self._close_pipe(number)
            raise
        finally:
            self._waiting.pop(number, None)
            files = self._files.pop(number, [])
        return said, files

    def _close_pipe(self, number: int) -> None:
        if (descriptor := self._pipes.pop(number, -1)) >= 0:
            os.close(descriptor)


def _raise_if_bad(said: RuntimeSaidMessage, words: str) -> None:
    outcome = RuntimeOutcome(said.outcome)
    if outcome is RuntimeOutcome.BUSY:
        raise Busy(f"{words}: a reload is carried out, or too much is asked at once; try again")
    if outcome is RuntimeOutcome.UNRECORDED:
        raise Unavailable(f"{words}: the audit log did not take it, so nothing was done")
    if outcome in _REASONS:
        raise Denied(f"{words}: {_REASONS[outcome]}")
    if outcome is RuntimeOutcome.FAILED and words.startswith("read "):
        raise Failed(f"{words}: the supervisor cannot open the folder; `tlsrt-supervisor doctor` says why")
    if outcome is not RuntimeOutcome.DONE:
        where = "events" if words == str(Act.BACKUP) else "status"
        raise Failed(f"{words}: it did not get there; `tlsrt-supervisor {where}` says why")
