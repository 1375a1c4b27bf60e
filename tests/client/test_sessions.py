"""A session and a candidate against scripted answers: what they believe, and until when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from raft.client.calls.steps import Ask, Outcome
from raft.client.errors import OutcomeUnknown, SessionExpired
from raft.client.sessions.asyncio_election import AsyncElection
from raft.client.sessions.asyncio_session import MARGIN_RATIO, AsyncSession, SessionState
from raft.client.sessions.candidacy import Candidacy
from raft.machines import results
from raft.machines.codec import decode_call, encode_answer
from raft.machines.commands import Call, Campaign, OpenSession, Put, Transaction
from raft.machines.lease_clock import DRIFT_RATIO
from raft.protocol.client import Command, Committed, KeepAlive, LeaseTime, Unknown
from tests.client.scripted import ScriptedClient

TTL_SECONDS = 9.0
WORKABLE = 1 - DRIFT_RATIO - MARGIN_RATIO


def call_in(ask: Ask) -> Call:
    assert isinstance(ask.request, Command), ask.request
    call = decode_call(ask.request.body)
    assert call is not None
    return call


def committed(answer: results.Answer) -> Committed:
    return Committed(7, encode_answer(answer))


class Cluster:
    """Opens sessions 1, 2, 3 and so on; `others` answers the rest."""

    def __init__(self, others: Callable[[Call], Outcome]) -> None:
        self.others = others
        self.opened = 0
        self.keep_alives = 0

    def __call__(self, ask: Ask) -> Outcome:
        if isinstance(ask.request, KeepAlive):
            self.keep_alives += 1
            return LeaseTime(ask.request.lease, TTL_SECONDS, TTL_SECONDS)
        call = call_in(ask)
        if isinstance(call.operation, OpenSession):
            self.opened += 1
            return committed(results.Opened(self.opened, call.operation.ttl_ms))
        return self.others(call)


def expired_after_a_doubt() -> Callable[[Call], Outcome]:
    replies: list[Outcome] = [Unknown("leadership was lost"), committed(results.SessionExpired(1))]
    return lambda _call: replies.pop(0) if replies else committed(results.Ended(()))


def test_a_command_in_doubt_stays_in_doubt_when_its_session_has_ended_meanwhile() -> None:
    async def body() -> None:
        session = AsyncSession(ScriptedClient(Cluster(expired_after_a_doubt())).itself, TTL_SECONDS)
        await session.open()
        with pytest.raises(OutcomeUnknown, match="has expired"):
            await session.put("k", "v")
        assert session.remaining_seconds == 0.0, "that the session is no more is certain"
        await session.close()

    asyncio.run(body())


def test_a_command_that_was_certainly_not_taken_before_is_told_that_its_session_has_expired() -> None:
    async def body() -> None:
        cluster = Cluster(lambda _call: committed(results.SessionExpired(1)))
        session = AsyncSession(ScriptedClient(cluster).itself, TTL_SECONDS)
        await session.open()
        with pytest.raises(SessionExpired):
            await session.put("k", "v")
        await session.close()

    asyncio.run(body())


def test_a_candidate_whose_campaign_stays_in_doubt_as_its_session_ended_stands_again() -> None:
    async def body() -> None:
        replies = expired_after_a_doubt()

        def others(call: Call) -> Outcome:
            if isinstance(call.operation, Campaign):
                return replies(call) if call.session == 1 else committed(results.Campaigned(20, True, 0))
            return committed(results.Ended(()))

        client = ScriptedClient(Cluster(others))
        async with AsyncElection(client.itself, Candidacy("election/e", 1, b"", True), TTL_SECONDS) as lead:
            assert (lead.token, lead.session.lease) == (20, 2)

    asyncio.run(body())


def test_a_session_s_lease_is_counted_from_when_its_opening_was_sent() -> None:
    async def body() -> None:
        cluster = Cluster(lambda _call: committed(results.Ended(())))

        def script(ask: Ask) -> Outcome:
            client.clock.advance(2.0)
            return cluster(ask)

        client = ScriptedClient(script)
        session = AsyncSession(client.itself, TTL_SECONDS)
        await session.open()
        assert session.remaining_seconds == pytest.approx(TTL_SECONDS * WORKABLE - 2.0)
        await session.close()

    asyncio.run(body())


def test_a_keep_alive_prolongs_a_lease_from_when_it_was_sent() -> None:
    async def body() -> None:
        cluster = Cluster(lambda _call: committed(results.Ended(())))

        def script(ask: Ask) -> Outcome:
            client.clock.advance(1.0 if cluster.opened else 4.0)
            return cluster(ask)

        client = ScriptedClient(script)
        session = AsyncSession(client.itself, TTL_SECONDS)
        await session.open()  # It takes longer than a third of the lease, so a keep-alive is due at once.
        while not cluster.keep_alives:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert client.now() == 5.0
        assert session.remaining_seconds == pytest.approx(4.0 + TTL_SECONDS * WORKABLE - 5.0)
        await session.close()

    asyncio.run(body())


def test_work_has_to_end_a_tenth_of_the_lease_before_another_may_have_it() -> None:
    async def body() -> None:
        client = ScriptedClient(Cluster(lambda _call: committed(results.Ended(()))))
        session = AsyncSession(client.itself, TTL_SECONDS)
        await session.open()
        client.clock.advance(TTL_SECONDS * (1 - MARGIN_RATIO - DRIFT_RATIO))
        assert session.remaining_seconds == pytest.approx(0.0, abs=1e-9)
        await session.close()

    assert MARGIN_RATIO == 0.1
    asyncio.run(body())


def test_while_a_session_s_answers_have_too_many_bytes_a_command_waits_and_says_which_have_arrived() -> None:
    async def body() -> None:
        acknowledged = 0
        puts: list[int] = []

        def others(call: Call) -> Outcome:
            nonlocal acknowledged
            acknowledged = max(acknowledged, call.acknowledged)
            if isinstance(call.operation, Transaction):
                return committed(results.TransactionDone(True, (), 1))
            if not isinstance(call.operation, Put):
                return committed(results.Ended(()))
            puts.append(call.sequence)
            if call.operation.key == b"first" or acknowledged:
                return committed(results.Stored(7))
            return committed(results.AnswersFull(0, 9_000_000))

        session = AsyncSession(ScriptedClient(Cluster(others)).itself, TTL_SECONDS)
        await session.open()
        assert await asyncio.gather(session.put("first", "v"), session.put("second", "v")) == [7, 7]
        assert puts[:2] == [1, 2] and set(puts[2:]) == {2} and acknowledged == 1
        await session.close()

    asyncio.run(body())


@pytest.mark.parametrize(("first", "expected"), [(None, "Rejected"), (Unknown("lost"), "OutcomeUnknown")])
def test_answers_that_stay_too_large_turn_a_command_down_or_leave_it_in_doubt_if_it_was(
    first: Any, expected: str
) -> None:
    async def body() -> None:
        replies = [first] if first is not None else []

        def others(call: Call) -> Outcome:
            if isinstance(call.operation, Put):
                return replies.pop() if replies else committed(results.AnswersFull(0, 9_000_000))
            return committed(results.Ended(()))

        session = AsyncSession(ScriptedClient(Cluster(others)).itself, TTL_SECONDS)
        await session.open()
        with pytest.raises(Exception, match="too many bytes") as error:
            await session.put("k", "v")
        assert type(error.value).__name__ == expected
        await session.close()

    asyncio.run(body())


class Hanging(ScriptedClient):
    """Answers a keep-alive only when it is let."""

    def __init__(self, script: Callable[[Ask], Outcome]) -> None:
        super().__init__(script)
        self.left_seconds = asyncio.Queue[float]()

    async def run_call(self, begin: Any, timeout_seconds: float | None = None) -> Any:
        if begin.keywords.get("request") is None:
            return await super().run_call(begin, timeout_seconds)
        left_seconds = await self.left_seconds.get()
        return LeaseTime(1, left_seconds, left_seconds), self.now()


def test_a_listener_hears_that_a_session_is_connected_suspended_and_lost() -> None:
    async def body() -> None:
        client = Hanging(Cluster(lambda _call: committed(results.Ended(()))))
        session = AsyncSession(client.itself, "1200ms", release_on_disconnect=True)
        heard: list[SessionState] = []
        lost = asyncio.Event()

        def hear(state: SessionState) -> None:
            heard.append(state)
            if state is SessionState.SUSPENDED:
                client.left_seconds.put_nowait(1.2)
                client.left_seconds.put_nowait(0.0)
            if state is SessionState.LOST:
                lost.set()

        assert session.state is SessionState.LOST
        session.add_listener(hear)
        async with session:
            assert session.state is SessionState.CONNECTED
            await lost.wait()
            assert session.state is SessionState.LOST and not session.remaining_seconds
        assert heard == [
            SessionState.CONNECTED, SessionState.SUSPENDED, SessionState.CONNECTED, SessionState.LOST,
        ]  # fmt: skip

    asyncio.run(body())


def test_a_session_that_is_left_tells_its_listeners_nothing_more() -> None:
    async def body() -> None:
        client = ScriptedClient(Cluster(lambda _call: committed(results.Ended(()))))
        session = AsyncSession(client.itself, TTL_SECONDS)
        heard: list[SessionState] = []
        async with session:
            session.add_listener(heard.append)
            assert await session.refresh() > 0.0
        assert heard == [] and session.state is SessionState.LOST

    asyncio.run(body())
