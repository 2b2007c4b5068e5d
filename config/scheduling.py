"""The section `scheduling`: processors and priorities of loops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tlsrt.config.setting import PROCESS, PROCESS_SAYS, count, listing, mapping, text


@dataclass(frozen=True, slots=True)
class SchedulingConfig:
    """Where and how loops get the processor; by default as every process does."""

    cpus: Mapping[str, tuple[int, ...]] = field(
        default_factory=dict[str, tuple[int, ...]],
        metadata=mapping(
            "Loops and the processors that they may use; loops that talk much answer fastest on the same one. "
            "A further process of a loop, as primary.facts, is named by itself.",
            listing("Numbers of processors.", count("A number.", 0, 4095), 256, least=1),
            32,
            PROCESS,
            PROCESS_SAYS,
            example="{primary: [0], secondary: [0, 1]}",
        ),
    )
    real_time: tuple[str, ...] = field(
        default=(),
        metadata=listing(
            "Loops that run before every ordinary process (SCHED_RR), so that a busy host delays no call. They "
            "are ended when they run for 10 s without a pause.",
            text("A loop.", pattern=PROCESS, says=PROCESS_SAYS),
            32,
            example="[primary]",
        ),
    )
    priority: int = field(default=10, metadata=count("Priority of these loops.", 1, 50))
