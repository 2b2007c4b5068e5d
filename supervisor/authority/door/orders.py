"""Orders of certificates: makes keys and signing requests, has Primary show challenges, judges and keeps what comes.

The key of a certificate is made here for each order and never leaves but to Primary. What speaks with the CA gets a
signing request, and the key of its account. A chain is taken in this order: judged, tried by Primary, on the disk, in
force; whatever fails, the pair of before serves on. Pure but for descriptors.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_private_key

from tlsrt.channels.clock import Moment
from tlsrt.channels.control.acme import DIGEST_BYTES
from tlsrt.channels.control.authority_requests import NumberMessage
from tlsrt.channels.control.certificate_messages import (
    ChainMessage,
    NameMessage,
    PairTriedMessage,
    ProofMessage,
    RequestMessage,
)
from tlsrt.config import key_schedule
from tlsrt.errors import NotFound, PeerError
from tlsrt.supervisor.authority.door.files import seal_copy
from tlsrt.supervisor.authority.door.issued_chain import (
    IssuedChain,
    account_key,
    challenge_certificate,
    der_of,
    instant,
    judge_chain_untrusted,
    make_key,
    pem_chain,
    pem_key,
    read_chain,
    signing_request,
)
from tlsrt.supervisor.authority.door.issued_pair import IssuedPair
from tlsrt.supervisor.authority.model.context import AuthorityContext, Undo
from tlsrt.supervisor.authority.model.issued_certificate import NAMES_MAX, IssuedCertificate, open_key, seal_key
from tlsrt.supervisor.authority.model.loop_table import LoopEntry
from tlsrt.supervisor.authority.model.ports import LoopHandler, Service, SupervisorHandler
from tlsrt.supervisor.messages.result_codes import ResultCode

TRY_MS = 25_000  # for Primary to make a context and try it, and to come first if there is none
_SERIAL_BYTES = 16
_WORDS_MAX = 500
_ANOTHER = "another one came"
_LATE = "Primary did not try it in time"
_NO_ORDER = "no order is under way: this authority was started after it began"


class CertificateOrders(Service):
    """Serves the supervisor's side of orders, one at a time."""

    def __init__(self, context: AuthorityContext, pair: IssuedPair) -> None:
        self._context = context
        self._pair = pair
        self._loops = context.loops
        self._order: tuple[tuple[str, ...], ec.EllipticCurvePrivateKey] | None = None
        self._until: int | None = None  # a trial
        self._serve_kept()

    def supervisor_handlers(self) -> Mapping[str, SupervisorHandler]:
        return {
            "certificate_state": self._tell_state,
            "certificate_name": self._change_name,
            "certificate_request": self._request,
            "certificate_proof": self._prove,
            "certificate_chain": self._take_chain,
            "certificate_forget": self._forget,
        }

    def loop_handlers(self) -> Mapping[str, LoopHandler]:
        return {"pair_tried": self._tried}

    def next_due(self) -> int | None:
        return self._until

    def tick(self, moment: Moment) -> None:
        if self._until is not None and moment.now >= self._until:
            self._until = None
            self._pair.give_up(_LATE)

    def joined(self, loop: str, moment: Moment) -> None:
        """Have a Primary of before show no challenge: the order that it was for ended with its authority."""
        if loop == self._loops.with_door.loop and self._order is None:
            self._pair.hide()

    def _tried(self, primary: LoopEntry, message: PairTriedMessage, moment: Moment) -> None:
        self._pair.tried(message.number, message.sentence[:_WORDS_MAX])

    # -- what is kept ------------------------------------------------------------------------------------------

    def _serve_kept(self) -> None:
        """Serve with the certificate of the state, if there is one whose key can be opened."""
        issued = self._context.state.issued
        key = self._kept_key()
        if key is not None:
            self._pair.set(pem_chain(issued.chain), pem_key(key))

    def _kept_key(self) -> ec.EllipticCurvePrivateKey | None:
        issued = self._context.state.issued
        if not issued.chain:
            return None
        der = open_key(self._context.keys.newest.secrets, issued.sealed_key)
        key = load_der_private_key(der, None) if der else None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            self._context.outgoing.log("the key of the issued certificate was sealed by another master_key: order anew")
            return None
        return key

    def _tell_state(self, message: NumberMessage, moment: Moment) -> None:
        """Answer with the names that were added, and the certificate that serves, if one does."""
        issued = self._context.state.issued
        rows: list[object] = [list(issued.names)]
        if issued.chain and self._pair.is_served:
            rows.append(_row(read_chain(issued.chain)))
        self._context.answer(message.number, ResultCode.DONE, rows)

    def _change_name(self, message: NameMessage, moment: Moment) -> None:
        number, name, is_added = message

        def change() -> Undo:
            before = self._context.state.issued
            if not is_added and name not in before.names:
                raise NotFound(f"{name} is not among the names that were added: {', '.join(before.names) or 'none'}")
            names = tuple(one for one in before.names if one != name) + ((name,) if is_added else ())
            if len(names) > NAMES_MAX:
                raise NotFound(f"one certificate names {NAMES_MAX} hosts at most")
            return self._put(replace(before, names=names))

        self._context.transact(
            "certificate_name", "door", {"name": name, "added": is_added}, moment, change,
            lambda: self._context.answer(number, ResultCode.DONE, [list(self._context.state.issued.names)]),
            lambda code, sentence: self._context.answer(number, code, [sentence]),
        )  # fmt: skip

    def _put(self, issued: IssuedCertificate) -> Undo:
        state = self._context.state
        before, state.issued = state.issued, issued

        def undo() -> None:
            state.issued = before

        return undo

    def _forget(self, message: NumberMessage, moment: Moment) -> None:
        """Serve with the files of the door alone: no CA is configured any more."""
        number = message.number
        if not self._context.state.issued.chain:
            self._context.answer(number, ResultCode.DONE, [])
            return

        def done() -> None:
            self._pair.clear()
            self._context.answer(number, ResultCode.DONE, [])

        self._context.transact(
            "certificate_forgotten", "door", {}, moment,
            lambda: self._put(IssuedCertificate(self._context.state.issued.names)), done,
            lambda code, sentence: self._context.answer(number, code, [sentence]),
        )  # fmt: skip

    # -- an order ----------------------------------------------------------------------------------------------

    def _request(self, message: RequestMessage, moment: Moment) -> None:
        number, directory, listed = message
        names = tuple(str(one) for one in listed)
        key = make_key()
        self._order = names, key
        seed = key_schedule.account_seed(self._context.keys.newest.secrets, directory)
        account = seal_copy("account-key", account_key(seed))
        self._context.outgoing.tell("account_key", number, descriptors=[account])
        os.close(account)
        self._context.answer(number, ResultCode.DONE, [signing_request(key, names)])

    def _prove(self, message: ProofMessage, moment: Moment) -> None:
        number, name, digest = message
        if not digest:
            self._pair.hide()
            self._context.answer(number, ResultCode.DONE, [])
            return
        if self._order is None or name not in self._order[0] or len(digest) != DIGEST_BYTES:
            self._context.answer(number, ResultCode.REFUSED, [_NO_ORDER])
            return
        key = make_key()
        serial = int.from_bytes(self._context.randomness(_SERIAL_BYTES), "big") >> 1 | 1
        certificate = challenge_certificate(key, name, digest, serial, instant(moment.wall))
        self._pair.give_up(_ANOTHER)  # which sets no time any more
        self._until = moment.now + TRY_MS
        self._pair.show(certificate, pem_key(key), lambda sentence: self._answer_trial(number, sentence))

    def _answer_trial(self, number: int, sentence: str) -> None:
        self._until = None
        code = ResultCode.REFUSED if sentence else ResultCode.DONE
        self._context.answer(number, code, [sentence] if sentence else [])

    def _take_chain(self, message: ChainMessage, moment: Moment) -> None:
        number, listed = message
        order, self._order = self._order, None
        self._pair.hide()
        try:
            if order is None or not all(isinstance(one, bytes) for one in listed):
                raise PeerError(_NO_ORDER)
            names, key = order
            found = judge_chain_untrusted(listed, key.public_key(), names, instant(moment.wall))
        except PeerError as error:
            self._refuse(number, error.reason)
            return
        certificate, private = pem_chain(listed), pem_key(key)

        def tried(sentence: str) -> None:
            self._until = None
            if sentence:
                self._refuse(number, f"the door cannot serve with it: {sentence}")
            else:
                self._keep(number, found, listed, key, certificate, private)

        self._pair.give_up(_ANOTHER)
        self._until = moment.now + TRY_MS
        self._pair.check(certificate, private, tried)

    def _keep(
        self, number: int, found: IssuedChain, chain: Sequence[bytes], key: ec.EllipticCurvePrivateKey,
        certificate: bytes, private: bytes,
    ) -> None:  # fmt: skip
        keys = self._context.keys.newest
        sealed = seal_key(keys.secrets, der_of(key), self._context.randomness)

        def change() -> Undo:
            names = self._context.state.issued.names
            return self._put(IssuedCertificate(names, tuple(chain), keys.issuer.key_version, sealed))

        def done() -> None:
            self._pair.set(certificate, private)
            self._context.answer(number, ResultCode.DONE, [_row(found)])

        detail: dict[str, str | int] = {"names": " ".join(found.names)[:_WORDS_MAX], "ends": f"{found.ends:%Y-%m-%d}"}
        self._context.transact(
            "certificate_issued", "door", detail, self._context.moment(), change, done,
            lambda code, sentence: self._context.answer(number, code, [sentence]),
        )  # fmt: skip

    def _refuse(self, number: int, sentence: str) -> None:
        self._context.outgoing.log(f"refused a certificate of the CA: {sentence}")
        self._context.answer(number, ResultCode.REFUSED, [sentence])


def _row(found: IssuedChain) -> list[object]:
    begins, ends = int(found.begins.timestamp()), int(found.ends.timestamp())
    return [list(found.names), begins, ends, found.issuer, found.identifier]
