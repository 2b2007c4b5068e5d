"""An order of a certificate whose Primary dies, or is not there yet: it is issued by the first try all the same.

A host orders while it starts, and what fails is tried again a minute later at the earliest.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hosts.late_prelude import LatePrelude
from hosts.pebble import Pebble
from hosts.running_host import RunningHost

NAME = "kettle.example.org"
# Primary is killed at a step of the order, if a file of its name is there: it is renamed, so that the test sees that.
PRELUDE = """
import os, signal
from pathlib import Path
from tlsrt.supervisor.supervision import acme_process, loops
_made = []
_init, _take, _proved = loops.Loops.__init__, acme_process.AcmeProcess.take, acme_process.AcmeProcess._proved
FLAGS = Path({flags!r})

def init(self, *given, **named):
    _init(self, *given, **named)
    _made.append(self)

def kill(step):
    if not (FLAGS / step).exists():
        return False
    (FLAGS / step).rename(FLAGS / (step + ".done"))
    os.kill(_made[0].all[0].process.child.pid, signal.SIGKILL)
    return True

def take(self, name, message, descriptors):
    if name == "challenge" and kill("away"):  # 50 ms later the authority knows that there is no door
        self._context.event_loop.call_later(0.05, lambda: _take(self, name, message, descriptors))
        return
    _take(self, name, message, descriptors)
    if name == "challenge":
        kill("asked")  # before Primary has answered, or while it does

def proved(self, job, *, is_set):
    kill("shown")
    _proved(self, job, is_set=is_set)

loops.Loops.__init__, acme_process.AcmeProcess.take, acme_process.AcmeProcess._proved = init, take, proved
"""


@pytest.fixture(scope="module")
def flags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("steps")


@pytest.fixture(scope="module")
def host(flags: Path) -> Iterator[RunningHost]:
    ca = Pebble()
    made = RunningHost(
        clients=["web"], http=["web"], extra={"acme": ca.acme(names=[NAME])},
        prelude=LatePrelude(PRELUDE.format(flags=str(flags))),
    )  # fmt: skip
    (flags / "away").touch()  # for the first order, at the start
    with ca.looking_at(tls_port=made.port), made:
        yield made


def events(host: RunningHost, name: str) -> int:
    return host.cli("events", "--json").stdout.count(f'"{name}"')


def test_a_primary_that_is_not_there_shows_the_proof_when_it_comes(host: RunningHost, flags: Path) -> None:
    host.told('"certificate_issued"')
    assert (flags / "away.done").exists() and events(host, "certificate_failed") == 0


@pytest.mark.parametrize("step", ["asked", "shown"])
def test_a_primary_that_dies_while_it_proves_is_followed_by_one_that_does(
    host: RunningHost, flags: Path, step: str
) -> None:
    host.told('"certificate_issued"')
    before = host.pids()["primary"]
    (flags / step).touch()
    renewed = host.cli("certificate", "renew")
    assert (renewed.returncode, renewed.stderr) == (0, "")
    assert (flags / f"{step}.done").exists()
    host.until(lambda status: host.pids().get("primary", before) != before, "another Primary")
    assert events(host, "certificate_failed") == 0
    assert json.loads(host.cli("certificate", "show", "--json").stdout)["acme"]["failures"] == 0


def test_a_primary_that_stands_still_is_ended_and_followed_by_one_that_proves(host: RunningHost) -> None:
    host.told('"certificate_issued"')
    host.kill("primary", signal.SIGSTOP)
    renewed = host.cli("certificate", "renew")
    assert (renewed.returncode, renewed.stderr) == (0, "")
    assert events(host, "certificate_failed") == 0


def test_a_proof_that_the_door_does_not_show_fails_the_order_with_the_reason() -> None:
    ca = Pebble()
    prelude = LatePrelude("import tlsrt.supervisor.authority.door.orders as orders; orders.TRY_MS = 0")
    host = RunningHost(clients=["web"], http=["web"], extra={"acme": ca.acme(names=[NAME])}, prelude=prelude)
    with ca.looking_at(tls_port=host.port), host:
        host.told("proving a name: the door could not show the proof: Primary did not try it in time")
