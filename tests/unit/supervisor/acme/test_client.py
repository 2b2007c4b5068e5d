"""The ACME client against answers of a hostile CA. What an honest one says is pebble's part (test_acme.py)."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.channels.control.acme import CHAIN_MAX, Problem, Step
from tlsrt.config.acme import Origin
from tlsrt.supervisor.acme.account import AccountKey
from tlsrt.supervisor.acme.client import NONCES_MAX, POLLS_MAX, AcmeClient, JobFailed, chain_of_untrusted
from tlsrt.supervisor.acme.http_answer import Answer
from tlsrt.supervisor.authority.door.issued_chain import der_of

CA = "https://ca.example.org"
KEY = AccountKey(der_of(ec.derive_private_key(7, ec.SECP256R1())))
TOKEN = "t" * 43
NONCE = {"replay-nonce": "abc"}
PEM = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
PLACES: dict[str, Any] = {
    "/dir": {name: f"{CA}/{name}" for name in ("newNonce", "newAccount", "newOrder", "renewalInfo")},
    "/newNonce": {}, "/newAccount": {},
    "/newOrder": {"status": "pending", "authorizations": [f"{CA}/authz"], "finalize": f"{CA}/fin"},
    "/authz": {
        "status": "pending", "identifier": {"type": "dns", "value": "a.example.org"},
        "challenges": [{"type": "tls-alpn-01", "url": f"{CA}/chall", "token": TOKEN}],
    },
    "/chall": {}, "/fin": {},
}  # fmt: skip


class ScriptedCA:
    """Answers as PLACES says, but where a test says otherwise; it is the shell, too."""

    def __init__(self, changes: dict[str, Any]) -> None:
        self.answers = {**PLACES, **changes}
        self.asked: list[str] = []
        self.orders: list[dict[str, Any]] = []  # what was asked of /newOrder
        self.shown: list[str] = []
        self.paused: list[float] = []

    def request(self, method: str, origin: Origin, headers: dict[str, str], body: bytes) -> Answer:
        assert (origin.host, origin.port) == ("ca.example.org", 443)
        self.asked.append(origin.path)
        if origin.path == "/newOrder":
            said = json.loads(body)["payload"]
            self.orders.append(json.loads(base64.urlsafe_b64decode(said + "=" * (-len(said) % 4))))
        found = self.answers.get(origin.path, {})
        if callable(found):
            found = found(self)
        if isinstance(found, Answer):
            return found
        return Answer(200, {**NONCE, "location": f"{CA}/order"}, json.dumps(found).encode())

    def show(self, name: int, token: str, authorization: str) -> None:
        self.shown.append(authorization)

    def pause(self, seconds: float) -> None:
        self.paused.append(seconds)


def order(changes: dict[str, Any], names: tuple[str, ...] = ("a.example.org",)) -> tuple[JobFailed, Step, ScriptedCA]:
    ca = ScriptedCA(changes)
    client = AcmeClient(f"{CA}/dir", KEY, ca)
    with pytest.raises(JobFailed) as caught:
        client.order(names, "", b"csr", "", "tls-alpn-01")
    return caught.value, client.step, ca


def settled(ca: ScriptedCA) -> dict[str, Any]:
    return {**PLACES["/authz"], "status": "valid" if ca.shown else "pending"}


def test_an_order_that_succeeds() -> None:
    def state(ca: ScriptedCA) -> dict[str, Any]:
        status = "valid" if "/fin" in ca.asked else "ready"
        return {"status": status, "finalize": f"{CA}/fin", "certificate": f"{CA}/cert"}

    ca = ScriptedCA({"/authz": settled, "/order": state, "/cert": Answer(200, NONCE, PEM)})
    assert AcmeClient(f"{CA}/dir", KEY, ca).order(["a.example.org"], "", b"csr", "", "tls-alpn-01") == [b"\0\0\0"]
    assert ca.shown == [f"{TOKEN}.{KEY.thumbprint}"]


OTHER = "https://127.0.0.1/steal"


@pytest.mark.parametrize(
    ("path", "answer", "problem", "step"),
    [
        ("/dir", Answer(302, {"location": OTHER}, b""), Problem.OTHER_ORIGIN, Step.DIRECTORY),
        ("/dir", Answer(200, {}, b"[]"), Problem.BAD_ANSWER, Step.DIRECTORY),
        ("/dir", Answer(200, {}, b"[" * 100_000), Problem.BAD_ANSWER, Step.DIRECTORY),
        ("/dir", {"newNonce": f"{CA}/newNonce"}, Problem.BAD_ANSWER, Step.ACCOUNT),
        ("/dir", {**PLACES["/dir"], "newAccount": OTHER}, Problem.OTHER_ORIGIN, Step.ACCOUNT),
        ("/dir", {**PLACES["/dir"], "newAccount": "http://ca.example.org/x"}, Problem.BAD_ANSWER, Step.ACCOUNT),
        ("/dir", {**PLACES["/dir"], "newAccount": f"{CA}:8443/x"}, Problem.OTHER_ORIGIN, Step.ACCOUNT),
        ("/dir", {**PLACES["/dir"], "newAccount": f"{CA}@127.0.0.1/x"}, Problem.BAD_ANSWER, Step.ACCOUNT),
        ("/dir", {**PLACES["/dir"], "newAccount": f"{CA}/x\r\nHost: y"}, Problem.BAD_ANSWER, Step.ACCOUNT),
        ("/newAccount", Answer(200, {**NONCE, "location": OTHER}, b"{}"), Problem.OTHER_ORIGIN, Step.ACCOUNT),
        ("/newOrder", {"authorizations": []}, Problem.BAD_ANSWER, Step.AUTHORIZATION),
        ("/newOrder", {"authorizations": [f"{CA}/authz"] * 2}, Problem.BAD_ANSWER, Step.AUTHORIZATION),
        ("/newOrder", {"authorizations": [OTHER]}, Problem.OTHER_ORIGIN, Step.AUTHORIZATION),
        ("/authz", {"status": "pending", "identifier": {"value": "b.example.org"}}, Problem.BAD_ANSWER,
         Step.AUTHORIZATION),
        ("/authz", {**PLACES["/authz"], "challenges": [{"type": "dns-01"}, 3]}, Problem.NO_CHALLENGE,
         Step.AUTHORIZATION),
        ("/authz", {**PLACES["/authz"], "challenges": [{"type": "tls-alpn-01", "token": "../x"}]}, Problem.BAD_ANSWER,
         Step.AUTHORIZATION),
        ("/authz", PLACES["/authz"], Problem.TOO_SLOW, Step.CHALLENGE),
        ("/order", {"status": "invalid"}, Problem.REFUSED, Step.FINALIZE),
        ("/order", {"status": "valid", "certificate": OTHER}, Problem.OTHER_ORIGIN, Step.CERTIFICATE),
        ("/order", {"status": "valid", "certificate": f"{CA}/fin"}, Problem.BAD_ANSWER, Step.CERTIFICATE),
    ],
)  # fmt: skip
def test_a_hostile_ca_ends_the_job(path: str, answer: object, problem: Problem, step: Step) -> None:
    failed, found, ca = order({"/authz": settled, path: answer})
    assert (failed.problem, found) == (problem, step)
    assert len(ca.asked) < 2 * POLLS_MAX


@pytest.mark.parametrize(
    ("kind", "status", "problem"),
    [
        ("rateLimited", 429, Problem.RATE_LIMITED),
        ("rejectedIdentifier", 400, Problem.REJECTED_NAME),
        ("externalAccountRequired", 401, Problem.ACCOUNT),
        ("somethingNew", 400, Problem.REFUSED),
        ("somethingNew", 503, Problem.CA_ERROR),
    ],
)
def test_what_the_ca_refuses_has_a_word(kind: str, status: int, problem: Problem) -> None:
    body = json.dumps({"type": f"urn:ietf:params:acme:error:{kind}", "detail": "\x1b[31mred\n"}).encode()
    failed, _, _ = order({"/newOrder": Answer(status, {**NONCE, "retry-after": "77"}, body)})
    assert (failed.problem, failed.status, failed.again_s) == (problem, status, 77)
    assert failed.words.isprintable()


def test_refused_nonces_are_replaced_and_bounded() -> None:
    body = json.dumps({"type": "urn:ietf:params:acme:error:badNonce"}).encode()
    failed, _, ca = order({"/newOrder": Answer(400, NONCE, body)})
    assert failed.problem is Problem.NONCES and ca.asked.count("/newOrder") == NONCES_MAX


def refusing(status: int, kind: str) -> Callable[[ScriptedCA], Any]:
    """Return a CA's answer to orders: it refuses those that say what they replace."""
    problem = json.dumps({"type": f"urn:ietf:params:acme:error:{kind}", "detail": "no"}).encode()
    return lambda ca: Answer(status, NONCE, problem) if "replaces" in ca.orders[-1] else PLACES["/newOrder"]


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "malformed"), (403, "unauthorized"), (404, "malformed"), (409, "alreadyReplaced"), (500, "serverInternal")],
)
def test_a_certificate_that_the_ca_does_not_replace_is_ordered_as_a_new_one(status: int, kind: str) -> None:
    ca = ScriptedCA({"/newOrder": refusing(status, kind), "/authz": Answer(404, NONCE, b"{}")})
    with pytest.raises(JobFailed):
        AcmeClient(f"{CA}/dir", KEY, ca).order(["a.example.org"], "", b"csr", "x.y", "tls-alpn-01")
    assert [one.get("replaces") for one in ca.orders] == ["x.y", None]
    assert "/authz" in ca.asked  # it goes on with the second


