"""Scenarios of control groups on the host's real hierarchy. Run by probes.sandbox_scenarios."""

from __future__ import annotations

import json
import os
import select
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from probes.confined_child import Cell, Facts, attempt, make_profile
from tlsrt.errors import SandboxError
from tlsrt.sandbox.cgroup.cgroup import Group, GroupPath, own_place, parse_own_group, write
from tlsrt.sandbox.cgroup.tree import GroupTree, make_tree
from tlsrt.sandbox.profile.profile import group_limits, with_group
from tlsrt.sandbox.verify.attest import attest, own_namespaces
from tlsrt.supervisor.process.cgroups import ControlGroups
from tlsrt.supervisor.process.spawn import SpawnedChild, reap, spawn

TAG = "test"


def _until(true: Callable[[], bool], path: Path) -> bool:
    """Wait until it is so; the kernel marks the events file of a group whenever it changes."""
    with path.open() as file:
        poll = select.poll()
        poll.register(file, select.POLLPRI)
        while not true():
            if not poll.poll(5000):
                return False
            file.seek(0)
            file.read()
    return True


def _wait_for_ever() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while True:
        signal.pause()


def _with_orphan(writer: int) -> Callable[[], int]:
    """A child that leaves a process of another session, whose parent is gone and which no signal but KILL ends."""

    def body() -> int:
        born_in = parse_own_group(Path("/proc/self/cgroup").read_text())
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                about = {"orphan": int(os.readlink("/proc/self")), "born_in": born_in}
                os.write(writer, json.dumps(about).encode() + b"\n")
                _wait_for_ever()
            os._exit(0)
        os.wait()
        _wait_for_ever()
        return 0

    return body


@dataclass
class Again:
    """Only the descriptor of a group."""

    folder: int


def _start(group: Group | Again) -> tuple[SpawnedChild, Facts]:
    reader, writer = os.pipe()
    child = spawn(_with_orphan(writer), own_pid_namespace=False, group=group.folder)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        return child, json.loads(stream.readline())


def _end(child: SpawnedChild) -> str:
    select.select([child.pidfd], [], [])
    reason = str(reap(child))
    os.close(child.pidfd)
    return reason


def _exists(pid: object) -> bool:
    with suppress(OSError):
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    return False


def _tree(base: Path, names: Iterable[str] = ("third", "secondary")) -> GroupTree:
    profile = make_profile(base)
    return make_tree(own_place(), TAG, dict.fromkeys(names, group_limits(profile, 64)))


def _events(group: Group) -> Path:
    return group.place.folder / "cgroup.events"


