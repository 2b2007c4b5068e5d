"""`start`, inside the pid namespace: from a path to a running supervisor."""

from __future__ import annotations

import os
from pathlib import Path

from tlsrt.config.load import load_config
from tlsrt.config.measure import measure
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError, SandboxError
from tlsrt.supervisor.measurer import Measurer


def start(path: Path, death_pipe: int | None, no_pid_namespace: str | None) -> int:
    """Load the configuration and live; return the exit code. Raises ConfigError, SandboxError, AlreadyRunning."""
    config = load_config(path)
    measurer = Measurer(lambda: measure(config))
    # Imported only now: the measurement runs meanwhile.
    from tlsrt.supervisor.console import standard_console
    from tlsrt.supervisor.gauges import age_s, parent_host_pid
    from tlsrt.supervisor.identity import own_identity
    from tlsrt.supervisor.loops_start import check_code, make_parts
    from tlsrt.supervisor.supervisor import Supervisor

    identity = own_identity(config)
    if no_pid_namespace is not None and "pid_namespace" not in config.sandbox.waive:
        raise SandboxError(
            "pid_namespace",
            f"this host gives no pid namespace ({no_pid_namespace}); to go without, waive it in sandbox.waive",
        )
    warnings = [f"sandbox layer {layer} is waived: {reason}" for layer, reason in config.sandbox.waive.items()]
    problems = check_code(config, identity)
    if config.measure == "warn":
        warnings.append("measure is `warn`: a changed file is reported, not refused")
        warnings += problems
    elif problems:
        raise ConfigError(problems)
    supervisor = Supervisor(
        config,
        make_parts(config, identity, measurer.result),
        standard_console(),
        rootless=identity.rootless,
        warnings=warnings,
        death_pipe=death_pipe,
        age_s=age_s(parent_host_pid()) if death_pipe is not None else 0.0,
    )
    return supervisor.run()


def known_seal(config: Config) -> int:
    """Return the seal number in the authority's state, 0 if there is none or we may not read it."""
    from tlsrt.supervisor.authority_state import StateFile

    try:
        folder = os.open(config.state_dir / "authority", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        return StateFile(folder).load().seal
    finally:
        os.close(folder)
