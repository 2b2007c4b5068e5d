"""Jobs at the components of a process: what it tells the authority, and what it runs for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, cast

import pytest
from fakes.linked_components import ProcessorNotes

from tlsrt import Component, handler
from tlsrt.channels.calls.ending import Ending
from tlsrt.channels.control.job_messages import JobAnswerMessage, JobRunMessage
from tlsrt.channels.frames.body import encode_request
from tlsrt.channels.frames.deferral import OF_ONE, Deferral
from tlsrt.channels.frames.frame import FrameKind, Header
from tlsrt.channels.links.write_batch import WriteBatch
from tlsrt.channels.session.job_result import RESULT_MAX, SEALED_MAX, TOO_LARGE, open_result, result_key
from tlsrt.errors import Away, Busy, CallError, Denied, InvalidArgument, NotFound, PeerError, Unavailable
from tlsrt.loops.component.component import attach
from tlsrt.loops.dispatch.processor_shares import BURST_S, ProcessorShares
from tlsrt.loops.runtime import jobs as jobs_module
from tlsrt.loops.runtime.jobs import ProcessJobs

KETTLE = "third/kettle"
JOB = b"12345678"
PUT = Deferral("put", JOB, "+60", "once", encode_request(("tea",), {}, None), 5, 6, 7, bytes(16))


class Kettle(Component):
    """Notes who has it boil what."""

    def __init__(self) -> None:
        self.boiled: list[tuple[str, str]] = []
        self.go = asyncio.Event()
        self.burn: Callable[[], None] = lambda: None

    @handler
    async def boil(self, name: str) -> str:
        self.boiled.append((self.caller, name))
        return name

    @handler
    async def hold(self) -> None:
        self.boiled.append((self.caller, "hold"))
        await self.go.wait()

    @handler
    async def fail(self, how: str) -> None:
        if how == "exit":
            raise SystemExit(3)
        if how.startswith("code "):
            raise CallError("of its own", code=cast("Any", {"3": 3}.get(how[5:], how[5:])))
        if how == "away":
            raise Away("of another, which it called")
        raise NotFound("no water") if how == "typed" else RuntimeError("a bug")

    @handler
    async def compute(self) -> None:
        for _ in range(4):
            self.burn()
            await asyncio.sleep(0)

    @handler
    async def count(self) -> AsyncIterator[int]:
        for number in range(3):
            yield number


class Shares:
    """Runs a handler without counting it."""

    async def metered(self, subject: str, session: bytes, work: Awaitable[object]) -> object:
        return await work


class Stage:
    """A process with one component, and an authority that a test speaks for."""

    def __init__(self, folder: Path, *, is_gate: bool = False, shares: ProcessorShares | None = None) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.reads = True
        self.key = b""  # of the owner of what runs
        self.away = False
        self.kettle = Kettle()
        log = logging.getLogger(KETTLE)
        attach(self.kettle, address=KETTLE, options={}, state=folder, log=log, port=cast("Any", None))
        shares = shares or cast("ProcessorShares", Shares())
        self.jobs = ProcessJobs(self.send, shares, lambda: 0, is_gate=is_gate)
        self.jobs.add(KETTLE, self.kettle, self, log)

    def send(self, *fields: Any) -> None:
        if not self.reads:
            raise PeerError("hung")
        self.told.append(fields)

    def check_serves(self, method: str) -> None:
        if self.away:
            raise Away("it starts")

    def ask(self, deferral: Deferral, method: str = "boil", target: str = KETTLE) -> Coroutine[Any, Any, object]:
        header = Header(1, FrameKind.REQUEST, bytes(16), 1, 0, "client/a", target, 1, 1, method, 6, 5, b"", 0)
        return self.jobs.answer(header, deferral)

    def run(self, method: str = "boil", *args: object, number: int = 1, job: bytes = JOB) -> None:
        call = encode_request(args, {}, None)
        self.jobs.run(JobRunMessage(KETTLE, job, number, "client/a", method, call, self.key))

    def outcomes(self) -> list[tuple[int, str]]:
        return [(fields[3], fields[4]) for fields in self.told if fields[0] == "job_over"]

    def results(self) -> list[bytes]:
        return [fields[5] for fields in self.told if fields[0] == "job_over"]

    async def settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)


def staged(test: Callable[[Stage], Coroutine[Any, Any, None]]) -> Callable[[Path], None]:
    def run(tmp_path: Path) -> None:
        async def body() -> None:
            await test(Stage(tmp_path))

        asyncio.run(body())

    return run


@staged
async def test_a_put_is_checked_and_carried_and_its_answer_comes_back(stage: Stage) -> None:
    asked = asyncio.create_task(stage.ask(PUT))
    await stage.settle()
    assert stage.told == [
        ("job_put", 1, KETTLE, bytes(16), "boil", JOB, "+60", "once", PUT.call, 5, 6, 7, bytes(16), b"")
    ]
    assert stage.kettle.boiled == []
    stage.jobs.answered(JobAnswerMessage(1, "", []))
    assert await asked == []
    asked = asyncio.create_task(stage.ask(Deferral("list"), "describe"))
    await stage.settle()
    assert stage.told[-1] == ("job_list", 2, KETTLE, "client/a")
    stage.jobs.answered(JobAnswerMessage(2, "denied", ["no"]))
    with pytest.raises(Denied, match="no"):
        await asked
    stage.jobs.answered(JobAnswerMessage(2, "", []))  # no caller waits for it
    for number, what in enumerate(OF_ONE, 3):
        asked = asyncio.create_task(stage.ask(Deferral(what, JOB), "describe"))
        await stage.settle()
        assert [*stage.told[-1]] == [f"job_{what}", number, KETTLE, "client/a", JOB]
        stage.jobs.answered(JobAnswerMessage(number, "", []))
        await asked


@staged
async def test_what_cannot_run_later_is_refused_before_it_is_carried(stage: Stage) -> None:
    for deferral, method, error in (
        (PUT, "freeze", NotFound),
        (PUT, "count", InvalidArgument),
        (PUT._replace(call=encode_request((3,), {}, None)), "boil", InvalidArgument),
        (PUT._replace(call=encode_request(("tea",), {}, "key")), "boil", InvalidArgument),
        (PUT._replace(call=b"\xc1"), "boil", InvalidArgument),
        (Deferral("list"), "boil", InvalidArgument),
        (Deferral("remove", JOB), "boil", InvalidArgument),
        (Deferral("pause", JOB), "boil", InvalidArgument),
    ):
        with pytest.raises(error):
            await stage.ask(deferral, method)
    with pytest.raises(InvalidArgument, match="gate"):
        await stage.ask(PUT, target="third/other")
    assert stage.told == []


def test_the_process_of_the_gate_takes_none(tmp_path: Path) -> None:
    async def body() -> None:
        with pytest.raises(InvalidArgument, match="gate"):
            await Stage(tmp_path, is_gate=True).ask(PUT)
        assert await Stage(tmp_path, is_gate=True).ask(Deferral("list"), "describe") == []

    asyncio.run(body())


@staged
async def test_an_authority_that_does_not_read_is_no_wait(stage: Stage) -> None:
    stage.reads = False
    with pytest.raises(Unavailable, match="nothing was done"):
        await stage.ask(PUT)
    stage.reads = True
    asked = [asyncio.create_task(stage.ask(PUT)) for _ in range(jobs_module.ASKED_MAX)]
    await stage.settle()
    with pytest.raises(Busy):
        await stage.ask(PUT)
    for task in asked:
        task.cancel()
    await asyncio.gather(*asked, return_exceptions=True)
    assert stage.jobs._asked == {}


@staged
async def test_an_outcome_is_told_when_the_authority_reads_again(
    stage: Stage,
) -> None:
    stage.run("boil", "tea")
    stage.reads = False
    await stage.settle()
    assert stage.outcomes() == []
    stage.reads = True
    await asyncio.sleep(jobs_module.AGAIN_S * 1.5)
    assert stage.outcomes() == [(1, "done")]


@staged
async def test_a_run_has_the_owner_as_caller_and_the_same_run_comes_once(stage: Stage) -> None:
    stage.run("boil", "tea")
    stage.run("boil", "tea")  # while it runs
    await stage.settle()
    stage.run("boil", "tea")  # after it, as by an authority that was restarted: it hears the end again
    await stage.settle()
    assert stage.kettle.boiled == [("client/a", "tea")]
    assert stage.outcomes() == [(1, "done"), (1, "done")]
    stage.run("boil", "tea", number=2)
    await stage.settle()
    stage.run("boil", "tea", number=1)  # a number that is over
    await stage.settle()
    assert len(stage.kettle.boiled) == 2
    with pytest.raises(PeerError, match="unknown_component"):
        stage.jobs.run(JobRunMessage("third/other", JOB, 1, "client/a", "boil", b"", b""))


@staged
async def test_how_a_run_ends_is_one_word(stage: Stage) -> None:
    for number, (method, args, word) in enumerate(
        (
            ("fail", ("typed",), "not_found"), ("fail", ("bug",), "failed"), ("fail", ("exit",), "failed"),
            ("fail", ("away",), "unavailable"),  # it has begun
            ("fail", ("code too_hot",), "too_hot"),
            ("fail", ("code Too hot!",), "failed"), ("fail", ("code 3",), "failed"),
            ("boil", (3,), "invalid_argument"), ("freeze", (), "not_found"), ("count", (), "invalid_argument"),
        ), 1,
    ):  # fmt: skip
        stage.run(method, *args, number=number)
        await stage.settle()
        assert stage.outcomes()[-1] == (number, word)
    stage.away = True
    stage.run("boil", "tea", number=20)
    await stage.settle()
    assert stage.outcomes()[-1] == (20, "away")
    assert stage.kettle.boiled == []


@staged
async def test_the_end_of_a_session_ends_no_run_and_that_of_its_owner_does(stage: Stage) -> None:
    stage.run("hold")
    await stage.settle()
    stage.jobs.end(Ending((bytes(16), b""), of_clients=True))
    await stage.settle()
    assert stage.outcomes() == []
    stage.jobs.end(Ending(subjects=("client/a",)))
    await stage.settle()
    assert stage.outcomes() == [(1, "cancelled")]


@staged
async def test_a_run_that_is_cancelled_before_it_begins_is_told_too(stage: Stage) -> None:
    stage.run("hold")
    stage.jobs.end(Ending(subjects=("client/a",)))
    await stage.settle()
    assert stage.outcomes() == [(1, "cancelled")]
    assert stage.kettle.boiled == []


def test_a_run_that_computes_much_beside_others_is_no_report_of_a_session(tmp_path: Path) -> None:
    """The authority takes reports of sessions only, and charges a loop that sends another."""

    async def body() -> None:
        now, notes = [0.0], ProcessorNotes()
        shares = ProcessorShares(WriteBatch(), notes, lambda: now[0])
        stage = Stage(tmp_path, shares=shares)

        def compute() -> None:
            now[0] += 2 * BURST_S
            for other in ("client/b", "client/c"):
                shares.wait(other, other.encode(), lambda: None)

        stage.kettle.burn = compute
        stage.run("compute")
        stage.run("compute", job=b"87654321")
        for _ in range(50):
            await asyncio.sleep(0)
        assert stage.outcomes() == [(1, "done")] * 2
        assert b"" not in notes.over

    asyncio.run(body())


@staged
async def test_a_stop_waits_and_then_cancels(stage: Stage) -> None:
    stage.run("hold")
    await stage.settle()
    await stage.jobs.stop(KETTLE, 0.01)
    assert stage.outcomes() == [(1, "cancelled")]
    stage.run("hold", number=2)
    await stage.settle()
    stage.kettle.go.set()
    await stage.jobs.stop(KETTLE, 10)
    assert stage.outcomes()[-1] == (2, "done")
    await stage.jobs.stop("third/other", 1)


@staged
async def test_runs_that_are_remembered_are_bounded(stage: Stage) -> None:
    for number in range(jobs_module.HEARD_MAX + 5):
        stage.run("boil", "tea", job=number.to_bytes(8, "big"))
        if number % 200 == 0:
            await stage.settle()
    await stage.settle()
    assert len(stage.jobs._places[KETTLE].runs) <= jobs_module.HEARD_MAX + 200


@staged
async def test_what_a_run_gave_goes_back_sealed_for_the_owner_that_has_it_kept(stage: Stage) -> None:
    stage.run("boil", "tea")
    await stage.settle()
    assert stage.results() == [b""]
    key = result_key(b"of the owner", JOB)
    for number, (method, argument, expected) in enumerate((
        ("boil", "soup", ("done", "soup")),
        ("boil", "x" * RESULT_MAX, (TOO_LARGE, RESULT_MAX + 9)),
        ("fail", "typed", ("not_found", "no water")),
    ), 2):  # fmt: skip
        stage.key = key.public_key().public_bytes_raw()
        stage.run(method, argument, number=number)
        await stage.settle()
        sealed = stage.results()[-1]
        assert len(sealed) <= SEALED_MAX and open_result(key, JOB, number, sealed) == expected
        for owner, job, run in ((key, JOB, number + 1), (key, b"8765", number), (result_key(b"x", JOB), JOB, number)):
            with pytest.raises(PeerError, match="sealed_otherwise"):
                open_result(owner, job, run, sealed)
    stage.run("fail", "bug", number=8)  # the sentence that a caller is told, and no word of the bug
    await stage.settle()
    assert open_result(key, JOB, 8, stage.results()[-1]) == (
        "failed",
        f"{KETTLE} fail failed; the reason is in its log",
    )
    stage.key = bytes(32)  # a point that no owner has made
    stage.run("boil", "tea", number=9)
    await stage.settle()
    assert stage.results()[-1] == b""
