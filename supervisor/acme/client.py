"""An ACME client: orders one certificate, or asks when to renew it (RFC 8555, RFC 8737, RFC 8738, RFC 9773).

Each step is a request and its answer; how they travel, how the CA is shown a challenge and how time passes is the
shell's. What the CA says is hostile: every URL must lead to where the directory is, every list and text is bounded,
and a job makes so many requests and no more. What it sends as a certificate is judged by the authority, not here.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

from tlsrt.channels.control.acme import CHAIN_BYTES_MAX, CHAIN_MAX, Problem, Step
from tlsrt.config.acme import Origin, parse_url
from tlsrt.errors import PeerError
from tlsrt.supervisor.acme.account import AccountKey, base64url
from tlsrt.supervisor.acme.http_answer import Answer

REQUESTS_MAX = 400  # of one job: 64 names take 4 each, and some polls
NONCES_MAX = 8  # refused ones in a row; pebble refuses one in twenty on purpose
POLLS_MAX = 40
LEAST_PAUSE_S, MOST_PAUSE_S = 0.5, 15.0  # between two looks, whatever the CA wishes
AGAIN_MAX_S = 7 * 86400
_URL_MAX, _WORDS_MAX = 2048, 300
_NONCE = re.compile(r"[A-Za-z0-9_-]{1,512}")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{22,256}")  # at least 128 bits (RFC 8555, section 8.1)
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")
_JOSE, _CHAIN = "application/jose+json", "application/pem-certificate-chain"
_ERROR = "urn:ietf:params:acme:error:"
_PROBLEMS = {  # RFC 8555, section 6.7
    "rateLimited": Problem.RATE_LIMITED,
    "rejectedIdentifier": Problem.REJECTED_NAME,
    "unsupportedIdentifier": Problem.REJECTED_NAME,
    "caa": Problem.CAA,
    "serverInternal": Problem.CA_ERROR,
    "connection": Problem.NOT_PROVED,
    "dns": Problem.NOT_PROVED,
    "incorrectResponse": Problem.NOT_PROVED,
    "tls": Problem.NOT_PROVED,
    "unauthorized": Problem.NOT_PROVED,
    "accountDoesNotExist": Problem.ACCOUNT,
    "externalAccountRequired": Problem.ACCOUNT,
    "invalidContact": Problem.ACCOUNT,
    "unsupportedContact": Problem.ACCOUNT,
    "userActionRequired": Problem.ACCOUNT,
    "badNonce": Problem.NONCES,
}


class JobFailed(PeerError):
    """A job cannot go on."""

    def __init__(self, problem: Problem, words: str = "", status: int = 0, again_s: int = 0) -> None:
        super().__init__(problem.name.lower())
        self.problem = problem
        self.words = words  # the CA's own, for the log of this process
        self.status = status
        self.again_s = again_s


class Shell(Protocol):
    """What the client needs of its process. Each raises JobFailed."""

    def request(self, method: str, origin: Origin, headers: dict[str, str], body: bytes) -> Answer:
        """Make one request, over a connection of its own."""

    def show(self, name: int, token: str, authorization: str) -> None:
        """Have the challenge of a name answered from now on; return when that is so."""

    def pause(self, seconds: float) -> None:
        """Let time pass."""


class AcmeClient:
    """One job with a CA. `step` says how far it has come."""

    def __init__(self, directory: str, key: AccountKey | None, shell: Shell) -> None:
        self.step = Step.DIRECTORY
        self._directory = directory
        self._home = parse_url(directory)
        self._key = key  # only to order
        self._shell = shell
        self._account = ""
        self._nonces: list[str] = []
        self._requests = 0
        self._pause_s = 0  # as the CA wishes, until a thing is looked at again
        self._places: dict[str, Any] = {}  # the directory

    def order(self, names: Sequence[str], contact: str, request: bytes, replaces: str, kind: str) -> list[bytes]:
        """Order a certificate for a signing request; return the chain, DER. `kind` is that of the challenges."""
        self._read_directory()
        self.step = Step.ACCOUNT
        asked = {"termsOfServiceAgreed": True, **({"contact": [contact]} if contact else {})}
        answer = self._post(self._place("newAccount"), asked)
        self._account = self._same_origin(answer.headers.get("location"))
        self.step = Step.ORDER
        url, order = self._new_order(names, replaces)
        self.step = Step.AUTHORIZATION
        listed = order.get("authorizations")
        if not isinstance(listed, list) or not 0 < len(listed) <= len(names):
            raise JobFailed(Problem.BAD_ANSWER, "an order with other authorizations than names")
        for one in listed:
            self._authorize(self._same_origin(one), names, kind)
        self.step = Step.FINALIZE
        order = self._settled(url, ("pending", "processing"), self._get(url))
        if order.get("status") == "ready":
            self._post(self._same_origin(order.get("finalize")), {"csr": base64url(request)})
            order = self._settled(url, ("ready", "processing"), self._get(url))
        if order.get("status") != "valid":
            raise self._refusal(order.get("error"), 0)
        self.step = Step.CERTIFICATE
        pem = self._post(self._same_origin(order.get("certificate")), None, accept=_CHAIN).body
        return chain_of_untrusted(pem)

    def renewal_window(self, certificate: str) -> tuple[int, int, int]:
        """Return when to renew a certificate, and in how many seconds to ask again; all 0 if the CA does not say."""
        self._read_directory()
        self.step = Step.RENEWAL_INFO
        if "renewalInfo" not in self._places:
            return (0, 0, 0)
        answer = self._fetch("GET", f"{self._place('renewalInfo').rstrip('/')}/{certificate}", b"")
        if answer.status == 404:  # it does not know the certificate: another CA issued it
            return (0, 0, 0)
        window = self._json(answer).get("suggestedWindow")
        if not isinstance(window, dict):
            raise JobFailed(Problem.BAD_ANSWER, "renewal information without a window")
        start, end = _instant(window.get("start")), _instant(window.get("end"))
        if not 0 < start < end:
            raise JobFailed(Problem.BAD_ANSWER, "a window that ends before it begins")
        return start, end, _wish_s(answer)

    # -- steps -------------------------------------------------------------------------------------------------

    def _read_directory(self) -> None:
        self._places = self._json(self._fetch("GET", self._directory, b""))

    def _place(self, name: str) -> str:
        return self._same_origin(self._places.get(name))

    def _new_order(self, names: Sequence[str], replaces: str) -> tuple[str, dict[str, Any]]:
        named = [{"type": "ip" if _is_address(name) else "dns", "value": name} for name in names]
        asked: dict[str, Any] = {"identifiers": named}
        if replaces and "renewalInfo" in self._places:
            try:
                answer = self._post(self._place("newOrder"), {**asked, "replaces": replaces})
            except JobFailed as failed:  # it was replaced already, another CA's, or is not found: then a new one
                # 500: Pebble finds no certificate whose serial number has a byte 0 before a high bit in DER.
                if failed.status not in (400, 403, 404, 409, 500) or failed.problem is Problem.RATE_LIMITED:
                    raise
                answer = self._post(self._place("newOrder"), asked)
        else:
            answer = self._post(self._place("newOrder"), asked)
        return self._same_origin(answer.headers.get("location")), self._json(answer)

    def _authorize(self, url: str, names: Sequence[str], kind: str) -> None:
        self.step = Step.AUTHORIZATION
        found = self._get(url)
        if found.get("status") == "valid":
            return
        identifier = found.get("identifier")
        name = identifier.get("value") if isinstance(identifier, dict) else None
        if name not in names or found.get("status") != "pending":
            raise JobFailed(
                Problem.BAD_ANSWER, f"an authorization of {_words(name)} that is {_words(found.get('status'))}"
            )
        challenges = found.get("challenges")
        offered = [one for one in challenges if isinstance(one, dict)] if isinstance(challenges, list) else []
        challenge = next((one for one in offered if one.get("type") == kind), None)
        if challenge is None:
            raise JobFailed(Problem.NO_CHALLENGE, f"{_words(name)}: {_words([one.get('type') for one in offered])}")
        token = challenge.get("token")
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise JobFailed(Problem.BAD_ANSWER, "a challenge with a bad token")
        self.step = Step.CHALLENGE
        assert self._key is not None
        self._shell.show(names.index(name), token, f"{token}.{self._key.thumbprint}")
        self._post(self._same_origin(challenge.get("url")), {})
        found = self._settled(url, ("pending", "processing"), self._get(url))
        if found.get("status") != "valid":
            challenges = found.get("challenges")
            errors = (
                [one.get("error") for one in challenges if isinstance(one, dict)]
                if isinstance(challenges, list)
                else []
            )
            failed = self._refusal(next((one for one in errors if one), None), 0)
            raise JobFailed(
                Problem.NOT_PROVED if failed.problem is Problem.REFUSED else failed.problem, failed.words, failed.status
            )

    def _settled(self, url: str, waits: Sequence[str], found: dict[str, Any]) -> dict[str, Any]:
        """Look again until a thing has another state than those."""
        for _ in range(POLLS_MAX):
            if found.get("status") not in waits:
                return found
            self._shell.pause(min(max(self._pause_s, LEAST_PAUSE_S), MOST_PAUSE_S))
            found = self._get(url)
        raise JobFailed(Problem.TOO_SLOW, f"it stays {_words(found.get('status'))}")

    # -- requests ----------------------------------------------------------------------------------------------

    def _get(self, url: str) -> dict[str, Any]:
        answer = self._post(url, None)
        self._pause_s = _wish_s(answer)
        return self._json(answer)

    def _post(self, url: str, payload: object, accept: str = "application/json") -> Answer:
        assert self._key is not None
        for _ in range(NONCES_MAX):
            if not self._nonces:
                self._fetch("HEAD", self._place("newNonce"), b"")
            if not self._nonces:
                raise JobFailed(Problem.BAD_ANSWER, "no nonce")
            body = self._key.sign(url, self._nonces.pop(), payload, self._account)
            answer = self._fetch("POST", url, body, accept)
            if answer.status < 300:
                return answer
            failed = self._refusal(_parsed(answer.body), answer.status, _wish_s(answer))
            if failed.problem is not Problem.NONCES:
                raise failed
        raise JobFailed(Problem.NONCES)

    def _fetch(self, method: str, url: str, body: bytes, accept: str = "application/json") -> Answer:
        self._requests += 1
        if self._requests > REQUESTS_MAX:
            raise JobFailed(Problem.BAD_ANSWER, "it needs too many requests")
        headers = {"Accept": accept, **({"Content-Type": _JOSE} if body else {})}
        answer = self._shell.request(method, parse_url(self._same_origin(url)), headers, body)
        nonce = answer.headers.get("replay-nonce", "")
        if _NONCE.fullmatch(nonce):
            self._nonces = [nonce]
        if 300 <= answer.status < 400:
            raise JobFailed(
                Problem.OTHER_ORIGIN, f"it redirects to {_words(answer.headers.get('location'))}", answer.status
            )
        return answer

    def _json(self, answer: Answer) -> dict[str, Any]:
        found = _parsed(answer.body)
        if answer.status >= 300:
            raise self._refusal(found, answer.status, _wish_s(answer))
        if not isinstance(found, dict):
            raise JobFailed(Problem.BAD_ANSWER, "no JSON object", answer.status)
        return found

    def _same_origin(self, url: object) -> str:
        """Return an URL of the CA if it leads to where the directory is."""
        try:
            found = parse_url(url) if isinstance(url, str) and len(url) <= _URL_MAX else None
        except ValueError:
            found = None
        if found is None or not isinstance(url, str):
            raise JobFailed(Problem.BAD_ANSWER, f"{_words(url)} is no URL")
        if (found.host, found.port) != (self._home.host, self._home.port):
            raise JobFailed(Problem.OTHER_ORIGIN, f"it leads to {_words(url)}")
        return url

    def _refusal(self, found: object, status: int, again_s: int = 0) -> JobFailed:
        """Return what a problem document says (RFC 7807)."""
        kind = found.get("type") if isinstance(found, dict) else None
        words = _words(found.get("detail")) if isinstance(found, dict) else ""
        word = kind.removeprefix(_ERROR) if isinstance(kind, str) else ""
        problem = _PROBLEMS.get(word, Problem.CA_ERROR if status >= 500 else Problem.REFUSED)
        return JobFailed(problem, f"{_words(word)}: {words}", status, again_s)


def chain_of_untrusted(pem: bytes) -> list[bytes]:
    """Return the certificates of a PEM chain, DER. Raises JobFailed; whether they are any is not looked at."""
    found: list[bytes] = []
    for match in _PEM.finditer(pem):
        try:
            found.append(base64.b64decode(b"".join(match[1].split()), validate=True))
        except binascii.Error:
            raise JobFailed(Problem.BAD_ANSWER, "a chain that is no PEM") from None
    if not 0 < len(found) <= CHAIN_MAX or sum(map(len, found)) > CHAIN_BYTES_MAX:
        raise JobFailed(Problem.BAD_ANSWER, f"a chain of {len(found)} certificates")
    return found


def digest_of(authorization: str) -> bytes:
    """Return what tls-alpn-01 shows of a key authorization (RFC 8737, section 3)."""
    return hashlib.sha256(authorization.encode()).digest()


def _parsed(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _instant(text: object) -> int:
    """Return the seconds since 1970 of an RFC 3339 text; 0 if it is none."""
    try:
        return int(datetime.fromisoformat(text).timestamp()) if isinstance(text, str) and len(text) < 64 else 0
    except (ValueError, OverflowError):
        return 0


def _wish_s(answer: Answer) -> int:
    """Return the seconds of Retry-After; a date counts as none."""
    text = answer.headers.get("retry-after", "")
    return min(int(text), AGAIN_MAX_S) if re.fullmatch(r"[0-9]{1,9}", text) else 0


def _words(value: object) -> str:
    """Return what a CA says as one short line of printable ASCII."""
    return ascii(str(value)[:_WORDS_MAX])[:_WORDS_MAX]


def _is_address(name: str) -> bool:
    return ":" in name or re.fullmatch(r"[0-9.]+", name) is not None
