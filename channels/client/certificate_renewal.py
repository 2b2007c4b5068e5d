"""Certificate renewal of a running client: in time, or from its file if another process was faster. asyncio.

It lives in the bundle's file: the new key is on the disk before the old one is given up. A client that was made of a
Bundle, without a file, keeps what it has. What reads certificates is imported late, as most commands end before.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

from tlsrt.channels.client.connection import ServerConnection
from tlsrt.channels.session.opening import ClientIdentity
from tlsrt.config.bundle import Bundle, can_follow, follow_certificate, read_bundle
from tlsrt.errors import ConfigError, Denied, PeerError, TlsrtError, Unavailable

_log = logging.getLogger("tlsrt.client")
FIRST_CHECK_S = 5.0  # after the session was opened
CHECK_S = 86_400.0  # a timer counts no suspended time, so the clock is read once a day
RENEW_S = 10.0  # for an answer

Renew = Callable[[], Awaitable[None]]  # on the session of then


class CertificateRenewal:
    """The certificate of one client. `take` makes it use another bundle from the next connection on."""

    def __init__(self, path: Path | None, take: Callable[[Bundle], None]) -> None:
        self._path = path
        self._take = take
        self._task: asyncio.Task[None] | None = None

    def watch(self, bundle: Bundle, renew: Renew) -> None:
        """Renew when two thirds of the certificate's life have passed, and again while it fails."""
        self.stop()
        if self._path is not None:
            self._task = asyncio.get_running_loop().create_task(self._watch(bundle, renew))

    def stop(self) -> None:
        """Renew no more."""
        if self._task is not None:
            self._task.cancel()
        self._task = None

    async def _watch(self, bundle: Bundle, renew: Renew) -> None:
        await asyncio.sleep(FIRST_CHECK_S)
        from tlsrt.channels.session.certificate_renewal import due_in_s, retry_in_s

        certificate = ssl.PEM_cert_to_DER_cert(bundle.certificate_pem.decode("ascii"))
        chance = random.random()  # noqa: S311 - no secret
        while (due_s := due_in_s(certificate, datetime.now(UTC), chance)) > 0:
            await asyncio.sleep(min(due_s, CHECK_S))
        while True:
            try:
                await renew()
                return
            except TlsrtError as error:
                _log.warning("the client's certificate could not be renewed, and this is tried again: %s", error)
            await asyncio.sleep(min(retry_in_s(certificate, datetime.now(UTC)), CHECK_S))

    async def renew(
        self, link: ServerConnection, identity: ClientIdentity, bundle: Bundle, boot: bytes, session: bytes
    ) -> None:
        """Get another certificate over a session, and put it into the file. Raises Denied, Unavailable, ConfigError."""
        from tlsrt.channels.session.certificate_renewal import Renewing

        if self._path is None or not can_follow(self._path):
            raise ConfigError(f"the bundle {self._path or 'of this client'} cannot be written, so it cannot be renewed")
        renewing = Renewing(identity.private_key, identity.certificate, identity.install, boot, session)
        try:
            certificate, signature = await asyncio.wait_for(link.renew(renewing.request, renewing.signature), RENEW_S)
        except TimeoutError as error:
            raise Unavailable("the host did not answer in time") from error
        if not certificate:
            raise Denied("the host gives this client no other certificate now: its operator can, by `client renew`")
        try:
            found = renewing.accept_untrusted(link.issuer.key, certificate, signature)
        except PeerError as error:
            raise ConfigError(f"the certificate that came is not from the authority ({error.reason})") from error
        follow_certificate(self._path, bundle.certificate_pem, found.certificate_pem, found.key_pem)
        self.adopt(bundle)

    def adopt(self, bundle: Bundle) -> bool:
        """Use what is in the file, if it has another certificate by now; tell whether it has."""
        if self._path is None:
            return False
        try:
            found = read_bundle(self._path)
            if found.install_id != bundle.install_id or found.certificate_pem == bundle.certificate_pem:
                return False
            self._take(found)
        except TlsrtError:
            return False
        return True