@pytest.mark.parametrize(("status", "kind"), [(429, "rateLimited"), (400, "rateLimited"), (503, "serverInternal")])
def test_a_ca_that_wants_to_be_left_alone_is(status: int, kind: str) -> None:
    ca = ScriptedCA({"/newOrder": refusing(status, kind)})
    with pytest.raises(JobFailed):
        AcmeClient(f"{CA}/dir", KEY, ca).order(["a.example.org"], "", b"csr", "x.y", "tls-alpn-01")
    assert [one.get("replaces") for one in ca.orders] == ["x.y"]


def window(answer: object) -> tuple[int, int, int]:
    ca = ScriptedCA({"/renewalInfo/x.y": answer})
    return AcmeClient(f"{CA}/dir", None, ca).renewal_window("x.y")


def test_the_window_of_renewal() -> None:
    said = {"suggestedWindow": {"start": "2026-11-28T10:00:00Z", "end": "2026-11-29T10:00:00.123456789+01:00"}}
    assert window(Answer(200, {"retry-after": "21600"}, json.dumps(said).encode())) == (1795860000, 1795942800, 21600)
    assert window(Answer(404, {}, b"")) == (0, 0, 0)
    ca = ScriptedCA({"/dir": {"newNonce": f"{CA}/newNonce"}})
    assert AcmeClient(f"{CA}/dir", None, ca).renewal_window("x.y") == (0, 0, 0)


