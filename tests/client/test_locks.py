"""Locks and elections as users of kazoo and redis-py know them; and a body that outlives its lead."""

from __future__ import annotations

import asyncio
import threading

import pytest

from raft.client import AsyncClient, Client, LeadershipLost, Led, Left, SessionState, Taken
from raft.client.retries import Backoff
from raft.machines.commands import Revoke
from tests.client.nodes import Nodes
from tests.client.test_calls_sessions import run

QUICK = Backoff("1ms", "1ms")


async def end(client: AsyncClient, lease: int) -> None:
    """Take a lease away from its holder."""
    await client.call(Revoke(lease))


# -- acquire and release --------------------------------------------------------------------------


def test_a_lock_is_acquired_released_asked_about_and_extended(nodes: Nodes) -> None:
    async def body(client: AsyncClient) -> None:
        lock, other = client.lock("door", ttl="20s", value="a"), client.lock("door", ttl="20s", value="b")
        assert not await lock.locked() and not lock.owned()
        lead = await lock.acquire()
        assert lock.owned() and not other.owned() and await other.locked()
        until = client.now() + lead.remaining
        assert 0.0 < await lock.extend() <= 20.0 and client.now() + lead.remaining > until
        for wait in (0, "50ms"):
            with pytest.raises(Taken):
                await other.acquire(timeout=wait)
        waiting = asyncio.ensure_future(other.acquire(timeout="30s"))
        while len(await lock.contenders()) < 2:
            await asyncio.sleep(0)
        assert [one.value for one in await lock.contenders()] == [b"a", b"b"]
        await lock.release()
        assert (await waiting).token > lead.token and not lock.owned() and other.owned()
        with pytest.raises(RuntimeError):
            await lock.release()
        await other.release()
        assert not await lock.locked() and not await lock.contenders()

    run(nodes, body)


def test_a_semaphore_is_locked_when_all_its_seats_are_taken(nodes: Nodes) -> None:
    async def body(client: AsyncClient) -> None:
        async with client.semaphore("pool", 2):
            assert not await client.semaphore("pool", 2).locked()
            async with client.semaphore("pool", 2) as second:
                assert await client.semaphore("pool", 2).locked() and second.remaining

    run(nodes, body)


def test_those_who_wait_can_be_told_to_give_up(nodes: Nodes) -> None:
    async def body(client: AsyncClient) -> None:
        async with client.lock("long"):
            lock = client.lock("long")
            waiting = [asyncio.ensure_future(lock.acquire()) for _ in range(2)]
            while len(await lock.contenders()) < 3:
                await asyncio.sleep(0)
            for _ in range(3):  # Again while they are still on their way out.
                lock.cancel()
                await asyncio.sleep(0)
            for one in waiting:
                with pytest.raises(Taken):
                    await one
            assert len(await lock.contenders()) == 1

    run(nodes, body)


def test_a_thread_that_waits_can_be_told_so_too(nodes: Nodes) -> None:
    threads = threading.active_count()
    with Client(nodes.endpoints) as client:
        mine, theirs = client.lock("blocking", ttl="20s"), client.lock("blocking", value="thread")
        with mine as lead:
            assert mine.owned() and theirs.locked() and 0.0 < mine.extend() <= 20.0 and lead.extend()
            with pytest.raises(Taken):
                theirs.acquire(timeout=0)
            with pytest.raises(Taken):
                theirs.acquire(timeout="50ms")
            gave_up = threading.Event()

            def wait() -> None:
                try:
                    theirs.acquire()
                except Taken:
                    gave_up.set()

            waiting = threading.Thread(target=wait)
            waiting.start()
            while len(mine.contenders()) < 2:
                assert waiting.is_alive()
            theirs.cancel()
            waiting.join()
            assert gave_up.is_set() and [one.token for one in mine.contenders()] == [lead.token]
        assert not mine.owned() and not theirs.locked()
        assert theirs.acquire(timeout="10s").token > lead.token
        theirs.release()
    assert threading.active_count() == threads


