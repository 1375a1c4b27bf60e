"""What programs hold, against real node processes: sessions, leases, elections, locks, events."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest

from raft.client import AsyncClient, Client
from raft.client.errors import (
    ClientError,
    CommandRefused,
    FenceRejected,
    LeadershipLost,
    LeaseEnded,
    SessionExpired,
    Taken,
)
from raft.client.sessions.asyncio_election import AsyncLead
from raft.client.sessions.election import Lead
from raft.machines.commands import CompareNumber, Field, Get, Put, Relation, Revoke, Transaction, WatchKeys
from raft.machines.results import Item, Led, Left
from raft.protocol.client import LeaseProbe
from tests.client.nodes import Nodes
from tests.processes.clusters import wait_until

pytestmark = pytest.mark.processes

# Larger on demand:
# `RAFT_INCREMENTS=10000 RAFT_EVENTS=100000 python -m pytest tests/client/test_calls_sessions.py`.
INCREMENTS = int(os.environ.get("RAFT_INCREMENTS", "120"))
EVENTS = int(os.environ.get("RAFT_EVENTS", "1000"))
KILLS = 3 if EVENTS <= 1000 else 10
EVENTS_AT_ONCE = 50
SECONDS_MAX = 40.0 + (INCREMENTS + EVENTS) / 100


def run(nodes: Nodes, body: Callable[[AsyncClient], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with AsyncClient(nodes.endpoints) as client:
            await client.leader()
            await asyncio.wait_for(body(client), SECONDS_MAX)

    threads = threading.active_count()
    asyncio.run(whole())
    assert threading.active_count() == threads, "no thread outlives its context"


async def kill_leader(nodes: Nodes, client: AsyncClient) -> None:
    leader = (await client.leader()).leader
    os.kill(nodes.children[leader].pid or 0, signal.SIGKILL)


async def kept_alive(lead: AsyncLead) -> None:
    """Wait until another keep-alive has been answered."""
    left_seconds = lead.remaining
    while lead.remaining <= left_seconds:
        left_seconds = lead.remaining
        await asyncio.sleep(0)


def test_the_store_has_revisions_transactions_and_leases(nodes: Nodes) -> None:
    async def body(client: AsyncClient) -> None:
        async with client.session("5s") as session:
            revision = await session.put("a", "1", lease=session.lease)
            item = await session.get_item("a")
            assert item is not None and (item.value, item.revision, item.version) == (b"1", revision, 1)
            assert not (await session.cas("a", "0", "2")).swapped
            unchanged = CompareNumber(b"a", Field.REVISION, Relation.EQUAL, revision)
            done = await session.transact(Transaction((unchanged,), (Put(b"a", b"2"), Get(b"a"))))
            assert done.succeeded
            assert await session.delete_range("a", "b") == 1
            await session.put("mine", "x", lease=session.lease)
        async with client.session("5s") as later:
            assert await later.get("mine") is None, "it went with the session that it hung on"

    run(nodes, body)


def test_increments_through_kills_of_leaders_are_made_exactly_once(nodes: Nodes) -> None:
    async def body(client: AsyncClient) -> None:
        async with client.session("20s") as session:
            await session.put("n", "0")

            async def increment() -> None:
                # Not repeatable: a doubled one would find the value that it has set itself.
                value = await session.get("n")
                assert value is not None
                swapped = await session.cas("n", value, str(int(value) + 1))
                assert swapped.swapped, "another client has written, but there is none"

            for number in range(INCREMENTS):
                if number % (INCREMENTS // KILLS) == 20:
                    nodes.revive()
                    await asyncio.gather(kill_leader(nodes, client), increment())
                else:
                    await increment()
            value = await session.get("n")
            assert value is not None and value == b"%d" % INCREMENTS

    run(nodes, body)


def test_many_calls_at_once_stay_within_the_sessions_window(nodes: Nodes) -> None:
    async def body(client: AsyncClient) -> None:
        async with client.session("10s") as session:
            await asyncio.gather(*(session.put(f"w/{number}", "x") for number in range(600)))
            assert await session.delete_range("w/", "w0") == 600

    run(nodes, body)


def test_many_large_answers_at_once_wait_for_room_in_the_session(nodes: Nodes) -> None:
    async def body(client: AsyncClient) -> None:
        large = bytes(1_000_000)
        async with client.session("20s") as session:
            await session.put("large", large)
            swaps = await asyncio.gather(
                *(session.cas("large", "other", str(number)) for number in range(20))
            )
            assert all(not swap.swapped and swap.value is not None for swap in swaps)

    run(nodes, body)


def test_an_expired_session_is_told_so(nodes: Nodes) -> None:
    async def body(client: AsyncClient) -> None:
        async with client.session("10s") as session, client.session("10s") as other:
            await other.call(Revoke(session.lease))
            with pytest.raises(SessionExpired):
                await session.put("k", "v")
            assert session.remaining_seconds == 0.0

    run(nodes, body)


def test_the_next_candidate_leads_long_before_the_lease_of_one_who_left_would_have_ended(
    nodes: Nodes,
) -> None:
    async def body(client: AsyncClient) -> None:
        async with client.election("billing", ttl="30s") as first:
            campaign = asyncio.ensure_future(client.election("billing", ttl="5s").acquire())
            while not (await client.election("billing").current()).waiting:
                pass
        second = await asyncio.wait_for(campaign, 15.0)
        assert second.token > first.token
        await second.session.close()

    run(nodes, body)


def test_a_stale_token_is_turned_down_by_the_store(nodes: Nodes) -> None:
    async def body(client: AsyncClient) -> None:
        async with client.session("5s") as session:
            async with client.election("job", value="host-a") as lead:
                await session.put("guarded", "1", fence=lead.fence)
                (holder,) = (await client.election("job").current()).holders
                assert (holder.token, holder.value) == (lead.token, b"host-a")
                await lead.proclaim("host-b")
                (holder,) = (await client.election("job").current()).holders
                assert holder.value == b"host-b"
            async with client.election("job") as newer:
                with pytest.raises(FenceRejected) as rejected:
                    await session.put("guarded", "2", fence=lead.fence)
                assert rejected.value.holder == newer.token

    run(nodes, body)


def test_work_is_cancelled_before_the_lease_runs_out_when_no_node_can_be_asked(nodes: Nodes) -> None:
    async def body(client: AsyncClient) -> None:
        cancelled_at = 0.0

        async def work() -> None:
            nonlocal cancelled_at
            try:
                await asyncio.Event().wait()
            finally:
                cancelled_at = time.monotonic()

        async with client.election("work", ttl="1s") as lead:
            for child in nodes.children.values():
                os.kill(child.pid or 0, signal.SIGSTOP)
            paused_at = time.monotonic()
            try:
                with pytest.raises(LeadershipLost):
                    await lead.run(work)
            finally:
                for child in nodes.children.values():
                    os.kill(child.pid or 0, signal.SIGCONT)
            assert 0.0 < cancelled_at - paused_at < 1.0
            assert lead.remaining == 0.0
            with pytest.raises(LeadershipLost):
                lead.check()

    run(nodes, body)


@pytest.mark.parametrize("ended", [SessionExpired("it has expired"), FenceRejected("election/late", 1, 2)])
def test_work_whose_request_came_too_late_for_its_lease_lost_its_leadership(
    nodes: Nodes, ended: ClientError
) -> None:
    """After a stop the work may go on before the loss is noticed; `keep_running` then begins again."""

    async def body(client: AsyncClient) -> None:
        async with client.election("late", ttl="1s") as lead:
            with pytest.raises(type(ended)):
                await lead.run(partial(fails, ended))  # While the lease lasts it is an error of the work.

            async def late() -> None:
                await client.revoke(lead.session.lease)
                await lead.session.wait_lost()
                raise ended

            with pytest.raises(LeadershipLost):
                await lead.run(late)

    async def fails(error: ClientError) -> None:
        raise error

    run(nodes, body)


def test_blocking_work_whose_request_came_too_late_lost_its_leadership(nodes: Nodes) -> None:
    def late(lead: Lead) -> None:
        client.revoke(lead.in_loop.session.lease)
        wait_until(lambda: not lead.remaining)
        raise SessionExpired("it has expired")

    def fails(lead: Lead) -> None:
        raise SessionExpired(f"another session than that of {lead.token}")

    with Client(nodes.endpoints) as client:
        with pytest.raises(LeadershipLost):
            client.election("late", ttl="1s").run(late)
        with pytest.raises(SessionExpired):
            client.election("late", ttl="1s").run(fails)


def test_leadership_outlasts_the_death_of_the_clusters_leader(nodes: Nodes) -> None:
    async def body(client: AsyncClient) -> None:
        async with client.election("steady", ttl="3s") as lead:
            await kill_leader(nodes, client)
            await lead.run(lambda: kept_alive(lead))
            await lead.run(lambda: kept_alive(lead))
            (holder,) = (await client.election("steady").current()).holders
            assert holder.token == lead.token

    run(nodes, body)


def test_what_work_returns_or_raises_comes_out_of_run(nodes: Nodes) -> None:
    async def body(client: AsyncClient) -> None:
        async def answer() -> int:
            return 42

        async def fail() -> None:
            raise ValueError("mine")

        async with client.election("results") as lead:
            assert await lead.run(answer) == 42
            with pytest.raises(ValueError, match="mine"):
                await lead.run(fail)

    run(nodes, body)


def test_locks_exclude_and_semaphores_let_so_many_in(nodes: Nodes) -> None:
    async def body(client: AsyncClient) -> None:
        async with client.lock("door"):
            with pytest.raises(Taken):
                await client.lock("door", wait=False).acquire()
        async with client.lock("door", wait=False), client.semaphore("pool", 2), client.semaphore("pool", 2):
            with pytest.raises(Taken):
                await client.semaphore("pool", 2, wait=False).acquire()

    run(nodes, body)


def test_a_candidate_that_gives_up_waiting_leaves_the_queue(nodes: Nodes) -> None:
    async def body(client: AsyncClient) -> None:
        async with client.election("crowded"):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.election("crowded").acquire(), 0.3)
            assert not (await client.election("crowded").current()).waiting

    run(nodes, body)


def test_a_candidate_whose_lease_ends_in_the_queue_goes_to_its_end(nodes: Nodes) -> None:
    async def body(client: AsyncClient) -> None:
        async with client.election("long", ttl="1s"), client.session("10s") as other:
            candidate = client.election("long", ttl="1s")
            waiting = asyncio.ensure_future(candidate.acquire())
            while not (queue := (await candidate.current()).waiting):
                pass
            await other.call(Revoke(queue[0].lease))
            while (later := (await candidate.current()).waiting) in ((), queue):
                pass
        lead = await waiting
        assert lead.token == later[0].token > queue[0].token
        await lead.session.close()

    run(nodes, body)


def test_a_holder_whose_connection_closes_is_followed_long_before_its_lease_ends(nodes: Nodes) -> None:
    async def body(client: AsyncClient) -> None:
        gone = AsyncClient(nodes.endpoints)
        first = await gone.election("bound", ttl="6s", release_on_disconnect=True).acquire()
        await kept_alive(first)  # Which binds the lease to the connection.
        campaign = asyncio.ensure_future(client.election("bound").acquire())
        while not (await client.election("bound").current()).waiting:
            pass
        gone.close()
        lead = await asyncio.wait_for(campaign, first.remaining / 2)
        await lead.session.close()
        lost = {letter.kind for letter in gone.connection.runtime.dead_letters.recent}
        assert LeaseProbe.__name__ not in lost, "a probe of the connection is no dead letter"

    run(nodes, body)


def test_observers_see_every_change_of_leadership(nodes: Nodes) -> None:
    async def body(client: AsyncClient) -> None:
        seen: list[Led | Left] = []
        async with client.election("seen", value="a") as first:

            async def observe() -> None:
                async for event in client.election("seen").observe():
                    seen.append(event)
                    if len(seen) == 3:
                        return

            observer = asyncio.ensure_future(observe())
            while not seen:
                await asyncio.sleep(0)
        async with client.election("seen", value="b") as second:
            await observer
        kinds = [(type(event), event.token) for event in seen]
        assert kinds == [(Led, first.token), (Left, first.token), (Led, second.token)]

    run(nodes, body)


def test_a_watch_loses_and_doubles_nothing_while_leaders_are_killed(nodes: Nodes) -> None:
    async def body(client: AsyncClient) -> None:
        async with client.session("20s") as session:
            begin = await session.put("seq/", "start")
            revisions: list[int] = []
            values: list[int] = []

            async def watch() -> None:
                async for event in client.events(WatchKeys(begin + 1, b"seq/", b"seq0")):
                    assert isinstance(event, Item)
                    revisions.append(event.revision)
                    values.append(int(event.value))
                    if len(values) == EVENTS:
                        return

            watching = asyncio.ensure_future(watch())
            written: dict[int, int] = {}

            async def put(number: int) -> None:
                written[await session.put(f"seq/{number % 7}", str(number))] = number

            for first in range(0, EVENTS, EVENTS_AT_ONCE):
                writes = asyncio.gather(*(put(number) for number in range(first, first + EVENTS_AT_ONCE)))
                if first % (EVENTS // KILLS) < EVENTS_AT_ONCE:
                    nodes.revive()
                    await kill_leader(nodes, client)
                await writes
            await watching
            assert revisions == sorted(written)
            assert values == [written[revision] for revision in revisions]

    run(nodes, body)


def test_a_function_of_the_leader_alone_runs_under_its_lease(nodes: Nodes) -> None:
    async def body(client: AsyncClient) -> None:
        tokens: list[int] = []
        at_work = 0

        @client.only_leader("decorated")
        async def work(lead: AsyncLead) -> None:
            nonlocal at_work
            at_work += 1
            tokens.append(lead.token)
            await client.get("anything")  # Time enough for another one to begin.
            assert at_work == 1, "one at a time"
            at_work -= 1

        await asyncio.gather(*(work() for _ in range(5)))
        assert len(set(tokens)) == 5 and tokens == sorted(tokens)

    run(nodes, body)


def test_a_program_has_its_token_and_is_ended_with_all_its_children_when_leadership_is_lost(
    nodes: Nodes, tmp_path: Path
) -> None:
    async def body(client: AsyncClient) -> None:
        election = client.election("program", ttl="2s")
        lead = await election.acquire()
        script = f"test $FENCING_TOKEN = {lead.token}"
        assert await lead.run_program(["sh", "-c", script]) == 0
        pids = tmp_path / "pids"
        script = f"trap '' TERM; sleep 60 & echo $! $$ > {pids}.new; mv {pids}.new {pids}; wait; wait"
        running = asyncio.ensure_future(lead.run_program(["sh", "-c", script]))
        await asyncio.to_thread(wait_until, pids.exists)
        async with client.session() as other:
            await other.call(Revoke(lead.session.lease))
        with pytest.raises(LeadershipLost):
            await running
        assert not any(is_running(int(pid)) for pid in pids.read_text().split())
        await election.release()

    run(nodes, body)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_lease_that_is_none_is_refused_before_anything_is_sent(nodes: Nodes) -> None:
    with Client(nodes.endpoints) as client:
        for ttl in ("0s", "99ms", "8760h"):
            with pytest.raises(CommandRefused, match="a TTL is from 100 ms to"):
                client.grant(ttl)
            with pytest.raises(CommandRefused), client.session(ttl):
                pass
        lease = client.grant("10s")
        assert 0.0 < client.time_left(lease) <= client.keep_alive(lease) <= 10.0
        client.put("leased", "x", lease=lease)
        assert client.revoke(lease) and not client.revoke(lease)
        assert client.get("leased") is None
        assert client.time_left(lease) == client.keep_alive(lease) == 0.0
        with pytest.raises(LeaseEnded):
            client.put("leased", "x", lease=lease)
