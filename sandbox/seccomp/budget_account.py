"""What the broker asks before it begins a connection that a rule allows: whether a budget does, too."""

from __future__ import annotations

import socket
from typing import Protocol

from tlsrt.config.name_rules import Rule


class BudgetAccount(Protocol):
    """Budgets of the rules of a process."""

    def take(self, rule: Rule, connecting: socket.socket) -> bool:
        """Charge a connection that a rule allows; False if a budget does not."""
        ...
