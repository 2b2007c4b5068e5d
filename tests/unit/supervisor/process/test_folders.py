"""What a life stands on: folders, listening sockets, the start lock, uids."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import socket
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.config.components import ComponentConfig, LoopConfig
from tlsrt.config.door import DoorConfig
from tlsrt.config.schema import Config, KeySource, SandboxConfig
from tlsrt.errors import ConfigError
from tlsrt.supervisor.process.folders import make_folders, states_left_behind
from tlsrt.supervisor.process.instance_lock import AlreadyRunning, host_pid, is_held, shared_lock, take_lock
from tlsrt.supervisor.process.listeners import channel_listeners, door_listener, remove_sockets
from tlsrt.supervisor.process.logs import last_line, open_log, roomy_log
from tlsrt.supervisor.process.uids import Uids, fitting_uid_base, identify, parse_id_map


def own_uid(name: str) -> int:
    return os.geteuid()


@pytest.fixture
def config(tmp_path: Path) -> Config:
    path = tmp_path / ("long" * 30)  # longer than a socket's name may be
    return Config(
        path=path / "tlsrt.yaml",
        install_id=bytes(16),
        master_key=KeySource("file", path),
        boot_token=path,
        measure="strict",
        state_dir=path / "state",
        run_dir=path / "run",
        log_dir=path / "log",
        door=DoorConfig("127.0.0.1", 0, path, path, path),
        loops=(LoopConfig("primary"), LoopConfig("third")),
        components=(),
        policy=(),
        clients=(),
    )


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# Folders


def test_each_process_gets_its_own_private_folders(config: Config) -> None:
    make_folders(config, own_uid)
    make_folders(config, own_uid)
    for name in ("authority", "primary", "third"):
        assert mode(config.state_dir / name) == 0o700
    assert mode(config.run_dir / "channel" / "third") == 0o700
    assert mode(config.run_dir) == mode(config.state_dir) == mode(config.run_dir / "channel") == 0o711


def test_folders_belong_to_the_uid_that_will_use_them(config: Config) -> None:
    if os.geteuid() != 0:
        make_folders(config, own_uid)
        assert (config.state_dir / "third").stat().st_uid == os.geteuid()
        return
    uids = {"authority": 771000, "primary": 771001, "third": 771002}
    make_folders(config, uids.__getitem__)
    for name, uid in uids.items():
        assert (config.state_dir / name).stat().st_uid == (config.state_dir / name).stat().st_gid == uid
    (config.state_dir / "third" / "kept").write_text("x")
    with pytest.raises(ConfigError, match=r"belongs to uid 771002, but its process runs as uid 9: run `chown"):
        make_folders(config, {**uids, "third": 9}.__getitem__)


def test_state_that_a_component_left_in_the_process_of_its_loop_is_told(config: Config) -> None:
    """Primary's components had one process with it before, and their state its folder."""
    mine = ComponentConfig("primary", "mine", "mine:Mine", part="facts")
    apart = replace(config, components=(mine, ComponentConfig("third", "io", "mine:Io")))
    before, now = config.state_dir / "primary" / "mine", config.state_dir / "primary.facts" / "mine"
    before.mkdir(parents=True)
    assert states_left_behind(apart, lambda name: 7) == [], "an empty folder is no state"
    (before / "kept").write_text("x")
    assert states_left_behind(apart, lambda name: 7) == [
        f"the state of primary/mine is in {before}, and it runs in the process primary.facts now: stop tlsrt, move it "
        f"to {now}, and give it to uid 7"
    ]
    now.parent.mkdir()
    before.rename(now)
    assert states_left_behind(apart, lambda name: 7) == []


def test_a_mode_that_was_opened_up_is_closed_again(config: Config) -> None:
    make_folders(config, own_uid)
    (config.state_dir / "third").chmod(0o777)
    make_folders(config, own_uid)
    assert mode(config.state_dir / "third") == 0o700


@pytest.mark.parametrize("place", ["state/third", "run/channel/third", "log", "run", "state"])
def test_a_link_that_is_not_roots_is_never_followed(config: Config, tmp_path: Path, place: str) -> None:
    target = tmp_path / "target"
    target.mkdir(mode=0o755)
    link = config.state_dir.parent / place
    link.parent.mkdir(parents=True)
    link.symlink_to(target)
    if os.geteuid() == 0 and "third" not in place:
        os.chown(link, 771_234, 771_234, follow_symlinks=False)
    with pytest.raises(ConfigError, match="cannot use the folder"):
        make_folders(config, own_uid)
    assert mode(target) == 0o755


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a link of root's")
def test_a_link_of_roots_is_followed_where_only_root_writes(config: Config, tmp_path: Path) -> None:
    """As systemd's DynamicUser= makes of /var/lib/X."""
    target = tmp_path / "private" / "state"
    target.mkdir(parents=True, mode=0o755)
    config.state_dir.parent.mkdir(parents=True, mode=0o755)
    config.state_dir.symlink_to(target)
    make_folders(config, own_uid)
    assert mode(target) == 0o711 and (target / "third").is_dir() and config.state_dir.is_symlink()
    config.state_dir.parent.chmod(0o1777)
    with pytest.raises(ConfigError, match="cannot use the folder"):
        make_folders(config, own_uid)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives folders away")
