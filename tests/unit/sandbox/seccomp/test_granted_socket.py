"""What may lie at the path of a granted socket, and what is left of us after acting as another uid."""

from __future__ import annotations

import os
import signal
import socket
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from probes.child_answer import answer_of

from tlsrt.sandbox import syscalls
from tlsrt.sandbox.seccomp.granted_socket import UnfitSocketError, acting_as, open_socket, unfit_reason
from tlsrt.sandbox.seccomp.made_socket import make_socket

SERVICE, OTHER = 500, 600
MODES = st.sampled_from((0o755, 0o775, 0o777, 0o1777, 0o2775, 0o1770))
IDS = st.sampled_from((0, SERVICE, OTHER))


def entry(mode: int, uid: int, gid: int, kind: int = stat.S_IFDIR) -> os.stat_result:
    return os.stat_result((kind | mode, 1, 1, 1, uid, gid, 0, 0, 0, 0))


@given(st.lists(st.tuples(MODES, IDS, IDS), min_size=1, max_size=4), IDS, IDS)
def test_none_but_root_its_owner_and_its_group_could_have_exchanged_it(
    folders: list[tuple[int, int, int]], uid: int, gid: int
) -> None:
    found = entry(0o666, uid, gid, stat.S_IFSOCK)
    reason = unfit_reason([entry(*one) for one in folders], found, ["", *"abc"[: len(folders) - 1]], {0})
    entries = [*folders[1:], (0, uid, gid)]
    for (mode, owner, group), (_, next_owner, _) in zip(folders, entries, strict=True):
        strangers = owner not in (0, uid) or (mode & 0o002) or (mode & 0o020 and group not in (0, gid))
        if strangers and (owner not in (0, uid) or not (mode & 0o1000 and next_owner == 0)):
            assert reason
    if not any(mode & 0o022 or owner not in (0, uid) for mode, owner, _ in folders):
        assert not reason


@pytest.mark.parametrize("kind", [stat.S_IFREG, stat.S_IFIFO, stat.S_IFLNK, stat.S_IFDIR, stat.S_IFCHR])
def test_it_is_a_socket_or_nothing(kind: int) -> None:
    assert unfit_reason([entry(0o755, 0, 0)], entry(0o666, 0, 0, kind), [""], {0}) == "it is no socket"


def test_links_on_the_way_are_not_followed(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        (tmp_path / "folder").symlink_to(tmp_path)
        (tmp_path / "link").symlink_to(tmp_path / "s")
        os.close(open_socket(str(tmp_path / "s"), {0, os.geteuid()}))
        with pytest.raises(UnfitSocketError, match="no socket"):
            open_socket(str(tmp_path / "link"), {0, os.geteuid()})
        for path in (tmp_path / "folder" / "s", tmp_path / "missing"):
            with pytest.raises(OSError, match=r"Not a directory|No such file"):
                open_socket(str(path), {0, os.geteuid()})
    assert len(os.listdir("/proc/self/fd")) < 200


def _standing() -> tuple[object, ...]:
    return (
        os.getresuid(), os.getresgid(), sorted(os.getgroups()), syscalls.prctl(syscalls.PR_GET_DUMPABLE),
        syscalls.signal_with_parent(), Path("/proc/self/status").read_text().count("CapEff:\t0000000000000000"),
    )  # fmt: skip


@pytest.mark.skipif(os.geteuid() != 0, reason="only root acts as another")
def test_it_is_itself_again_afterwards_in_all_that_the_kernel_changes() -> None:
    def question() -> list[object]:
        os.setgroups([0, 5])
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)
        syscalls.die_with_parent(signal.SIGUSR1)
        before = _standing()
        try:
            with acting_as(771007):
                inside = (os.getresuid(), os.getresgid(), os.getgroups())
                raise OSError("as a connect may")
        except OSError:
            pass
        return [before == _standing(), inside]

    assert answer_of(question) == repr([True, ((0, 771007, 0), (0, 771007, 0), [])])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes a socket of another uid")
def test_it_is_itself_again_after_a_socket_was_made_for_a_process() -> None:
    def question() -> list[object]:
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)
        syscalls.die_with_parent(signal.SIGUSR1)
        before = _standing()
        with make_socket(socket.AF_INET, socket.SOCK_STREAM, 771007) as made:
            owner = os.fstat(made.fileno()).st_uid
        return [before == _standing(), owner]

    assert answer_of(question) == repr([True, 771007])


def test_without_a_uid_nothing_changes() -> None:
    before = _standing()
    with acting_as(None):
        assert _standing() == before
