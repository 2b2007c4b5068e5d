"""A real IMAP server of 127.0.0.1 (dovecot 2.4) with a folder of its own, as an unprivileged user."""

from __future__ import annotations

import os
import shutil
import signal
import ssl
import subprocess
import tempfile
import time
from pathlib import Path

from hosts.running_host import free_port
from tools.programs import need

from fakes.own_certificate import server_context

USER, PASSWORD = "house@example.org", "correct horse"
NOBODY = 65534
_CONFIGURATION = """
dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0
base_dir = {folder}/run
state_dir = {folder}/state
protocols = imap
listen = 127.0.0.1
log_path = {folder}/log
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
mail_driver = maildir
mail_home = {folder}/mail/%{{user}}
mail_path = {folder}/mail/%{{user}}/Maildir
mail_uid = {user}
mail_gid = {group}
first_valid_uid = 0
first_valid_gid = 0
ssl = required
ssl_server_cert_file = {folder}/ca.pem
ssl_server_key_file = {folder}/key.pem
imap_capability {{
  IDLE = {idle}
}}
namespace inbox {{
  inbox = yes
  mailbox Done {{
    auto = create
  }}
}}
passdb static {{
  password = {password}
}}
userdb static {{
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    port = {port}
    ssl = yes
  }}
}}
"""


class ImapServer:
    """Serves until closed; `folder` has the certificate `ca.pem`, which who trusts it reads."""

    def __init__(self, *, has_idle: bool = True) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tlsrt-imap."))
        self.folder.chmod(0o755)
        self.context: ssl.SSLContext = server_context(self.folder)
        self.port = free_port()
        self._ids = {"user": NOBODY, "group": NOBODY, "extra_groups": ()} if os.getuid() == 0 else {}
        user, group = ("nobody", "nogroup") if os.getuid() == 0 else _own_names()
        for name in ("run", "state", "mail"):
            (self.folder / name).mkdir()
        text = _CONFIGURATION.format(
            folder=self.folder, user=user, group=group, port=self.port, password=PASSWORD,
            idle="yes" if has_idle else "no",
        )  # fmt: skip
        if has_idle:
            text = text.replace("imap_capability {\n  IDLE = yes\n}\n", "")
        self.configuration = self.folder / "dovecot.conf"
        self.configuration.write_text(text)
        if os.getuid() == 0:
            for path in (self.folder, *self.folder.iterdir()):
                os.chown(path, NOBODY, NOBODY)
        self.open()

    def open(self) -> None:
        """Serve, at the same port as before."""
        command = [need("dovecot"), "-F", "-c", str(self.configuration)]
        self._process = subprocess.Popen(command, start_new_session=True, **self._ids)  # type: ignore[call-overload]
        end = time.monotonic() + 30
        while not (self.folder / "run/auth-userdb").exists() or not self._says_hello():
            assert self._process.poll() is None and time.monotonic() < end, self.log()
            time.sleep(0.02)

    def _says_hello(self) -> bool:
        import socket

        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    def put(self, mail: bytes, user: str = USER) -> None:
        """Put a mail into the inbox, as a delivery does."""
        self._doveadm("save", "-u", user, input=mail)

    def count(self, folder: str = "INBOX", flag: str = "ALL") -> int:
        """Return how many mails a folder has, of those with a flag such as SEEN."""
        said = self._doveadm("search", "-u", USER, "mailbox", folder, flag)
        return len(said.splitlines())

    def renumber(self) -> None:
        """Give all mails of the inbox other UIDs, and another UIDVALIDITY."""
        for file in (self.folder / "mail" / USER / "Maildir").glob("dovecot*"):
            file.unlink()

    def log(self) -> str:
        """Return what it has logged."""
        file = self.folder / "log"
        return file.read_text() if file.exists() else ""

    def _doveadm(self, *words: str, input: bytes = b"") -> str:
        command = ["/usr/bin/doveadm", "-c", str(self.configuration), *words]
        done = subprocess.run(command, input=input, capture_output=True, timeout=60, **self._ids)  # type: ignore[call-overload]
        assert done.returncode == 0, done.stderr
        return str(done.stdout.decode())

    def stop(self) -> None:
        """Be away."""
        os.killpg(self._process.pid, signal.SIGTERM)  # by itself the master waits for a client that is idle
        self._process.wait(30)

    def close(self) -> None:
        """End it, with all that it has kept."""
        self.stop()
        shutil.rmtree(self.folder)


def _own_names() -> tuple[str, str]:
    import grp
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name
