"""`stop LOOP` and `start LOOP`: a loop that the operator keeps down, until it is started or the host is.

What depends on it ends too and waits, and no reload, death or lock starts it. Primary and the authority are what the
host is: they stop with it.
"""

from __future__ import annotations

from collections.abc import Mapping

from tlsrt.channels.control.life import LoopState
from tlsrt.supervisor.control.restart import RestartRequest
from tlsrt.supervisor.supervision.authority_process import NAME as AUTHORITY
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.feature import Answer, ControlVerb, Feature, Reply, Request
from tlsrt.supervisor.supervision.loop import Loop
from tlsrt.supervisor.supervision.loops import Loops
from tlsrt.supervisor.supervision.pending_answers import PendingAnswers
from tlsrt.supervisor.supervision.restarter import Restarter
from tlsrt.supervisor.supervision.running_changes import RunningChanges
from tlsrt.supervisor.supervision.states import BOOTING

_WHOLE = (
    "{name} cannot be stopped alone, since nothing runs without it: `tlsrt-supervisor lock` ends all sessions, and "
    "`tlsrt-supervisor stop` stops the host"
)


class StopRequest(Feature):
    """All requests of one life to stop a loop, and to start one."""

    def __init__(
        self, context: Context, loops: Loops, restarter: Restarter, restart: RestartRequest, changes: RunningChanges
    ) -> None:  # fmt: skip
        self._context = context
        self._loops = loops
        self._restarter = restarter
        self._restart = restart
        self._changes = changes
        self._pending = PendingAnswers[str](context.event_loop)  # with the name of the loop

    def verbs(self) -> Mapping[str, ControlVerb]:
        return {"stop_loop": ControlVerb(self.stop), "start_loop": ControlVerb(self.start)}

    def stop(self, request: Request, reply: Reply) -> None:
        """Stop the named loop; `reply` gets it when it is down, or a sentence: `refused`, or `unavailable` now."""
        name, sentence = self._named(request)
        if name == AUTHORITY or self._is_primary(name):
            sentence = _WHOLE.format(name=name)
        if sentence:
            reply({"refused": sentence})
            return
        if self._loops.is_stopping or self._changes.is_rolling_out:
            why = "tlsrt is stopping" if self._loops.is_stopping else "a reload is being carried out"
            reply({"unavailable": f"{why}: try again when it is done"})
            return
        if not self._loops.restart_policy.is_stopped(name):
            self._context.console.plain(name, "stop", "asked for")
            self._loops.restart_policy.stop(name)
        self._pending.hold(reply, name)
        self._restarter.look()
        self._look()

    def start(self, request: Request, reply: Reply) -> None:
        """Start a loop that was stopped or given up; one that runs or is starting stays as it is."""
        name, sentence = self._named(request)
        if sentence:
            reply({"refused": sentence})
            return
        loop = next((one for one in self._loops.all if one.name == name), None)
        if loop is not None and loop.is_living and self._loops.restart_policy.is_stopped(name):
            reply({"unavailable": f"{name} is still ending: start it when it is stopped"})
            return
        if loop is not None and loop.state in (*BOOTING, LoopState.ACTIVE) and not loop.is_ending:
            pid, state = loop.host_pid, str(loop.state)
            reason = "it runs already" if loop.state is LoopState.ACTIVE else "it is starting already"
            entry = {"name": loop.name, "state": state, "pid": pid, "took_ms": None, "reason": reason}
            reply({"loops": [entry], "failed": False})
            return
        self._restart.ask({"loop": name}, reply)

    def loop_changed(self, loop: Loop) -> None:
        self._look()

    def stopping(self) -> None:
        self._pending.answer_all({"unavailable": "tlsrt is stopping"})

    def _named(self, request: Request) -> tuple[str, str]:
        """Return the process that a request names, or a sentence why there is none."""
        name = request.get("loop")
        if not isinstance(name, str):
            return "", "name a loop"
        address = name[:200].replace(".", "/", 1)
        for one in self._context.current.config.components:
            if one.address != address or name in [loop.name for loop in self._loops.all]:
                continue
            if one.process == address.replace("/", "."):
                return one.process, ""
            return "", f"{address} has no process of its own: it runs in {one.process}, so name that"
        return name, "" if name == AUTHORITY else self._restart.misuse(name)

    def _is_primary(self, name: str) -> bool:
        return any(loop.name == name and loop.is_primary for loop in self._loops.all)

    def _look(self) -> None:
        """Answer the requests whose loop is down, was started meanwhile, or is no more."""
        states = {loop.name: loop for loop in self._loops.all}
        for number, name in self._pending.items():
            loop = states.get(name)
            if loop is None or loop.state is LoopState.FAILED or not self._loops.restart_policy.is_stopped(name):
                self._pending.answer(number, self._answer(name, loop))

    def _answer(self, name: str, loop: Loop | None) -> Answer:
        policy = self._loops.restart_policy
        is_down = loop is None or (loop.state is LoopState.FAILED and policy.is_stopped(name))
        waiting = policy.dependents(name) if loop is not None else []
        return {"name": name, "stopped": is_down, "waiting": waiting, "failed": not is_down}
