"""Two running hosts that are clients of each other, with `external/messages` added and joined as the guide says."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hosts.running_host import RunningHost

MESSAGES, PROCESS = "external/messages", "external.messages"
LIMIT_S = 60.0
USED = "[send, inbox, read, acknowledge, watch, sent, outbox, retry, drop, begin_put, go_on_put, stat, read_stream]"


class JoinedMessages:
    """Hosts `kettle` and `attic`; on each the clients admin, anna, bob, eve, and the other host."""

    def __init__(self) -> None:
        self.hosts: dict[str, RunningHost] = {}
        for name, other in (("kettle", "attic"), ("attic", "kettle")):
            self.hosts[name] = RunningHost(
                clients=["anna", "bob", "eve", other],
                extra={"supervision": {"restart": {"deaths": 1000, "cap_s": 0.05}}},
            )  # fmt: skip

    def join(self, **options: Any) -> None:
        """Add messages to both, and give each the bundle and the key of the other."""
        keys = {"kettle": key_of(b"k" * 32), "attic": key_of(b"a" * 32)}
        for name, other in (("kettle", "attic"), ("attic", "kettle")):
            there = self.hosts[other]
            host = {"key": keys[other], "client": f"client/{other}", "secret": "host"}
            forwards = {"client/loop": f"client/loop@{other}"}
            values = {"name": name, "hosts": {other: host}, "retry_s": 1, "forwards": forwards, **options}
            egress = [{"to": [f"127.0.0.1:{there.port}"], "why": f"the host {other}"}]
            words = [f"--option={key}={json.dumps(value)}" for key, value in values.items()]
            words += [f"--needs=egress={json.dumps(egress)}", "--allow=client/admin: *"]
            words += [f"--allow=client/{each}: {USED}" for each in ("anna", "bob", "eve")]
            words += [f"--allow=client/{other}: [deliver, begin_put, go_on_put]"]
            added = self.hosts[name].cli("component", "add", MESSAGES, "--yes", *words)
            assert added.returncode == 0 or "secret" in added.stdout + added.stderr, added
        for name, seed in (("kettle", b"k" * 32), ("attic", b"a" * 32)):
            set_secret(self.hosts[name], "signing", seed)
        for name, other in (("kettle", "attic"), ("attic", "kettle")):
            set_secret(self.hosts[name], "host", (self.hosts[other].folder / f"{name}.tlsrt").read_bytes())
        for running in self.hosts.values():
            running.until(lambda status: state_of(status) == "active", "started messages")

    def close(self) -> None:
        for host in self.hosts.values():
            host.close()


def state_of(status: dict[str, Any]) -> str:
    return next((str(one["state"]) for one in status["loops"] if one["name"] == PROCESS), "absent")


def key_of(seed: bytes) -> str:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw().hex()


def set_secret(host: RunningHost, name: str, value: bytes, address: str = MESSAGES) -> None:
    """Set a secret as an operator does, by standard input."""
    command = host.command("secret", "set", address, name)
    done = subprocess.run(command, input=value, capture_output=True, timeout=60, cwd=host.base)
    assert done.returncode == 0, done.stderr


def until(what: Callable[[], Any], limit_s: float = LIMIT_S) -> Any:
    """Ask until it is so."""
    end = time.monotonic() + limit_s
    while not (found := what()):
        assert time.monotonic() < end, found
        time.sleep(0.02)
    return found


@contextmanager
def joined(**options: Any) -> Iterator[JoinedMessages]:
    """Start both hosts and join them."""
    made = JoinedMessages()
    try:
        for host in made.hosts.values():
            host.start()
        made.join(**options)
        yield made
    except BaseException:
        for host in made.hosts.values():
            host.print_logs()
        raise
    finally:
        made.close()
