"""A loop whose authority does not read now: it goes on, and says later what it has to say."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from unittest.mock import Mock

from fakes.trust_ends import channels, hear

from tlsrt.channels.session.verifier import Verifier
from tlsrt.errors import PeerError
from tlsrt.loops.runtime.authority_client import AuthorityClient
from tlsrt.loops.runtime.trust_conversation import TrustConversation


def test_an_epoch_is_acknowledged_when_the_authority_reads_again() -> None:
    async def scene() -> None:
        ours, theirs = channels()
        owner, verifier = Mock(), Verifier()
        client = AuthorityClient(verifier, {}, None)
        conversation = TrustConversation(ours, client, verifier, owner, takes_descriptors=False)
        with suppress(PeerError):
            for number in range(100_000):
                ours.send("challenge", number)
        theirs.send("prepare", 7)
        conversation.read()
        assert not owner.on_trust_lost.called, "an authority that is slow to read is no reason to end"
        assert {name for name, _ in hear(theirs)} == {"challenge"}
        conversation.each_beat()
        assert hear(theirs) == [("prepared", 7)]
        conversation.each_beat()
        assert hear(theirs) == [], "once"
        for each in (ours, theirs):
            each.close()

    asyncio.run(scene())


def test_an_answer_that_was_not_asked_for_ends_the_process() -> None:
    async def scene() -> None:
        ours, theirs = channels()
        owner, verifier = Mock(), Verifier()
        verifier.snapshot(1, 0, 1, 0, 1_000, [], 1_000)
        conversation = TrustConversation(
            ours, AuthorityClient(verifier, {}, None), verifier, owner, takes_descriptors=False
        )
        assert conversation.wake()
        assert (theirs.receive("loop", "joined") or ("",))[0] == "wake"
        theirs.send("awake", 0, 1, 2_000)
        conversation.read()
        assert not owner.on_trust_lost.called and verifier.silent_from > 4_000
        theirs.send("awake", 0, 1, 3_000)
        conversation.read()
        owner.on_trust_lost.assert_called_once_with("not_asked")
        assert verifier.silent_from < 6_000
        for each in (ours, theirs):
            each.close()

    asyncio.run(scene())
