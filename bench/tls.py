"""The rows `tls-*`: TLS servers that are up, and the load client that drives each of them."""

from __future__ import annotations

import json
import select
import socket
import ssl
import subprocess
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bench.host import free_port
from bench.processes import child, cpu_ns, tree, wait_until
from bench.programs import c_program
from bench.row import Case, PeerMissing, Sample

GROUP = "X25519MLKEM768" if ssl.OPENSSL_VERSION_INFO >= (3, 5) else "X25519"
ANSWER_S = 40.0  # beyond a burst: opening a thousand connections takes a while
NAME = "localhost"


@dataclass(frozen=True, slots=True)
class Files:
    """An ECDSA P-256 certificate for localhost that signs itself: server, client and client CA in one."""

    certificate: Path
    key: Path
    both: Path


def make_files(folder: Path) -> Files:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = Files(folder / "certificate.pem", folder / "key.pem", folder / "both.pem")
    public = certificate.public_bytes(Encoding.PEM)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for path, text in ((files.certificate, public), (files.key, private), (files.both, public + private)):
        path.touch(0o600)
        path.write_bytes(text)
    return files


class Load:
    """The load client on one port; see c/tls_load.c for its orders."""

    def __init__(self, process: subprocess.Popen[bytes], errors: Path) -> None:
        self._process = process
        self._errors = errors
        self._open = 0

    def order(self, line: str, data: bytes = b"", patience_s: float = ANSWER_S) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line.encode() + b"\n" + data)
        self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], patience_s)[0]:
            raise RuntimeError("the load client hangs")
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(self._errors.read_text()[-200:].strip() or "the load client has ended")
        found: dict[str, Any] = json.loads(answer)
        return found

    def bytes(self, count: int) -> bytes:
        """Return the bytes that follow an answer."""
        assert self._process.stdout is not None
        return self._process.stdout.read(count)

    def open(self, connections: int) -> None:
        """Have so many connections open."""
        if connections > self._open:
            found = self.order(f"open {connections}")
            self._open = connections
            if found["group"] != GROUP:
                raise RuntimeError(f"negotiates {found['group']}, not {GROUP}")


@contextmanager
def load_client(port: int, protocol: str, errors: Path, alpn: str = "", files: Files | None = None) -> Iterator[Load]:
    argv = [str(c_program("tls_load")), str(port), protocol, GROUP, alpn or "-"]
    if files is not None:
        argv += [str(files.certificate), str(files.key)]
    with child(argv, talk=True, listen=True, errors=errors) as process:
        yield Load(process, errors)


class TlsSubject:
    """One server, with a load client for its plain and one for its mutual port."""

    def __init__(self, plain: Load, mutual: Load | None, pids: Collection[int]) -> None:
        self._clients = {"plain": plain, "mutual": mutual}
        self.pids = pids

    def burst(self, case: Case, seconds: float) -> Sample:
        if "parallel" in case.options:
            return self._handshakes(case, seconds)
        client = self._clients["plain"]
        assert client is not None
        connections = case.number("connections")
        client.open(connections)
        before = cpu_ns(self.pids)
        found = client.order(f"requests {connections} {case.number('size')} {seconds}", patience_s=seconds + ANSWER_S)
        used = cpu_ns(self.pids) - before
        return {
            "rate": found["count"] / found["seconds"],
            "p50_us": found["p50_us"],
            "p99_us": found["p99_us"],
            "cpu_us": used / 1000 / found["count"],
        }

    def _handshakes(self, case: Case, seconds: float) -> Sample:
        client = self._clients[case.word("how")]
        assert client is not None
        before = cpu_ns(self.pids)
        found = client.order(f"handshakes {case.number('parallel')} {seconds}", patience_s=seconds + ANSWER_S)
        used = cpu_ns(self.pids) - before
        if not found["count"] or found["failed"] or found["group"] != GROUP:
            raise RuntimeError(f"{found['count']} handshakes, {found['failed']} failed, group {found['group']}")
        return {"rate": found["count"] / found["seconds"], "cpu_us": used / 1000 / found["count"]}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server is to be: its folder, its files, and the two ports."""

    folder: Path
    files: Files
    port: int
    mutual_port: int

    @property
    def errors(self) -> Path:
        return self.folder / "errors"


Start = Callable[[Place, ExitStack], list["subprocess.Popen[bytes]"]]


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def opened(start: Start, protocol: str, alpn: str = "") -> Callable[[Path], AbstractContextManager[TlsSubject]]:
    """Return what starts a server and its load clients; `start` gives the processes whose CPU is the server's."""

    @contextmanager
    def open_server(folder: Path) -> Iterator[TlsSubject]:
        c_program("tls_load")
        place = Place(folder, make_files(folder), free_port(), free_port())
        with ExitStack() as stack:
            processes = start(place, stack)

            def ready() -> bool:
                ended = [process for process in processes if process.poll() is not None]
                if ended:
                    raise PeerMissing(f"does not start: {place.errors.read_text()[-300:].strip()}")
                return listens(place.port) and listens(place.mutual_port)

            wait_until(ready, "listening")
            plain = stack.enter_context(load_client(place.port, protocol, place.errors, alpn))
            mutual = stack.enter_context(load_client(place.mutual_port, protocol, place.errors, alpn, place.files))
            yield TlsSubject(plain, mutual, [pid for process in processes for pid in tree(process.pid)])

    return open_server
