"""The order in which features hear of what happens: a contract, since one acts on what another did."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.children import FakeChildren
from hosts.scripted_supervisor import make_config

from tlsrt.supervisor.process.component_listeners import ComponentListeners
from tlsrt.supervisor.process.console import TerminalConsole
from tlsrt.supervisor.process.event_loop import EventLoop
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.feature import Feature
from tlsrt.supervisor.supervisor import Supervisor


class Host:
    """A supervisor without processes."""

    def __init__(self, folder: Path) -> None:
        config = make_config(folder, {})
        for made in (config.run_dir, config.log_dir):
            made.mkdir()
        self.event_loop = EventLoop()
        console = TerminalConsole(io.StringIO())
        self.supervisor: Any = Supervisor(config, FakeChildren(), console, measure=bytes)
        self.supervisor._started_at = self.event_loop.now
        self.supervisor._context = Context(self.supervisor._current, self.event_loop, console, -1)
        self.supervisor._build({}, ComponentListeners(config))

    def order(self, notification: str) -> list[str]:
        """Return the classes that a notification concerns, in the order in which they hear it."""
        kinds = [type(feature) for feature in self.supervisor._features.all]
        return [kind.__name__ for kind in kinds if getattr(kind, notification) is not getattr(Feature, notification)]

    def close(self) -> None:
        self.supervisor._control.close()
        for descriptor in (self.supervisor._authority._log, *(loop.log for loop in self.supervisor._loops.all)):
            os.close(descriptor)
        self.event_loop.close()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("notification", "order"),
    [
        (
            "authority_booted",
            ["StartupReport", "LockControl", "ForkServerWatch", "Loops", "HelperProcess", "NetworkHelperProcess",
             "ResolverProcess", "AcmeProcess", "LearnerProcess",
             "MetricsProcess", "Alerts", "Reload", "KeyRotation", "Certificates", "ExportProcess"],
        ),
        (
            "authority_lost",
            ["HostEvents", "LockControl", "Reload", "KeyRotation", "OperatorRequests", "Certificates"],
        ),
        ("authority_ended", ["Shutdown"]),
        ("epoch_begun", ["Watchdog", "HelperProcess", "NetworkHelperProcess", "ResolverProcess",
                              "AcmeProcess", "LearnerProcess", "MetricsProcess", "Names", "EgressMeter",
                              "ExportProcess"]),
        ("beat", ["HostEvents"]),
        ("heartbeat_suspected", ["HostEvents"]),
        (
            "loop_moved",
            ["HostEvents", "Devices", "HostEventFeeds", "ProcessFeeds", "HelperRequests", "Programs", "Buses"],
        ),
        ("loop_active", ["Restarter", "StartupReport", "MetricsProcess", "PageRecord", "ExportProcess"]),
        (
            "loop_changed",
            ["StartupReport", "LockControl", "MetricsProcess", "RestartRequest", "StopRequest", "RuntimeActs", "Reload",
             "KeyRotation", "ManagerNotices", "ExportProcess"],
        ),
        ("judged", ["ManagerNotices"]),
        ("loop_unwell", ["Restarter"]),
        ("loop_died", ["Restarter"]),
        ("loop_ended", ["ManagerNotices", "Shutdown"]),
        ("refused", ["HostEvents", "Shutdown"]),
        ("failed", ["Shutdown"]),
        (
            "stopping",
            ["HostEvents", "LockControl", "ForkServerWatch", "AuthorityProcess", "Loops", "HelperProcess",
             "NetworkHelperProcess", "ResolverProcess", "AcmeProcess", "LearnerProcess", "MetricsProcess", "Names",
             "Devices",
             "RestartRequest", "StopRequest", "RuntimeActs", "FileWatcher", "Reload", "DryRun", "KeyRotation",
             "OperatorRequests", "Certificates", "DecoyReport", "ManagerNotices", "ExportProcess"],
        ),
        ("stopped", ["HostEvents", "EventFeed", "EgressMeter", "Buses", "CanaryFiles", "LogOutput", "ExportProcess"]),
    ],
)  # fmt: skip
def test_order(host: Host, notification: str, order: list[str]) -> None:
    assert host.order(notification) == order
