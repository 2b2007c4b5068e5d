"""What has kept a CA from issuing a certificate, as a sentence with what to do. Data."""

from __future__ import annotations

from collections.abc import Mapping

from tlsrt.channels.control.acme import Problem, Step

_STEPS: Mapping[Step, str] = {
    Step.DIRECTORY: "reading the CA's directory",
    Step.ACCOUNT: "opening the account",
    Step.ORDER: "ordering",
    Step.AUTHORIZATION: "asking how to prove a name",
    Step.CHALLENGE: "proving a name",
    Step.FINALIZE: "handing in the signing request",
    Step.CERTIFICATE: "fetching the certificate",
    Step.RENEWAL_INFO: "asking when to renew",
}
_LOG = "; `tlsrt-supervisor logs acme` has its words"
_PROBLEMS: Mapping[Problem, str] = {
    Problem.UNREACHABLE: "the CA is not reached: look at acme.directory, the network and `names` in status",
    Problem.NOT_TRUSTED: "the CA's own certificate is not issued by a CA in acme.roots, or names another host",
    Problem.TOO_SLOW: "the CA does not answer in time",
    Problem.BAD_ANSWER: "the CA's answer is not what RFC 8555 says" + _LOG,
    Problem.OTHER_ORIGIN: "the CA sends to another host or port than that of acme.directory, which is not followed",
    Problem.NONCES: "the CA refuses every nonce",
    Problem.NO_CHALLENGE: "the CA offers no proof that can be given: set or remove acme.http_listen",
    Problem.NOT_PROVED: (
        "the CA does not find the proof: port 443 of each name must lead to the door, or port 80 to acme.http_listen"
        + _LOG
    ),
    Problem.REFUSED: "the CA refuses" + _LOG,
    Problem.RATE_LIMITED: "the CA wants fewer orders: it is tried again later",
    Problem.REJECTED_NAME: "the CA does not issue for one of the names" + _LOG,
    Problem.CAA: "a CAA record of one of the names forbids this CA: change it in the DNS",
    Problem.ACCOUNT: "the CA does not take the account: look at acme.contact, and whether it wants a binding" + _LOG,
    Problem.CA_ERROR: "the CA has an error of its own" + _LOG,
    Problem.NOT_SET: "the door could not show the proof",
    Problem.DIED: "the process that speaks with the CA has ended" + _LOG,
}


def sentence_of(step: Step, problem: Problem, status: int = 0) -> str:
    """Return what has happened, and what to do."""
    said = f" (HTTP status {status})" if status else ""
    return f"{_STEPS[step]}: {_PROBLEMS[problem]}{said}"
