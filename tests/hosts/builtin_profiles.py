"""What the processes of built-in components may do, as plain values: to be compared with what was written down once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from tlsrt.config.components import LoopConfig
from tlsrt.config.defaults import COMPONENTS, PROCESSES
from tlsrt.config.door import DoorConfig
from tlsrt.config.schema import ChannelsConfig, Config, Engine, KeySource
from tlsrt.sandbox.profile.compose import fragments_of, profile_for_loop
from tlsrt.sandbox.profile.policy import FilterStage, Policy
from tlsrt.sandbox.profile.profile_files import ProfileFiles

BASE = Path("/srv/tlsrt")
CONFIG = Config(
    path=BASE / "tlsrt.yaml", install_id=bytes(16), master_key=KeySource("file", BASE / "master.key"),
    boot_token=BASE / "boot.token", measure="strict", state_dir=BASE / "state", run_dir=BASE / "run",
    log_dir=BASE / "log", door=DoorConfig("::", 1, BASE / "s.pem", BASE / "s.key", BASE / "ca.pem"),
    loops=tuple(LoopConfig(name) for name in PROCESSES), components=COMPONENTS, policy=(), clients=(),
)  # fmt: skip


def policy_of(files: ProfileFiles, process: str, *, network: bool, engine: Engine = "native") -> Policy:
    """Return the policy of a process with all of its built-in components."""
    loops = (LoopConfig(process, network=network),)
    config = replace(CONFIG, loops=loops, channels=ChannelsConfig(engine=engine))
    return files.policy(process, fragments_of(config, process, files))


def rendered(process: str, engine: Engine) -> dict[str, Any]:
    """Return all that the profile of a process allows, in an order of its own."""
    config = replace(CONFIG, channels=ChannelsConfig(engine))
    profile = profile_for_loop(config, config.loop(process), 771001, ProfileFiles(), rootless=False, code=())
    calls = {
        stage.value: sorted({
            f"{call}: {', '.join(sorted(entry.when))}" if entry.when else call
            for entry in profile.policy.allowed(stage) for call in entry.calls
        })
        for stage in FilterStage
    }  # fmt: skip
    refused = {kind: sorted(profile.policy.named(kind)) for kind in ("broker", "enosys", "kill")}
    return {
        "calls": calls, "refused": refused, "network": profile.network, "egress": [*map(str, profile.egress)],
        "proc": profile.proc, "sys": profile.sys, "kept": sorted(map(str, profile.kept)),
        "write": sorted(f"{host} as {inside}" for host, inside in profile.write), "limits": dict(profile.limits),
        "layers": sorted(profile.layers), "sockets": [*profile.sockets],
        "listen": [str(one.place) for one in profile.listen],
        "most_tasks": profile.max_tasks, "at_once": profile.tasks_at_once,
    }  # fmt: skip
