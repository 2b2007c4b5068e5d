"""`rotate`: a new epoch on request, and with `--master` another master_key, while the host runs.

An epoch needs the authority only. Another master_key is a transaction: the command has written the next key and
its boot token beside those in force (config/key_rotation.py); the authority checks both exactly as at a boot; then the
boot token is put in its place, which is the one moment before which everything is as it was and after which only the
new state exists, for an authority that comes again as for the next start; then the authority moves the epoch. The key's
bytes are read by the command that makes them and by the authority, never here.

One rotation at a time, in the order in which they were asked for. Each is over when every loop says that it works in
the new epoch. Loops that are late are ended by the authority's word, as for every epoch.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from tlsrt.channels.control.authority_channel import RekeyedMessage, RotatedMessage
from tlsrt.config.boot_token import HEAD_BYTES, key_version_of
from tlsrt.config.files import open_regular
from tlsrt.config.key_providers import key_path, open_master_key
from tlsrt.config.key_rotation import Staged, next_token, switch
from tlsrt.errors import ConfigError
from tlsrt.supervisor.process.event_loop import Timer
from tlsrt.supervisor.supervision.authority_process import AuthorityProcess
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.feature import Answer, ControlVerb, Feature, MessageHandler, Reply
from tlsrt.supervisor.supervision.loop import Loop
from tlsrt.supervisor.supervision.loops import Loops
from tlsrt.supervisor.supervision.pending_answers import PendingAnswers
from tlsrt.supervisor.supervision.running_changes import RunningChanges

NAME = "rotate"
CHECK_S = 90.0  # for the authority to check another master_key, and for every loop to work in the new epoch


class KeyRotation(Feature):
    """All rotations of one life."""

    def __init__(self, context: Context, loops: Loops, authority: AuthorityProcess, changes: RunningChanges) -> None:
        self._context = context
        self._loops = loops
        self._authority = authority
        self._changes = changes
        self._pending = PendingAnswers[bool](context.event_loop)  # whether of master_key; the first one is running
        self._number = 0  # of the running one; 0: none
        self._has_ended = False
        self._is_master = False
        self._staged: Staged | None = None  # under check
        self._token = -1  # of it
        self._began = 0.0
        self._done: Answer | None = None  # committed, and not yet in every loop
        self._epoch = 0
        self._timer: Timer | None = None

    def messages(self) -> Mapping[str, MessageHandler]:
        return {"rekeyed": self._checked, "rotated": self._rotated}

    def verbs(self) -> Mapping[str, ControlVerb]:
        return {"rotate": ControlVerb(lambda request, reply: self.ask(reply, master=bool(request.get("master"))))}

    def ask(self, reply: Reply, *, master: bool) -> None:
        """Rotate, now or after those that were asked for before.

        `reply` gets the report, or `refused` with sentences, or `failed` with sentences for one that may yet come.
        """
        if self._has_ended:
            reply({"error": "stopping"})
            return
        self._pending.hold(reply, master)
        self._next()

    def loop_changed(self, loop: Loop) -> None:
        self._look()

    def stopping(self) -> None:
        self._has_ended = True
        self._end({"error": "stopping"})
        self._pending.answer_all({"error": "stopping"})

    def _next(self) -> None:
        if self._number or not self._pending:
            return
        self._number, self._is_master = next(self._pending.items())
        self._began = self._context.event_loop.now
        self._timer = self._context.event_loop.call_later(CHECK_S, self._too_slow)
        if not self._authority.is_booted:
            self._refuse(
                ["the authority is not serving now: try again when `status` says that it is active"], passes=True
            )
        elif not self._is_master:
            self._authority.channel.rotate(self._number, with_keys=False)
        elif self._changes.is_reloading:
            self._refuse(["a reload is running, so nothing was changed: rotate again when it is done"], passes=True)
        else:
            self._check()

    # Another master_key: before anything changes

    def _check(self) -> None:
        key = -1
        try:
            config = self._context.current.config
            self._token = open_regular(next_token(config), "the next boot token")
            version = key_version_of(os.pread(self._token, HEAD_BYTES, 0))
            key = open_master_key(config.master_key, {0, os.geteuid()}, version)
            self._stage(Staged(version, key_path(config.master_key, version), next_token(config)))
            sent = self._authority.channel.rekey(self._number, key, self._token, self._authority.files.measurement)
        except ConfigError as error:
            self._refuse(error.problems)
        except OSError as error:
            self._refuse([f"cannot read the next boot token: {error.strerror}"])
        else:
            if not sent:
                self.authority_lost()
        finally:
            if key >= 0:
                os.close(key)

    def _stage(self, staged: Staged | None) -> None:
        self._staged = staged
        self._changes.is_rekeying = staged is not None

    def _checked(self, message: RekeyedMessage) -> None:
        """Go on: the authority has compared key, boot token and host."""
        number, is_good, said = message
        sentences = [str(sentence) for sentence in said]
        if number != self._number or self._staged is None:
            return  # it came too late; the authority forgets the key with the next request
        if not is_good:
            self._refuse(sentences)
            return
        try:
            if not os.path.samestat(os.fstat(self._token), os.stat(self._staged.token)):
                raise ConfigError(f"{self._staged.token} was changed while it was checked: rotate again")
            switch(self._staged, self._context.current.config.boot_token)
        except ConfigError as error:
            if not self._is_in_place():
                self._refuse([*error.problems, "so nothing was changed; stop tlsrt, rotate, and start it again"])
                return
            self._context.console.warning(NAME, "; ".join(error.problems))  # only its lasting was in doubt
        except OSError as error:
            self._refuse([f"cannot check {self._staged.token}: {error.strerror}"])
            return
        for sentence in sentences:
            self._context.console.warning(NAME, sentence)
        self._authority.files.take(self._token)
        self._token = -1
        self._stage(None)
        self._authority.channel.rotate(self._number, with_keys=True)

    def _is_in_place(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._token), os.stat(self._context.current.config.boot_token))
        except OSError:
            return False

    # From here on only forward

    def _rotated(self, message: RotatedMessage) -> None:
        """Go on: the authority has committed the epoch, or could not begin one."""
        number, epoch, committed_ms, late, said = message
        if number != self._number or self._staged is not None:
            return
        if not epoch:
            self._refuse([str(sentence) for sentence in said])
            return
        self._epoch = epoch
        self._done = {"epoch": epoch, "committed_ms": committed_ms, "late": list(late)}
        self._look()

    def _look(self) -> None:
        """End if the last loop works in the new epoch now."""
        if self._done is None or self._behind():
            return
        now = self._context.event_loop.now
        answer = {**self._done, "took_ms": round((now - self._began) * 1000, 1), **self._authority.reports.keys(now)}
        self._say(answer)
        self._end(answer)

    def authority_lost(self) -> None:
        """Refuse another master_key that the authority had not checked yet."""
        if self._staged is not None:
            self._refuse(["the authority ended while it checked the new key, so nothing was changed: rotate again"])

    def authority_booted(self) -> None:
        """Ask again: an authority that came again, with the key in force, may have forgotten."""
        if self._number and self._staged is None and self._done is None:
            self._authority.channel.rotate(self._number, with_keys=False)

    def _behind(self) -> list[str]:
        return [loop.name for loop in self._loops.all if loop.is_trusted and not self._has_it(loop)]

    def _has_it(self, loop: Loop) -> bool:
        return loop.process.beat is not None and loop.process.beat.epoch >= self._epoch

    # The end

    def _too_slow(self) -> None:
        if self._staged is not None:
            self._refuse([f"the authority has not checked the new key in {CHECK_S:g} s, so nothing was changed"])
            return
        behind = ", ".join(self._behind()) if self._done is not None else "the authority"
        self._fail(f"not every loop works in a new epoch after {CHECK_S:g} s, `status` shows it: {behind}")

    def _fail(self, sentence: str) -> None:
        self._context.console.warning(NAME, f"failed: {sentence}")
        self._end({"failed": [sentence], "is_in_force": self._is_master})

    def _refuse(self, sentences: Sequence[str], *, passes: bool = False) -> None:
        """Refuse; `passes` says that the same request is right a little later."""
        for sentence in sentences:
            if self._is_master:
                self._context.console.bad(NAME, "refused", sentence)
                self._context.events.emit("rotate_refused", "supervisor", sentence)
            else:  # no event tells of it
                self._context.console.warning(NAME, f"refused: {sentence}")
        self._end({"refused": list(sentences), **({"passes": True} if passes else {})})

    def _say(self, answer: Answer) -> None:
        key = f", master_key version {answer['key_version']}" if self._is_master else ""
        if self._is_master:
            self._context.events.emit("rotated", "supervisor", epoch=self._epoch, key_version=answer["key_version"])
        self._context.console.plain(NAME, "done", f"epoch {self._epoch} in every loop{key}")

    def _end(self, answer: Answer) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._token >= 0:
            os.close(self._token)
        self._timer, self._token, self._done = None, -1, None
        self._stage(None)
        number, self._number = self._number, 0
        self._pending.answer(number, answer)
        self._context.event_loop.call_later(0, self._next)