def _refused(action: Callable[[], object]) -> str:
    """Let another process try; return how it is refused."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        try:
            action()
        except SandboxError as error:
            os.write(writer, error.reason.encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        reason = stream.read().decode()
    os.wait()
    return reason


def groups(base: Path) -> Facts:
    """Born in a group, frozen, killed with all descendants, proved empty, used again, removed."""
    tree = _tree(base)
    group, sibling = tree.group("third"), tree.group("secondary")
    child, facts = _start(group)
    other, others = _start(sibling)
    facts |= {"place": group.place.name, "was_empty": group.is_empty}
    group.freeze()
    facts["frozen"] = _until(lambda: group.is_frozen, _events(group))
    signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
    facts["end"] = _end(child)  # a frozen process dies all the same
    facts["orphan_outlives"] = _exists(facts["orphan"]) and not group.is_empty
    group.kill()
    facts["emptied"] = _until(lambda: group.is_empty, _events(group)) and not _exists(facts["orphan"])
    group.renew()
    again, _ = _start(group)
    facts["again"] = not group.is_empty and not group.is_frozen
    facts["sibling_lives"] = _exists(others["orphan"])
    facts["removed"] = tree.remove() and not tree.base.folder.exists()
    facts["all_dead"] = not _exists(others["orphan"])
    facts["last_ends"] = [_end(again), _end(other)]
    facts["controllers"] = sorted(tree.controllers)
    facts["missing"] = tree.missing
    return facts


def leftovers(base: Path) -> Facts:
    """A second life meets the groups of a first one that was killed, with somebody in them."""
    first = _tree(base)
    child, facts = _start(first.group("third"))
    facts["held"] = _refused(lambda: _tree(base))
    facts["held_lives"] = _exists(facts["orphan"])
    first.close()
    second = _tree(base)
    facts["gone"] = not _exists(facts["orphan"])
    facts["end"] = _end(child)
    facts["fresh"] = second.group("third").is_empty
    facts["removed"] = second.remove()
    return facts


def cleared(base: Path) -> Facts:
    """What the supervisor does after a death: kill what is left, and know when nothing is."""
    profile = make_profile(base)
    life = ControlGroups(base / "state", None)
    life.claim({"third": group_limits(profile, 64)})
    place = life.place("third")
    assert place is not None
    events = place.folder / "cgroup.events"
    child, facts = _start(Again(life.descriptor("third")))
    write(place.folder / "cgroup.freeze", "1")
    signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
    _end(child)
    facts["first_look"] = life.clear("third")
    facts["emptied"] = _until(lambda: "populated 0" in events.read_text(), events)
    facts["second_look"] = life.clear("third")
    facts["thawed"] = not (place.folder / "cgroup.freeze").read_text().startswith("1")
    again, _ = _start(Again(life.descriptor("third")))
    signal.pidfd_send_signal(again.pidfd, signal.SIGTERM)  # it ignores that
    facts["next_lives"] = reap(again) is None
    facts["sentence"], facts["enforced"] = life.sentence(), life.enforced()
    life.release()
    _end(again)
    facts["released"] = not place.folder.exists()
    facts["after"] = [life.clear("third"), life.descriptor("third"), life.place("third")]
    return facts


def attested_group(base: Path) -> Facts:
    """A confined child born in its group, one that had to move, and one that is in another."""
    own = own_namespaces()
    tree = _tree(base)
    profile = with_group(make_profile(base, sealing=True), tree.group("third").place)
    elsewhere = replace(profile, group=tree.group("secondary").place)
    nowhere = replace(profile, group=GroupPath(tree.base.folder / "nobody", "/nobody"))
    facts: Facts = {}
    for name, wanted, descriptor in (
        ("born", profile, tree.group("third").folder),
        ("moved", profile, -1),
        ("elsewhere", elsewhere, tree.group("third").folder),
        ("nowhere", nowhere, -1),
    ):
        cell = Cell(wanted, lambda _: {}, group=descriptor)
        differences = attest(cell.child.host_pid, profile, own) if cell.facts else []
        facts[name] = {"differences": differences, "layers": cell.facts.get("layers", []), "end": cell.end()}
    facts["removed"] = tree.remove()
    return facts


def escape(base: Path) -> Facts:
    """A captured Primary, which sees /sys, tries to leave its group, to end its sibling, and to widen its limits."""
    tree = _tree(base, ("primary", "third"))
    sibling, about = _start(tree.group("third"))
    place, other = tree.group("primary").place, tree.group("third").place
    attempts: dict[str, Callable[[], object]] = {
        "leave": partial(write, place.folder.parent.parent / "cgroup.procs", "0"),
        "move to the sibling": partial(write, other.folder / "cgroup.procs", "0"),
        "kill the sibling": partial(write, other.folder / "cgroup.kill", "1"),
        "freeze the sibling": partial(write, other.folder / "cgroup.freeze", "1"),
        "thaw itself": partial(write, place.folder / "cgroup.freeze", "0"),
        "widen": partial(write, place.folder / "memory.max", "max"),
        "make a group": partial(os.mkdir, place.folder / "below"),
        "remove a group": partial(os.rmdir, other.folder),
    }
    found: Facts = {}
    for sealing in (False, True):  # the mounts alone are enough, and Landlock and the filter too

        def question(_: object) -> Facts:
            return {name: attempt(action) for name, action in attempts.items()}

        profile = with_group(make_profile(base, "primary", sealing=sealing), place)
        cell = Cell(profile, question, group=tree.group("primary").folder)
        found["sealed" if sealing else "mounts"] = {name: cell.facts.get(name) for name in attempts}
        cell.end()
    found |= {"sibling_lives": _exists(about["orphan"]), "removed": tree.remove()}
    return found | {"end": _end(sibling)}


def randomness(base: Path) -> Facts:
    """What children of a supervisor that has imported everything draw: born in a group, and by the C library's fork."""
    from tlsrt.supervisor.launch.child_entries import preload_loops

    preload_loops("libzmq")
    tree = _tree(base)
    drawn: list[Facts] = []
    for descriptor in (tree.group("third").folder, tree.group("third").folder, -1, -1):
        reader, writer = os.pipe()
        child = spawn(lambda end=writer: _draw(end), group=descriptor)  # type: ignore[misc]
        os.close(writer)
        with os.fdopen(reader, "rb") as stream:
            drawn.append(json.loads(stream.readline()))
        _end(child)
    return {"drawn": drawn, "removed": tree.remove()}


def _draw(writer: int) -> int:
    import random
    import ssl

    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    key = X25519PrivateKey.generate().private_bytes_raw().hex()
    facts = {"pid": os.getpid(), "key": key, "ssl": ssl.RAND_bytes(16).hex(), "python": random.random()}
    os.write(writer, json.dumps(facts).encode() + b"\n")
    return 0


SCENARIOS: dict[str, Callable[[Path], Facts]] = {
    scenario.__name__: scenario for scenario in (groups, leftovers, cleared, attested_group, escape, randomness)
}
