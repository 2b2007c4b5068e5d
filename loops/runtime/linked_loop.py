"""The role of every loop but Primary: its frames go over a link to the gate."""

from __future__ import annotations

from tlsrt.budget import Budget
from tlsrt.channels.calls.ending import Ending
from tlsrt.channels.links.channel import LINK_CHANNELS, DeclaredChannel, LinkChannel, MakeLink
from tlsrt.channels.links.link import Link
from tlsrt.loops.gate.refusals import RecipientReports
from tlsrt.loops.runtime.process import LoopProcess
from tlsrt.loops.runtime.role import LoopRole


class LinkedLoop(LoopRole):
    """A loop with a link. It reports the frames that its components refuse."""

    def __init__(self, process: LoopProcess) -> None:
        self._process = process
        self._reports = RecipientReports(process.trust)
        self._frames_in = 0
        kind = LINK_CHANNELS.get(process.name, DeclaredChannel)
        self.channel: LinkChannel = kind(
            self._link_maker(), process.batch, process.confinement.path("/channel"), self._on_frame,
            process.refusals.note, queue_max=process.config.limits.queue_frames,
        )  # fmt: skip

    def _link_maker(self) -> MakeLink:
        """Return what makes links to Primary. libzmq is imported only where it is used; the supervisor has."""
        if self._process.config.channels.engine == "native":
            return Link
        from tlsrt.channels.links.zmq_link import Libzmq

        return Libzmq().link

    def _on_frame(self, data: bytes) -> None:
        self._frames_in += 1
        self._process.take(data)

    @property
    def frames_in(self) -> int:
        return self._frames_in

    @property
    def frames_out(self) -> int:
        return self.channel.sent

    @property
    def sessions(self) -> int:
        return len(self._process.hosts)

    def set_up(self, up: bool) -> None:
        if up:
            self.channel.open()
            for host in self._process.hosts.values():
                host.caller.set_up(True)
            return
        unsent = self.channel.close()
        for host in self._process.hosts.values():
            host.caller.set_up(False)
            host.caller.pending.fail_all(unsent=unsent)
            host.responder.end_calls(Ending(of_gate=True))

    def on_refused_frame(self, data: bytes, reason: str) -> None:
        self._reports.note_untrusted(data, reason)

    def on_refused_session(self, session: bytes, reason: str) -> None:
        self._reports.refused(session, reason)

    def on_over_budget(self, session: bytes, budget: Budget) -> None:
        self._reports.over_budget(session, budget)

    def on_active(self) -> None:
        """Nothing more begins here."""

    async def before_drain(self, timeout_s: float) -> None:
        """Nothing else ends here."""

    def each_beat(self, now: int) -> None:
        """Nothing is due."""
