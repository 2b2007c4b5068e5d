"""SCRAM: the examples of RFC 5802 and 7677, and servers that do not know the password."""

from __future__ import annotations

import pytest

from tlsrt.loops.external.xmpp_scram import Scram, XmppError

EXAMPLES = {
    "SCRAM-SHA-1": (
        "fyko+d2lbbFgONRv9qkxdawL",
        b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
        b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
        b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
    ),
    "SCRAM-SHA-256": (
        "rOprNGfwEbeRWgbNEkqO",
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    ),
}


@pytest.mark.parametrize("mechanism", EXAMPLES)
def test_the_examples_of_the_specifications(mechanism: str) -> None:
    nonce, challenge, final, proof = EXAMPLES[mechanism]
    scram = Scram(mechanism, "user", "pencil", nonce)
    assert scram.first() == f"n,,n=user,r={nonce}".encode()
    assert scram.final(challenge) == final
    scram.verify(proof)
    for lie in (b"", b"v=", b"v=%%%", b"e=other-error", proof[:-2] + b"A=", b"\xff"):
        with pytest.raises(XmppError):
            scram.verify(lie)


def test_no_proof_is_taken_before_the_challenge() -> None:
    with pytest.raises(XmppError, match="does not prove"):
        Scram("SCRAM-SHA-256", "user", "pencil", "abc").verify(b"v=")


@pytest.mark.parametrize(
    "challenge",
    [
        b"", b"\xff", b"r=abcd", b"r=abcd,s=AAAA,i=x", b"r=abcd,s=%,i=4096", b"r=abcd,s=,i=4096",
        b"r=abc,s=AAAA,i=4096", b"r=xyz,s=AAAA,i=4096", b"r=abcd,s=AAAA,i=4095",
        b"r=abcd,s=AAAA,i=1000001", b"m=1,r=abcd,s=AAAA,i=4096",
        b"r=abcd,s=" + b"A" * 4000 + b",i=4096",
    ],
)  # fmt: skip
def test_a_challenge_that_breaks_a_rule_is_refused(challenge: bytes) -> None:
    with pytest.raises(XmppError):
        Scram("SCRAM-SHA-256", "user", "pencil", "abc").final(challenge)


def test_a_name_with_commas_is_escaped() -> None:
    assert Scram("SCRAM-SHA-256", "a=b,c", "x", "n").first() == b"n,,n=a=3Db=2Cc,r=n"
