"""`start`, inside the pid namespace: from a path to a running supervisor."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tlsrt.config.code_permissions import impassable_for_others
from tlsrt.config.component_options import check_options, unknown_options
from tlsrt.config.document import ConfigFiles, read_files
from tlsrt.config.fixed_keys import fixed_keys, fixed_keys_sentence
from tlsrt.config.host_paths import check_host_paths
from tlsrt.config.http_package import check_http
from tlsrt.config.load import load_config, parse_files
from tlsrt.config.measure import measure
from tlsrt.config.package_survey import Survey, surveyed
from tlsrt.config.packages import Code, imported_by_process
from tlsrt.config.policy_methods import unknown_methods
from tlsrt.config.process_code import code_as_it_is
from tlsrt.config.reach import unit_warnings
from tlsrt.config.schema import Config
from tlsrt.config.supervision import PRIMARY
from tlsrt.errors import ConfigError, SandboxError
from tlsrt.supervisor.launch.fitting import fitting
from tlsrt.supervisor.process.folders import states_left_behind
from tlsrt.supervisor.process.measurement import Measurement

if TYPE_CHECKING:
    from tlsrt.supervisor.process.children import Children
    from tlsrt.supervisor.process.service_manager import Manager
    from tlsrt.supervisor.process.uids import Uids
    from tlsrt.supervisor.process.undo_processes import UndoProcesses
    from tlsrt.supervisor.supervision.context import Reading, Reloadable, Renewal


def start(
    path: Path, death_pipe: int | None, no_pid_namespace: str | None, manager: Manager,
    log: str | None = None,
    passed: Sequence[tuple[str, int]] = (), undos: UndoProcesses | None = None,
) -> int:  # fmt: skip
    """Load the configuration and live; return the exit code. Raises ConfigError, SandboxError, AlreadyRunning."""
    config = fitting(load_config(path))
    check_host_paths(config)
    check_options(config, process=PRIMARY)  # without it there is no host; for all others there is a warning
    check_http(config)
    code = code_as_it_is(config)
    measurer = Measurement(lambda: measure(config, code))
    # Imported only now: the measurement runs meanwhile.
    from tlsrt.supervisor.events.log_output import LogConsole
    from tlsrt.supervisor.launch.child_programs import ChildPrograms, check_code
    from tlsrt.supervisor.launch.host_check import needless_waivers
    from tlsrt.supervisor.launch.log_sink import sink_of
    from tlsrt.supervisor.launch.required_calls import check_calls
    from tlsrt.supervisor.process.console import standard_console
    from tlsrt.supervisor.process.passed_listeners import PassedListeners
    from tlsrt.supervisor.process.proc import age_s, parent_host_pid
    from tlsrt.supervisor.process.scheduling import check_scheduling
    from tlsrt.supervisor.process.uids import own_identity
    from tlsrt.supervisor.supervisor import Supervisor

    check_scheduling(config.scheduling)
    identity = own_identity(config)
    if no_pid_namespace is not None and "pid_namespace" not in config.sandbox.waive:
        raise SandboxError(
            "pid_namespace",
            f"this host gives no pid namespace ({no_pid_namespace}); to go without, waive it in sandbox.waive",
        )
    check_calls(own_pid_namespace="pid_namespace" not in config.sandbox.waive)
    warnings = _warnings(config, identity, check_code(config, code, identity))
    children = ChildPrograms(config, code, identity)
    sink = sink_of(log or config.log.format, os.environ)
    supervisor = Supervisor(
        config,
        children,
        LogConsole(sink) if sink is not None else standard_console(),
        measure=measurer.result,
        rootless=identity.rootless,
        warnings=[*needless_waivers(config, no_pid_namespace), *unknown_options(config), *warnings, *_gaps(children)],
        death_pipe=death_pipe,
        age_s=age_s(parent_host_pid()) if death_pipe is not None else 0.0,
        read=lambda current: read_again(path, current),
        manager=manager,
        log=sink,
        passed=PassedListeners(manager, passed),
        undos=undos,
    )
    return supervisor.run()


def _warnings(config: Config, identity: Uids, problems: list[str]) -> list[str]:
    """Return what every start says; `problems` are those of the code. Raises ConfigError where they are not allowed."""
    has_root = identity.rootless or "mount_namespace" not in config.sandbox.waive
    if not has_root and (closed := impassable_for_others([config.state_dir, config.run_dir])):
        raise ConfigError(closed)
    warnings = [f"sandbox layer {layer} is waived: {reason}" for layer, reason in config.sandbox.waive.items()]
    warnings += states_left_behind(config, identity.uid)
    warnings += unknown_methods(config, config.policy)
    warnings += [f"component {one.name} does not run: {one.sentence}" for one in config.failed]
    warnings += config.remarks
    warnings += unit_warnings(config, os.environ)
    if identity.rootless and "uid" not in config.sandbox.waive:
        warnings.append("without root all processes have one uid: only namespaces and Landlock keep them apart")
    if config.measure == "warn":
        return [*warnings, "measure is `warn`: a changed file is reported, not refused", *problems]
    if problems:
        raise ConfigError(problems)
    return warnings


def _gaps(children: Children) -> list[str]:
    """Return what this host leaves open in the layers that it has; all processes have the same waivers."""
    from tlsrt.sandbox.profile.profile import AUTHORITY
    from tlsrt.sandbox.report.host_features import gaps

    return gaps(children.profiles[AUTHORITY])


def read_again(path: Path, current: Reloadable) -> Reading:
    """Read the configuration anew. Raises ConfigError."""
    from tlsrt.supervisor.launch.child_programs import check_code
    from tlsrt.supervisor.supervision.context import Reading

    files = read_files(path)
    wanted = parse_files(files, path)

    def survey() -> Survey:
        with surveyed() as found:
            config, code = _fitting_again(wanted, current)
            imported_by_process(config)
            check_code(config, code, current.children.identity.extended(config))
            return found

    def renewal(survey: Survey) -> Renewal:
        with surveyed(survey):
            return _renewed(files, wanted, current, survey)

    return Reading(None if all(one.builtin for one in wanted.components) else survey, renewal)


def _fitting_again(wanted: Config, current: Reloadable) -> tuple[Config, Code]:
    """Return what can be taken of a configuration, and its code. Raises ConfigError for what a reload refuses."""
    config = fitting(wanted)
    if keys := fixed_keys(current.config, config):
        raise ConfigError(fixed_keys_sentence(keys))
    check_host_paths(config)
    check_options(config)
    check_http(config)
    return config, code_as_it_is(config)


def _renewed(files: ConfigFiles, wanted: Config, current: Reloadable, survey: Survey) -> Renewal:
    """Make profiles and filters beside those in force. Raises ConfigError and SandboxError."""
    from tlsrt.supervisor.launch.child_programs import check_code
    from tlsrt.supervisor.process.children import remove_new
    from tlsrt.supervisor.supervision.context import Renewal

    config, code = _fitting_again(wanted, current)
    new = current.children.renewed(config, code)
    try:
        warnings = (*_warnings(config, new.identity, check_code(config, code, new.identity)), *_gaps(new))
    except BaseException:
        remove_new(new, current.children)
        raise

    def imported() -> dict[str, frozenset[str]]:
        with surveyed(survey):
            return imported_by_process(config)

    return Renewal(config, new, lambda: measure(config, code), imported, warnings, files.digests(config.variables))
