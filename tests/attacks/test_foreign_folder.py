"""Attacked sentence: root's commands neither run, change nor believe what another user has laid out."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml
from hosts.running_host import RunningHost
from probes.sandbox_runner import MODES, NOBODY, become, become_nobody

from tlsrt.config.trusted_path import trusted_uids
from tlsrt.supervisor.control.client import ControlClient, ControlRefused
from tlsrt.supervisor.process.unix_path import CONTROL_SOCKET

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="root's commands are tested")
STRANGER = 771_999


def command(*words: str | Path, cwd: Path) -> tuple[int, str]:
    """Run `tlsrt-supervisor` as root; return its exit code and what it says."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TLSRT")}
    done = subprocess.run(
        [sys.executable, "-m", "tlsrt", "supervisor", *map(str, words)],
        cwd=cwd, capture_output=True, text=True, timeout=30, env=environment,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def theirs() -> Iterator[RunningHost]:
    """A host of another user, which is not started. Its configuration names folders of root's."""
    host = RunningHost(mode="rootless")
    try:
        yield host
    finally:
        host.close()


@pytest.fixture
def roots(theirs: RunningHost, tmp_path: Path) -> Path:
    """Root's own folder, with a key in it, which the other user names as the state folder of the host."""
    folder = tmp_path / "root"
    (folder / "secondary").mkdir(parents=True, mode=0o755)
    (folder / "secondary" / "id_rsa").write_text("secret")
    document = yaml.safe_load(theirs.config_path.read_text())
    document["state_dir"] = str(folder)
    theirs.config_path.write_text(yaml.safe_dump(document))
    return folder


def listed(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.lstat().st_uid, path.lstat().st_mode) for path in (folder, *folder.rglob("*"))}


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("verb", ["start", "seal"])
def test_nothing_is_run_or_changed_by_a_configuration_of_another_user(
    theirs: RunningHost, roots: Path, tmp_path: Path, verb: str, named: bool
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "var").symlink_to(theirs.folder)
    before = listed(roots), listed(theirs.folder)
    code, said = command(verb, *(["--config", "var/tlsrt.yaml"] if named else []), cwd=here)
    assert code == 78
    wanted = "could be exchanged by another user" if named else "root takes no configuration from the folder it stan"
    assert wanted in said and said.count("\n") == 1
    assert (listed(roots), listed(theirs.folder)) == before


def serve(folder: Path, prepare: Callable[[], None]) -> tuple[int, int]:
    """Fork a process that answers at a control socket after `prepare`; return its pid and a pipe that ends it."""
    reader, writer = os.pipe()
    ready, say = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(writer)
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(folder / CONTROL_SOCKET))
        prepare()
        server.listen()
        os.write(say, b".")
        os.read(reader, 1)
        os._exit(0)
    os.close(reader)
    assert os.read(ready, 1) == b"."
    os.close(ready)
    os.close(say)
    return pid, writer


def test_a_server_of_another_user_is_not_asked(tmp_path: Path) -> None:
    """The peer is who called listen(2), unix(7)."""
    pid, writer = serve(tmp_path, lambda: os.setresuid(STRANGER, STRANGER, STRANGER))
    try:
        with pytest.raises(ControlRefused, match=rf"nothing was asked: what answers at .* runs as uid {STRANGER}"):
            ControlClient(tmp_path)
    finally:
        os.close(writer)
        os.waitpid(pid, 0)


def test_a_run_folder_of_another_user_is_not_believed(tmp_path: Path) -> None:
    """Who may write where root's configuration puts the run folder could make it first, with a server in it."""
    folder = tmp_path / "run"
    folder.mkdir()
    os.chown(folder, STRANGER, STRANGER)
    pid, writer = serve(folder, lambda: os.setresuid(STRANGER, STRANGER, STRANGER))
    try:
        with pytest.raises(ControlRefused, match=f"nothing was asked: .* belongs to uid {STRANGER}, and not to root"):
            ControlClient(folder)
        code, said = command("status", "--config", roots_configuration(tmp_path, folder), cwd=tmp_path)
        assert code == 77 and "nothing was asked" in said and said.count("\n") == 1
    finally:
        os.close(writer)
        os.waitpid(pid, 0)


