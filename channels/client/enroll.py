"""`tlsrt enroll`: a client's half of enrolment, from a join code to a bundle. Blocking; two short connections.

The first one asks for nothing and believes nothing: it learns which CAs the host has, and takes the one that the code
pins. The second one is verified by that CA and the host's name, and shows who has the code. What comes back is believed
only for its MAC, since the holder of the host's TLS key is not the authority.
"""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tlsrt.channels.client.address import why_unreachable
from tlsrt.channels.client.validity import server_refused
from tlsrt.channels.session.enrolment import (
    ANSWERING_MAX,
    PROTOCOL,
    EnrolmentAnswer,
    JoinCode,
    check_answer_untrusted,
    encode_message,
    parse_answering_untrusted,
    pinned_authority,
    request_mac,
)
from tlsrt.channels.tls.message_stream import StreamReader, wrap
from tlsrt.config import pki
from tlsrt.config.bundle import VERSION, Bundle, write_bundle
from tlsrt.config.files import as_config_error
from tlsrt.errors import ConfigError, PeerError, Rejected, Unavailable

_PIECE = 16 * 1024
_REFUSED = (
    "the host refused this join code: it was used, is older than 10 minutes, was not copied whole, or too many clients "
    "come from this address now; try once more in a minute, then ask for another code"
)
_NO_ENROLMENT = "the server at {where} takes no clients (the host may be locked), or is no tlsrt host"
_NOT_THE_HOST = "the server at {where} is not the host that made this join code: check the address"
_FORGED = "the answer of the authority was changed on its way, so no bundle was written: tell the operator of the host"


def check_place(path: Path) -> None:
    """Raise ConfigError if no bundle can be written there: before the code is used up."""
    if os.path.lexists(path):
        raise ConfigError(f"{path} exists, and a bundle never overwrites: name another file with --bundle FILE")
    with as_config_error("make the folder", path.parent):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not os.access(path.parent, os.W_OK):
        raise ConfigError(f"cannot write to {path.parent}: name another file with --bundle FILE")


def enroll(
    host: str, port: int, code: JoinCode, path: Path, *, server_name: str = "", timeout_s: float = 30.0
) -> Bundle:
    """Get a certificate for a new key, and write the bundle; return it. Raises ConfigError, Rejected, Unavailable."""
    check_place(path)
    end = time.monotonic() + timeout_s
    where, name = f"{host}:{port}", server_name or host
    authorities = _exchange((host, port), _context(None), name, [], end)
    if authorities[0] != "authorities":
        raise Rejected(f"the server at {where} takes no clients now: try again in a minute")
    try:
        pinned = pinned_authority(code, authorities[1][0])
    except PeerError as error:
        raise ConfigError(_NOT_THE_HOST.format(where=where)) from error
    request, key = pki.make_request()
    asking = encode_message("enrol", code.code_id, request, request_mac(code.code_id, code.secret, request))
    said, fields = _exchange((host, port), _context(pinned), name, [asking], end)
    if said != "enrolled":
        raise Rejected(_REFUSED)
    try:
        answer = check_answer_untrusted(code, request, *fields)
        if pki.subject_of_client_certificate(answer.certificate, answer.install) != f"client/{answer.name}":
            raise PeerError("enrol_name")
        if not pki.belongs_to(answer.certificate, request):
            raise PeerError("enrol_key")
    except PeerError as error:
        raise ConfigError(_FORGED) from error
    bundle = _bundle(answer, key, host, port, name)
    write_bundle(path, bundle)
    return bundle


def ends_of(bundle: Bundle) -> str:
    """Return when a bundle's certificate ends, for people."""
    from cryptography.x509 import load_pem_x509_certificate

    return f"{load_pem_x509_certificate(bundle.certificate_pem).not_valid_after_utc:%Y-%m-%d %H:%M} UTC"


def _bundle(answer: EnrolmentAnswer, key: bytes, host: str, port: int, server_name: str) -> Bundle:
    return Bundle(
        VERSION, answer.install, answer.name, host, port, server_name, pki.pem_of(answer.ca),
        pki.pem_of(answer.certificate), key, answer.issuer, answer.issuer_version,
    )  # fmt: skip


def _context(authority: bytes | None) -> ssl.SSLContext:
    """Return a context that believes this CA, or, without one, whatever is there."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols([PROTOCOL])
    if authority is None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    else:
        context.load_verify_locations(cadata=pki.pem_of(authority).decode("ascii"))
    return context


def _exchange(
    address: tuple[str, int], context: ssl.SSLContext, server_name: str, asking: list[bytes], end: float
) -> tuple[str, list[Any]]:
    """Connect, say this, and return the last message that is to be heard: with nothing to say it is the first one."""
    where = f"{address[0]}:{address[1]}"

    def left() -> float:
        return max(0.001, end - time.monotonic())

    try:
        with socket.create_connection(address, left()) as plain:
            plain.settimeout(left())
            with context.wrap_socket(plain, server_hostname=server_name) as tls:
                if tls.selected_alpn_protocol() != PROTOCOL:
                    raise Unavailable(_NO_ENROLMENT.format(where=where))
                for payload in asking:
                    tls.sendall(wrap(payload))
                return _hear(tls, 1 + len(asking), left)
    except ssl.SSLCertVerificationError as error:
        detail = error.verify_message
        raise server_refused(
            detail, where, datetime.now(UTC),
            f"the server at {where} cannot prove that it is the host of this join code ({detail}): give the address "
            "that its certificate names, or --server-name",
        ) from error  # fmt: skip
    except ssl.SSLError as error:
        if "NO_APPLICATION_PROTOCOL" in str(error).upper().replace(" ", "_"):
            raise Unavailable(_NO_ENROLMENT.format(where=where)) from error
        raise Unavailable(f"the server at {where} ended the connection ({error.reason or error})") from error
    except TimeoutError as error:
        raise Unavailable(f"no answer from {where} in time") from error
    except OSError as error:
        raise Unavailable(f"cannot reach {where}: {why_unreachable(error)}") from error
    except PeerError as error:
        raise ConfigError(f"the server at {where} does not speak {PROTOCOL} as we do ({error.reason})") from error


def _hear(tls: ssl.SSLSocket, wanted: int, left: Callable[[], float]) -> tuple[str, list[Any]]:
    """Return the message of that number, or an earlier one that refuses."""
    reader = StreamReader(ANSWERING_MAX)
    heard = 0
    while True:
        tls.settimeout(left())
        data = tls.recv(_PIECE)
        if not data:
            raise Unavailable("the server ended the connection before it answered: ask for another join code")
        for payload in reader.feed_untrusted(data):
            name, fields = parse_answering_untrusted(payload)
            heard += 1
            if heard == wanted or name == "refused":
                return name, fields