def test_a_blocking_program_observes_who_leads(nodes: Nodes) -> None:
    with Client(nodes.endpoints) as client:
        election = client.election("observed", value="a")
        with election as first:
            seen = election.observe()
            led = next(seen)
            assert isinstance(led, Led) and (led.token, led.value) == (first.token, b"a")
            first.proclaim("b")
            changed = next(seen)
            assert isinstance(changed, Led) and changed.value == b"b"
        assert isinstance(next(seen), Left)


# -- run --------------------------------------------------------------------------------------------


def test_an_election_runs_work_again_and_again_until_it_ends_by_itself(nodes: Nodes) -> None:
    async def body(client: AsyncClient) -> None:
        tokens: list[int] = []

        async def work(lead: object) -> str:
            tokens.append(lead.token)  # type: ignore[attr-defined]
            if len(tokens) < 3:
                await end(client, lead.session.lease)  # type: ignore[attr-defined]
                await asyncio.Event().wait()
            return "done"

        election = client.election("again", ttl="1s")
        assert await election.keep_running(work, backoff=QUICK) == "done"
        assert len(tokens) == 3 and tokens == sorted(tokens)
        assert await election.run(work) == "done"

        async def fail(lead: object) -> None:
            raise ValueError("mine")

        with pytest.raises(ValueError, match="mine"):
            await election.keep_running(fail, backoff=QUICK)

    run(nodes, body)


def test_blocking_work_goes_on_without_its_lead_and_run_says_so(nodes: Nodes) -> None:
    with Client(nodes.endpoints) as client:
        tokens: list[int] = []
        states: list[SessionState] = []

        def work(lead: object) -> str:
            tokens.append(lead.token)  # type: ignore[attr-defined]
            if len(tokens) < 2:
                lead.add_listener(states.append)  # type: ignore[attr-defined]
                (holder,) = election.contenders()
                client.revoke(holder.lease)
                assert lead.lost.wait(30.0)  # type: ignore[attr-defined]
            return "done"

        election = client.election("blocking again", ttl="1s")
        with pytest.raises(LeadershipLost):
            election.run(work)
        assert states == [SessionState.LOST]
        tokens.clear()
        assert election.keep_running(work, backoff=QUICK) == "done" and len(tokens) == 2


# -- a body that outlives its lead --------------------------------------------------------------------


def test_the_body_of_an_election_is_cancelled_when_leadership_is_lost(nodes: Nodes) -> None:
    async def body(client: AsyncClient) -> None:
        came_through = False
        with pytest.raises(LeadershipLost):
            async with client.election("body", ttl="1s") as lead:
                await end(client, lead.session.lease)
                await asyncio.Event().wait()
                came_through = True
        assert not came_through
        task = asyncio.current_task()
        assert task is not None and not task.cancelling(), "the cancellation is taken back"

    run(nodes, body)


def test_a_body_that_catches_the_end_of_its_run_is_not_cancelled_as_well(nodes: Nodes) -> None:
    async def body(client: AsyncClient) -> None:
        async with client.election("caught", ttl="1s") as lead:
            await end(client, lead.session.lease)
            with pytest.raises(LeadershipLost):
                await lead.run(asyncio.Event().wait)
            await asyncio.sleep(0.01)
            assert not lead.remaining

    run(nodes, body)


def test_a_body_that_is_cancelled_by_others_is_cancelled_and_no_more(nodes: Nodes) -> None:
    async def body(client: AsyncClient) -> None:
        entered = asyncio.Event()

        async def lead() -> None:
            async with client.election("others", ttl="20s"):
                entered.set()
                await asyncio.Event().wait()

        leading = asyncio.ensure_future(lead())
        await entered.wait()
        leading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leading
        assert not await client.election("others").contenders()

    run(nodes, body)


def test_what_was_acquired_is_not_bound_to_a_body(nodes: Nodes) -> None:
    async def body(client: AsyncClient) -> None:
        lock = client.lock("no body", ttl="1s")
        lead = await lock.acquire()
        await end(client, lead.session.lease)
        await lead.session.wait_lost()
        await asyncio.sleep(0.01)
        assert not lock.owned()
        with pytest.raises(LeadershipLost):
            await lock.extend()
        await lock.release()

    run(nodes, body)
