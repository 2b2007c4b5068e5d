"""`reload --dry-run`: what a reload would do to the running host, found in the same way and with nothing done.

The configuration is read and its profiles are made beside those in force, as a reload does it, and let go again. A
child measures the host's files and compares; it is also the one that reads the boot token. What only the authority can
say is not asked: whether the token's MAC is right, and whether the door's key fits its certificate; `check` tries both.
A dry run and a reload exclude each other, and there is one dry run at a time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgpack

from tlsrt.config.access import PolicyRule
from tlsrt.config.boot_token import MAX_TOKEN_BYTES, parse_boot_token_untrusted
from tlsrt.config.components import ComponentConfig
from tlsrt.config.differences import summary
from tlsrt.config.files import read_bounded
from tlsrt.config.fixed_keys import taken_keys
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError
from tlsrt.supervisor.process.children import remove_new
from tlsrt.supervisor.process.event_loop import Timer
from tlsrt.supervisor.reload import report
from tlsrt.supervisor.reload.background_measurement import BackgroundMeasurement, packed_survey, refusal, survey_of
from tlsrt.supervisor.reload.decision import changed_code, steps_between
from tlsrt.supervisor.reload.plan import STAYING, needs_move
from tlsrt.supervisor.reload.reload import CHECK_S, Reload
from tlsrt.supervisor.supervision.authority_process import AuthorityProcess
from tlsrt.supervisor.supervision.context import Context, Reading, Reloadable, Renewal
from tlsrt.supervisor.supervision.feature import Answer, ControlVerb, Feature, Reply
from tlsrt.supervisor.supervision.loops import Loops
from tlsrt.supervisor.supervision.running_changes import RunningChanges

FORMAT = 1  # of the answer
LINES_MAX = 200  # of each list of the answer
_BUSY = "a reload is being carried out, or a dry run: try again when it is done"


class DryRun(Feature):
    """Dry runs of one life. `read` reads the configuration."""

    def __init__(
        self, context: Context, loops: Loops, authority: AuthorityProcess, changes: RunningChanges, reload: Reload,
        read: Callable[[Reloadable], Reading] | None,
    ) -> None:  # fmt: skip
        self._context = context
        self._loops = loops
        self._authority = authority
        self._changes = changes
        self._reload = reload
        self._read = read
        self._reply: Reply | None = None
        self._renewal: Renewal | None = None
        self._measurer: BackgroundMeasurement | None = None
        self._timer: Timer | None = None

    def verbs(self) -> Mapping[str, ControlVerb]:
        return {"reload_plan": ControlVerb(lambda request, reply: self.ask(reply))}

    def ask(self, reply: Reply) -> None:
        """Find out what a reload would do; `reply` gets it, or `refused` with what a reload would refuse."""
        if self._reply is not None or self._changes.is_reloading or self._changes.is_rekeying:
            reply({"unavailable": _BUSY})
            return
        self._changes.is_reloading = True
        self._reply = reply
        self._carefully(self._begin)

    def stopping(self) -> None:
        self._end({"unavailable": "tlsrt is stopping"})

    def _carefully(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:
            self._end({"refused": list(refusal(error))})

    def _begin(self) -> None:
        if self._read is None or not self._authority.is_booted:
            raise ConfigError("tlsrt has not started yet: try again when it says that it is ready")
        reading = self._read(self._context.current)
        if (survey := reading.survey) is None:
            self._made(reading.renewal({}))
            return
        self._in_background(
            lambda: packed_survey(survey),
            lambda result: self._carefully(lambda: self._made(reading.renewal(survey_of(result)))),
        )

    def _made(self, renewal: Renewal) -> None:
        self._renewal = renewal
        current = self._context.current
        steps_between(current, renewal, self._loops.all)  # what it refuses is found before all is measured
        measured = self._authority.files.measurement
        before: dict[str, bytes] = msgpack.unpackb(os.pread(measured, os.fstat(measured).st_size, 0), raw=False)

        def judge() -> dict[str, bytes]:
            return {"verdict": msgpack.packb(_verdict(current, renewal, before))}

        self._in_background(judge, self._judged)

    def _in_background(
        self, look: Callable[[], dict[str, bytes]], on_done: Callable[[bytes | ConfigError], None]
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()

        def done(result: bytes | ConfigError) -> None:
            self._measurer = None
            on_done(result)

        self._measurer = BackgroundMeasurement(self._context.event_loop, look, done)
        self._timer = self._context.event_loop.call_later(CHECK_S, self._too_slow)

    def _too_slow(self) -> None:
        self._end({"refused": [f"the host could not be measured in {CHECK_S:g} s"]})

    def _judged(self, result: bytes | ConfigError) -> None:
        if isinstance(result, ConfigError):
            self._end({"refused": list(result.problems)})
            return
        self._carefully(lambda: self._tell(msgpack.unpackb(msgpack.unpackb(result)["verdict"])))

    def _tell(self, verdict: Mapping[str, Any]) -> None:
        assert self._renewal is not None
        if verdict["refused"]:
            raise ConfigError(verdict["refused"])
        current, renewal = self._context.current, self._renewal
        stopped = [loop.name for loop in self._loops.all if self._loops.restart_policy.is_stopped(loop.name)]
        steps = steps_between(current, renewal, self._loops.all, verdict["changed"], stopped)
        old, new = current.config, renewal.config
        moves = needs_move(steps) or old.policy != new.policy
        self._end({
            "format": FORMAT,
            "dry_run": True,
            "moves": moves,
            "processes": [
                {
                    "name": step.name,
                    "outcome": report.STOPPED if step.name in stopped and step.way in STAYING else str(step.way),
                    "changed": list(step.changed)[:LINES_MAX],
                }
                for step in steps
            ],
            "components": _differences(_components(old), _components(new)),
            "listeners": _differences(_listeners(old), _listeners(new)),
            "policy": _differences(_rights(old.policy), _rights(new.policy)),
            "door": verdict["door"],
            "settings": taken_keys(old, new)[:LINES_MAX],
            "warnings": [*renewal.warnings, *verdict["warnings"]][:LINES_MAX],
        })  # fmt: skip

    def _end(self, answer: Answer) -> None:
        if self._reply is None:
            return
        if self._measurer is not None:
            self._measurer.cancel()
        if self._timer is not None:
            self._timer.cancel()
        if self._renewal is not None:
            remove_new(self._renewal.children, self._context.current.children)
        reply, self._reply = self._reply, None
        self._measurer, self._timer, self._renewal = None, None, None
        self._changes.is_reloading = False
        reply(answer)
        self._context.event_loop.call_later(0, self._reload.go_on)


def _verdict(current: Reloadable, renewal: Renewal, before: Mapping[str, bytes]) -> dict[str, Any]:
    """In the child: measure, and compare with what is in force and with the boot token. Raises ConfigError."""
    entries = renewal.measure()
    found = changed_code(current, renewal, before, entries)
    is_strict = current.config.measure == "strict"
    refused, warnings = list[str](), list[str]()
    if found.fixed:
        (refused if is_strict else warnings).append(found.fixed)
    unsealed = _unsealed(renewal.config.boot_token, entries)
    if unsealed:
        (refused if is_strict else warnings).append(unsealed)
    door = [name for name in ("certificate-names", "client-ca") if before.get(name) != entries.get(name)]
    return {"changed": sorted(found.processes), "refused": refused, "warnings": warnings, "door": door}


def _unsealed(path: Path, entries: Mapping[str, bytes]) -> str:
    token = parse_boot_token_untrusted(read_bounded(path, MAX_TOKEN_BYTES, "the boot token"))
    found = summary(token.entries, entries)
    if not found:
        return ""
    return f"not as it was sealed: {', '.join(found)}; if you intended that, run `tlsrt-supervisor seal`"


def _components(config: Config) -> dict[str, ComponentConfig]:
    return {one.address: one for one in config.components}


def _listeners(config: Config) -> dict[str, str]:
    return {one.sentence: "" for one in config.listeners}


def _rights(rules: Sequence[PolicyRule]) -> dict[str, str]:
    """Return what each line allows, by the line with its methods."""
    methods: dict[str, set[str]] = {}
    for rule in rules:
        methods.setdefault(f"{rule.source} -> {rule.target}", set()).update(rule.methods)
    return {f"{line}: [{', '.join(sorted(named))}]": "" for line, named in methods.items()}


def _differences(before: Mapping[str, object], after: Mapping[str, object]) -> dict[str, list[str]]:
    """Return which keys come, go and have another value; pure."""
    found = {
        "added": [name for name in after if name not in before],
        "removed": [name for name in before if name not in after],
        "changed": [name for name, value in after.items() if name in before and before[name] != value],
    }
    return {word: _bounded(names) for word, names in found.items()}


def _bounded(names: list[str]) -> list[str]:
    more = [f"and {len(names) - LINES_MAX} more"] if len(names) > LINES_MAX else []
    return [*names[:LINES_MAX], *more]