def test_what_exists_and_is_not_empty_is_never_given_away(config: Config) -> None:
    private = config.state_dir / "third"
    private.mkdir(parents=True)
    (private / "id_rsa").write_text("a key of root's")
    with pytest.raises(ConfigError, match=r"belongs to uid 0, but its process runs as uid 771002: run `chown -R"):
        make_folders(config, {"authority": 771000, "primary": 771001, "third": 771002}.__getitem__)
    assert private.stat().st_uid == 0


def test_a_file_in_the_way_is_a_sentence(config: Config) -> None:
    config.state_dir.parent.mkdir(parents=True)
    config.state_dir.write_text("")
    with pytest.raises(ConfigError, match="cannot use the folder"):
        make_folders(config, own_uid)


def test_a_log_is_appended_to_and_never_a_link_or_fifo(config: Config, tmp_path: Path) -> None:
    make_folders(config, own_uid)
    for line in (b"one\n", b"two\n"):
        log = open_log(config, "third")
        os.write(log, line)
        os.close(log)
    assert (config.log_dir / "third.log").read_bytes() == b"one\ntwo\n"
    (config.log_dir / "primary.log").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(config.log_dir / "authority.log")
    for name in ("primary", "authority"):
        with pytest.raises(ConfigError, match=f"{name}.log"):
            open_log(config, name)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("content", "line"), [(b"", ""), (b"one\ntlsrt: two\n", "two"), (b"x" * 10_000, "x" * 500), (b"\xff\n", "\ufffd")]
)
def test_the_last_line_of_a_log_is_bounded(tmp_path: Path, content: bytes, line: str) -> None:
    path = tmp_path / "log"
    path.write_bytes(content)
    assert last_line(str(path)) == line
    assert last_line(str(tmp_path / "none")) == ""


# Listening sockets


@pytest.fixture
def sockets(config: Config) -> Iterator[dict[str, int]]:
    make_folders(config, own_uid)
    made = channel_listeners(config, own_uid)
    yield made
    for descriptor in made.values():
        os.close(descriptor)


def test_every_loop_but_primary_gets_a_socket_of_its_own(config: Config, sockets: dict[str, int]) -> None:
    assert set(sockets) == {"third"}
    path = config.run_dir / "channel" / "third" / "primary.sock"
    assert len(str(path)) > 107
    assert mode(path) == 0o600
    again = channel_listeners(config, own_uid)  # what an earlier life left is replaced
    os.close(again["third"])
    remove_sockets(config)
    remove_sockets(config)
    assert not path.exists()


def test_the_door_listens_and_a_taken_port_is_one_sentence(config: Config) -> None:
    door = door_listener(config.door)
    listener = socket.socket(fileno=door)
    port = listener.getsockname()[1]
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        pass
    with pytest.raises(ConfigError, match=f"another program already listens on 127.0.0.1:{port}: "):
        door_listener(replace(config.door, port=port))
    listener.close()
    os.close(door_listener(replace(config.door, port=port)))  # at once, in spite of TIME_WAIT


@pytest.mark.parametrize("host", ["localhost", "", "1.2.3", "::zz", "256.0.0.1"])
def test_a_name_is_no_address(config: Config, host: str) -> None:
    with pytest.raises(ConfigError, match="is not an IP address"):
        door_listener(replace(config.door, host=host))


def test_an_address_of_another_host_is_one_sentence(config: Config) -> None:
    with pytest.raises(ConfigError, match=r"this host has no address for 192.0.2.1:0"):
        door_listener(replace(config.door, host="192.0.2.1"))


# The lock