@pytest.mark.parametrize("said", [{}, {"start": "x", "end": 3}, {"start": "2026-11-29", "end": "2026-11-28"}])
def test_a_window_that_is_none_ends_the_job(said: Any) -> None:
    with pytest.raises(JobFailed):
        window({"suggestedWindow": said})


@given(st.binary(max_size=500), st.integers(0, CHAIN_MAX + 2))
def test_any_chain_is_bounded_or_refused(rest: bytes, count: int) -> None:
    try:
        assert 0 < len(chain_of_untrusted(PEM * count + rest)) <= CHAIN_MAX
    except JobFailed:
        pass


def test_many_blanks_in_a_chain_take_no_time() -> None:
    with pytest.raises(JobFailed):  # in cubic time: weeks
        chain_of_untrusted(b"-----BEGIN CERTIFICATE-----" + b" " * (120 << 10))
    assert chain_of_untrusted(PEM.replace(b"\n", b" \r\n\t") * 2) == [b"\0\0\0"] * 2


def test_what_it_signs_verifies() -> None:
    import base64

    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    def unpacked(text: str) -> bytes:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

    sent = json.loads(KEY.sign(f"{CA}/x", "n", {"a": 1}, ""))
    protected = json.loads(unpacked(sent["protected"]))
    assert (protected["alg"], protected["nonce"], protected["url"]) == ("ES256", "n", f"{CA}/x")
    signature = unpacked(sent["signature"])
    r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
    public = ec.derive_private_key(7, ec.SECP256R1()).public_key()
    signed = f"{sent['protected']}.{sent['payload']}".encode()
    public.verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))
    assert json.loads(KEY.sign(f"{CA}/x", "n", None, f"{CA}/acct"))["payload"] == ""
