"""Changes that run: a reload and a rotation of master_key exclude each other."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class RunningChanges:
    """Set by the feature that makes the change, read by those that must wait for it."""

    is_reloading: bool = False  # a new configuration is checked or carried out
    is_rolling_out: bool = False  # loops are given another profile
    is_rekeying: bool = False  # another master_key is checked; until then nothing else may change files in force