def test_the_lock_is_held_by_whoever_has_a_share(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = take_lock(path)
    assert path.read_text() == f"{host_pid()}\n"
    with shared_lock(lock):
        os.close(lock)
        with pytest.raises(AlreadyRunning, match=rf"already running here \(pid {host_pid()}\)"):
            take_lock(path, wait_s=0.05)
    os.close(take_lock(path, wait_s=0.05))


def test_nobody_gives_up_more_than_its_own_share(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = take_lock(path)
    with shared_lock(lock) as first, shared_lock(lock) as second:
        fcntl.flock(first, fcntl.LOCK_UN)
        with pytest.raises(BlockingIOError):
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(AlreadyRunning):
            take_lock(path, wait_s=0.0)
    with pytest.raises(AlreadyRunning):
        take_lock(path, wait_s=0.0)
    os.close(lock)


def test_the_lock_cannot_be_written_or_inherited(tmp_path: Path) -> None:
    lock = take_lock(tmp_path / "lock")
    with shared_lock(lock) as share:
        for descriptor in (lock, share):
            assert not os.get_inheritable(descriptor)
            assert fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
    os.close(lock)


def test_a_strange_lock_file_names_nobody(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text("not a pid\x1b[2J")
    descriptor = os.open(path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(AlreadyRunning, match="already running here: stop it"):
        take_lock(path, wait_s=0.0)
    os.close(descriptor)


# Logs


def test_a_log_that_is_half_full_is_put_aside_once(config: Config) -> None:
    make_folders(config, own_uid)
    log = open_log(config, "third")
    os.write(log, b"old" * 10)
    assert roomy_log(config, "third", log, 100) == log
    renewed = roomy_log(config, "third", log, 60)
    os.write(renewed, b"new")
    assert (config.log_dir / "third.log").read_bytes() == b"new"
    assert (config.log_dir / "third.log.1").read_bytes() == b"old" * 10
    again = roomy_log(config, "third", renewed, 2)
    assert (config.log_dir / "third.log.1").read_bytes() == b"new"
    os.close(again)


def test_a_log_that_cannot_be_put_aside_stays(config: Config) -> None:
    make_folders(config, own_uid)
    log = open_log(config, "third")
    os.write(log, b"old")
    (config.log_dir / "third.log.1").mkdir()
    assert roomy_log(config, "third", log, 2) == log
    os.write(log, b"er")
    assert (config.log_dir / "third.log").read_bytes() == b"older"
    os.close(log)


# Uids

ROOT = [range(4294967295)]


def test_as_root_everyone_has_a_uid_of_its_own(config: Config) -> None:
    identity = identify(config, 0, ROOT)
    assert not identity.rootless
    assert [identity.uid(name) for name in ("authority", "primary", "third", "learner")] == [*range(771000, 771004)]
    assert identity.all_uids() == range(771000, 771004)


@pytest.mark.parametrize(("uid", "mapped"), [(1000, ROOT), (0, [range(1)]), (1000, [range(1000, 1001)])])
def test_without_root_everyone_has_ours(config: Config, uid: int, mapped: list[range]) -> None:
    identity = identify(config, uid, mapped)
    assert identity == Uids(True, uid, 771000)
    assert {identity.uid(name) for name in ("authority", "primary", "third")} == {uid}


def test_a_container_without_these_uids_is_one_sentence(config: Config) -> None:
    with pytest.raises(ConfigError, match="the uids 771000 to 771003 do not exist in this user namespace"):
        identify(config, 0, [range(65536)])


@pytest.mark.parametrize(
    ("mapped", "base"),
    [
        (ROOT, 771000),
        ([range(65536)], 64512),
        ([range(1), range(100000, 165536)], 164512),
        ([range(771000, 772000)], 771000),
        ([range(2000)], None),
        ([range(1)], None),
        ([], None),
    ],
)
def test_a_uid_base_that_exists_in_the_container(mapped: list[range], base: int | None) -> None:
    assert fitting_uid_base(mapped, 771000) == base


def test_who_waived_uids_of_their_own_has_one_for_all(config: Config) -> None:
    waived = replace(config, sandbox=SandboxConfig(waive={"uid": "no CAP_SETUID"}))
    identity = identify(waived, 0, ROOT)
    assert identity.rootless and {identity.uid(name) for name in ("authority", "third")} == {0}


@given(st.lists(st.tuples(st.integers(0, 2**32), st.integers(0, 2**32), st.integers(1, 2**32)), max_size=5))
def test_a_uid_map_is_read_as_the_kernel_writes_it(lines: list[tuple[int, int, int]]) -> None:
    text = "".join(f"{inside:>10} {outside:>10} {length:>10}\n" for inside, outside, length in lines)
    assert parse_id_map(text) == [range(inside, inside + length) for inside, _, length in lines]


def test_a_fifo_in_the_place_of_the_lock_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "lock")
    asked = multiprocessing.get_context("fork").Process(target=is_held, args=(tmp_path / "lock",))
    asked.start()
    asked.join(10)
    try:
        assert asked.exitcode == 0
    finally:
        asked.kill()