def roots_configuration(folder: Path, run_dir: Path) -> Path:
    """Make a host of root's whose run folder is another one."""
    code, said = command("init", folder / "host", cwd=folder)
    assert code == 0, said
    path = folder / "host" / "tlsrt.yaml"
    document = yaml.safe_load(path.read_text())
    document["run_dir"] = str(run_dir)
    path.write_text(yaml.safe_dump(document))
    return path


def test_root_operates_a_host_of_another_user() -> None:
    with RunningHost(mode=MODES[-1]) as host:
        code, said = command("status", "--config", host.config_path, cwd=host.base)
        assert code == 0 and "primary" in said
        code, said = command("stop", "--config", host.config_path, cwd=host.base)
        assert code == 0 and "has stopped" in said


SERVER = """
import os, sys
from pathlib import Path
from tlsrt.supervisor.control.peer_credentials import is_kin
from tlsrt.supervisor.control.server import ControlSocket
from tlsrt.supervisor.launch.launcher import inner
from tlsrt.supervisor.process.event_loop import EventLoop
from tlsrt.supervisor.supervision.feature import ControlVerb
def live(arguments):
    loop = EventLoop()
    verbs = {"status": ControlVerb(lambda request, answer: answer({"up": 1}))}
    ControlSocket(loop, Path(arguments[-1]), verbs, is_kin=lambda pid: is_kin(pid, []))
    print(os.getpid(), os.geteuid(), flush=True)
    while True:
        loop.run_once()
inner(live)
"""
LAUNCH = """
import sys
from tlsrt.supervisor.launch.launcher import launch
sys.exit(launch(sys.argv[2:], program=sys.argv[1]))
"""


def test_strangers_command_no_host_also_where_they_have_the_number_of_root() -> None:
    """In the user namespace of a host without root, both are seen as the overflow uid."""
    folder = Path(tempfile.mkdtemp(prefix="tlsrt.control."))
    folder.chmod(0o755)
    os.chown(folder, NOBODY, NOBODY)
    try:
        with subprocess.Popen(
            [sys.executable, "-I", "-B", "-c", LAUNCH, SERVER, str(folder)], stdout=subprocess.PIPE,
            preexec_fn=become_nobody,
        ) as process, ExitStack() as stack:  # fmt: skip
            stack.callback(process.terminate)  # also when an assertion fails, as the end of the block waits for it
            assert process.stdout is not None and process.stdout.readline() == b"1 0\n", "in namespaces of its own"
            with ControlClient(folder, trusted_uids(NOBODY)) as client:
                assert client.ask("status") == {"up": 1}, "root"
            assert '"up"' in _asked_by(NOBODY, folder / CONTROL_SOCKET), "who started it"
            assert _asked_by(STRANGER, folder / CONTROL_SOCKET) == "cannot connect"
            (folder / CONTROL_SOCKET).chmod(0o666)  # a mistake of its owner, who then commands it alone
            assert '"denied"' in _asked_by(STRANGER, folder / CONTROL_SOCKET)
            assert '"up"' in _asked_by(NOBODY, folder / CONTROL_SOCKET)
    finally:
        shutil.rmtree(folder)


def _asked_by(uid: int, path: Path) -> str:
    """Return what a process of another user is told."""
    program = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.settimeout(5)\n"
        "try: s.connect(sys.argv[1])\n"
        "except PermissionError: sys.exit(print('cannot connect'))\n"
        'try: s.sendall(b\'{"verb": "status"}\\n\'); print(s.recv(99))\n'
        "except ConnectionError: print('\"denied\"')"  # it was closed before the question had left
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, str(path)], capture_output=True, text=True, timeout=20, check=True,
        preexec_fn=lambda: become(uid),
    )  # fmt: skip
    return done.stdout.strip()
