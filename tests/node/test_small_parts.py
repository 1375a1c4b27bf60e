"""The node's small parts: ticks, waits before campaigns, workers, reads, configuration, the tag table."""

from __future__ import annotations

import queue
import typing
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from actors.clock import ManualClock
from raft import control, requests
from raft.core import messages
from raft.core.messages import AppendEntries
from raft.core.types import Entry, EntryKind, ReadState, Role
from raft.node import failover
from raft.node.applying import Rejection
from raft.node.config import BadConfig, NodeConfig
from raft.node.failover import QuickElection, rank
from raft.node.lull import Lull
from raft.node.pace import Pace
from raft.node.reads import Reads
from raft.node.worker import InlineWorker, ThreadWorker, WorkDone
from raft.requests import QueryResult, Refused
from raft.wire import (
    CORE_MESSAGES,
    REGISTRY,
    TAGS,
    Append,
    BadEntry,
    pack_append,
    pack_entries,
    unpack_append,
)
from tests.node.test_proposals import Waiter

# -- ticks ---------------------------------------------------------------------------------------


class Clockwork:
    """A core that only counts its ticks, under a pace that the test drives."""

    def __init__(self, role: Role = Role.FOLLOWER) -> None:
        self.role = role
        self.ticks = self.election_elapsed = self.heartbeat_elapsed = 0
        self.randomized_election_ticks = 15
        self.clock = ManualClock(100.0)
        self.waits = Waits()
        self.stalls: list[float] = []
        self.pace = Pace(
            self,
            tick_seconds=0.025,
            heartbeat_ticks=2,
            sleep_ticks_max=5,
            now=self.clock.now,
            after=self.waits.after,
            woken=lambda now: None,
            stalled=self.stalls.append,
        )

    def tick(self) -> None:
        self.ticks += 1
        self.election_elapsed += 1
        self.heartbeat_elapsed = (self.heartbeat_elapsed + 1) % 2

    def wake(self, late_seconds: float = 0.0) -> float:
        seconds = self.waits.pending[0].seconds
        self.clock.advance(seconds + late_seconds)
        self.waits.fire()
        return seconds


def test_over_time_as_many_ticks_pass_as_the_clock_shows_however_it_rounds() -> None:
    for role in Role:
        core = Clockwork(role)
        while core.clock.now() < 110.0:
            core.wake(late_seconds=0.001)
        assert core.ticks in (399, 400, 401)
        assert core.stalls == []


def test_a_leader_wakes_for_its_heartbeats_and_a_follower_only_when_its_timeout_may_be_near() -> None:
    assert Clockwork(Role.LEADER).wake() == pytest.approx(0.050)
    follower = Clockwork()
    assert follower.wake() == pytest.approx(0.125)
    follower.election_elapsed = 13
    follower.pace.plan()
    assert follower.wake() == pytest.approx(0.050)


def test_ticks_that_have_passed_are_counted_before_a_message_is_heard() -> None:
    core = Clockwork()
    core.clock.advance(0.060)
    core.pace.pass_time(core.clock.now())
    assert core.ticks == 2
    core.pace.pass_time(core.clock.now())
    assert core.ticks == 2


def test_a_process_that_stood_still_lets_one_tick_pass_and_says_for_how_long() -> None:
    core = Clockwork()
    core.wake(late_seconds=5.0)
    assert core.ticks == 1
    assert core.stalls == [pytest.approx(5.125)]
    core.wake()
    assert core.ticks == 6
    assert len(core.stalls) == 1


def test_a_message_that_comes_after_a_stall_finds_it_told() -> None:
    core = Clockwork(Role.LEADER)
    core.clock.advance(1.0)
    core.pace.pass_time(core.clock.now())
    assert core.stalls == [1.0]


# -- campaigns ahead of time ---------------------------------------------------------------------


class Wait:
    """A timer that fires when told to; see Waits."""

    def __init__(self, waits: Waits, seconds: float, call: Callable[[], None]) -> None:
        self.waits, self.seconds, self.call = waits, seconds, call

    def cancel(self) -> None:
        if self in self.waits.pending:
            self.waits.pending.remove(self)


class Waits:
    """All timers that have not fired, in the order in which they were set."""

    def __init__(self) -> None:
        self.pending: list[Wait] = []

    def after(self, seconds: float, call: Callable[[], None]) -> Any:
        self.pending.append(Wait(self, seconds, call))
        return self.pending[-1]

    def fire(self) -> float:
        wait = self.pending.pop(0)
        wait.call()
        return wait.seconds


def quick(node: int) -> tuple[QuickElection, Waits, list[int]]:
    waits, campaigns = Waits(), []
    election = QuickElection(
        node=node, random=Random(1), after=waits.after, campaign=lambda: campaigns.append(1)
    )
    return election, waits, campaigns


def test_each_survivor_has_a_rank_of_its_own_and_the_dead_ones_successor_is_first() -> None:
    for dead in range(6):
        survivors = [node for node in range(1, 6) if node != dead]
        ranks = {rank(node, range(1, 6), dead): node for node in survivors}
        assert sorted(ranks) == list(range(len(survivors)))
        assert ranks[0] == (dead % 5) + 1


def test_the_first_in_rank_campaigns_at_once_and_the_others_wait_their_turn() -> None:
    first, _, campaigns = quick(2)
    first.begin([1, 2, 3], dead=1)
    assert campaigns == [1]
    second, waits, campaigns = quick(3)
    second.begin([1, 2, 3], dead=1)
    assert campaigns == []
    assert failover.RANK_SECONDS <= waits.fire() <= failover.RANK_SECONDS + failover.JITTER_SECONDS
    assert campaigns == [1]


def test_who_has_heard_of_a_rival_stands_back_for_as_long_as_an_election_takes() -> None:
    election, waits, campaigns = quick(3)
    election.begin([1, 2, 3], dead=1)
    election.stand_back()
    assert len(waits.pending) == 1
    assert waits.fire() >= failover.STAND_BACK_SECONDS
    assert campaigns == [1]


def test_campaigns_end_with_a_leader_and_after_a_few_tries() -> None:
    election, waits, campaigns = quick(2)
    election.begin([1, 2, 3], dead=1)
    election.end()
    assert waits.pending == []
    election.begin([1, 2, 3], dead=1)
    while waits.pending:
        waits.fire()
    assert len(campaigns) == 1 + failover.TRIES_MAX


def test_a_node_without_a_vote_never_hurries() -> None:
    election, waits, campaigns = quick(9)
    election.begin([1, 2, 3], dead=1)
    assert (waits.pending, campaigns) == ([], [])


# -- workers -------------------------------------------------------------------------------------


def test_a_thread_does_jobs_in_order_and_keeps_what_they_raise_for_the_loop() -> None:
    posted: queue.SimpleQueue[WorkDone] = queue.SimpleQueue()
    worker = ThreadWorker("test", posted.put)
    ends: list[object] = []
    for job in (lambda: 1, lambda: 1 // 0, lambda: 3):
        worker.submit(job, lambda result, error: ends.append(error or result))
    for _ in range(3):
        posted.get(timeout=5).deliver()
    worker.close()
    assert ends[0] == 1
    assert isinstance(ends[1], ZeroDivisionError)
    assert ends[2] == 3


def test_an_inline_worker_that_holds_does_nothing_until_told() -> None:
    ends: list[object] = []
    worker = InlineWorker(lambda work: work.deliver())
    worker.holding = True
    worker.submit(lambda: 1, lambda result, error: ends.append(result))
    assert (ends, worker.waiting) == ([], 1)
    worker.do_next()
    assert ends == [1]


# -- empty appends --------------------------------------------------------------------------------


def empty(commit: int, to: int = 2) -> AppendEntries:
    return AppendEntries(1, to, 1, 1, 5, commit, [])


def test_an_empty_append_waits_a_moment_and_leaves_if_nothing_follows() -> None:
    waits, sent = Waits(), []
    lull = Lull(waits.after, sent.append)
    lull.pass_on(empty(1))
    lull.pass_on(empty(2))
    lull.pass_on(empty(2, to=3))
    assert sent == []
    waits.fire()
    assert sent == [empty(2), empty(2, to=3)]
    assert waits.pending == []


def test_an_append_with_entries_takes_the_place_of_the_empty_one_before_it() -> None:
    waits, sent = Waits(), []
    lull = Lull(waits.after, sent.append)
    full = AppendEntries(1, 2, 1, 1, 5, 4, [Entry(1, 6)])
    lull.pass_on(empty(3))
    lull.pass_on(full)
    waits.fire()
    assert sent == [full]


# -- reads ---------------------------------------------------------------------------------------


class Machine:
    applied = 0
    configuration = 0
    free = True

    def query(self, body: bytes) -> bytes | Rejection:
        return body


def reads(incarnation: int = 1) -> tuple[Reads, Machine, list[bytes]]:
    machine, contexts = Machine(), []
    queue_of_reads = Reads(
        node=1,
        incarnation=incarnation,
        machine=machine,
        confirm=contexts.append,
        patience_seconds=1.0,
        retry_seconds=0.25,
    )
    return queue_of_reads, machine, contexts


def test_a_confirmed_query_waits_until_its_index_is_applied() -> None:
    waiting, machine, contexts = reads()
    asker = Waiter()
    waiting.add(b"q", asker, 0.0)
    waiting.flush(0.0)
    waiting.confirmed([ReadState(7, contexts[0])])
    waiting.answer()
    assert asker.told == []
    machine.applied = 7
    waiting.answer()
    assert asker.told == [QueryResult(7, b"q")]


def test_no_query_is_answered_while_a_thread_is_inside_the_machine() -> None:
    waiting, machine, contexts = reads()
    linearizable, stale = Waiter(), Waiter()
    machine.free = False
    waiting.add(b"q", linearizable, 0.0)
    waiting.add_stale(b"s", stale)
    waiting.flush(0.0)
    waiting.confirmed([ReadState(0, contexts[0])])
    waiting.answer()
    assert (linearizable.told, stale.told) == ([], [])
    machine.free = True
    waiting.answer()
    assert (linearizable.told, stale.told) == ([QueryResult(0, b"q")], [QueryResult(0, b"s", True)])


def test_a_context_is_never_used_twice_not_even_by_the_next_life() -> None:
    seen: set[bytes] = set()
    for incarnation in (1, 2):
        waiting, _, contexts = reads(incarnation)
        for _ in range(3):
            waiting.add(b"q", Waiter(), 0.0)
            waiting.flush(0.0)
            waiting.ask_again(0.0)
        assert not seen & set(contexts)
        seen |= set(contexts)
        assert len(set(contexts)) == len(contexts)


def test_an_answer_to_an_earlier_asking_confirms_nothing() -> None:
    waiting, machine, contexts = reads()
    asker = Waiter()
    waiting.add(b"q", asker, 0.0)
    waiting.flush(0.0)
    waiting.ask_again(0.1)
    machine.applied = 9
    waiting.confirmed([ReadState(7, contexts[0])])
    waiting.answer()
    assert asker.told == []
    waiting.confirmed([ReadState(7, contexts[1])])
    waiting.answer()
    assert asker.told == [QueryResult(9, b"q")]


def test_a_query_that_nobody_confirms_is_asked_again_and_then_refused() -> None:
    waiting, _, contexts = reads()
    asker = Waiter()
    waiting.add(b"q", asker, 0.0)
    waiting.flush(0.0)
    waiting.expire(0.3)
    assert len(contexts) == 2
    waiting.expire(1.0)
    assert isinstance(asker.told[0], Refused)
    assert len(waiting) == 0


# -- configuration -------------------------------------------------------------------------------

GOOD = NodeConfig(node=1, listen="ipc:///tmp/n1", data_dir="/d", peers={2: "ipc:///tmp/n2"})


def test_a_configuration_travels_as_bytes() -> None:
    assert NodeConfig.decode(GOOD.check().encode()) == GOOD
    with pytest.raises(BadConfig):
        NodeConfig.decode(b"garbage")


def test_times_as_given_can_be_reached_by_ticks() -> None:
    assert GOOD.tick_seconds == 0.025
    assert (GOOD.election_ticks, GOOD.election_ticks_max) == (10, 20)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"node": 0}, "from 1 to"),
        ({"peers": {1: "ipc:///tmp/x"}}, "among its own peers"),
        ({"peers": {2: "ipc:///tmp/n1"}}, "share the endpoint"),
        ({"listen": "ipc:///" + "x" * 200}, "107"),
        ({"listen": "http://x"}, "endpoint"),
        ({"listen": "tcp://10.0.0.1:7000"}, "keys"),
        ({"peers": {2: "tcp://example.org:7000"}}, "keys"),
        ({"supervisor": "tcp://0.0.0.0:7000"}, "keys"),
        ({"data_dir": ""}, "--data-dir"),
        ({"machine": "nonsense"}, "package.module:Class"),
        ({"heartbeat_seconds": 0.0}, "heartbeat"),
        ({"election_seconds_min": 0.06}, "two heartbeats"),
        ({"election_seconds_max": 0.25}, "tie for ever"),
        ({"lease_reads": True, "check_quorum": False}, "check-quorum"),
    ],
)
def test_what_cannot_work_is_refused_with_the_reason(change: dict[str, Any], words: str) -> None:
    fields = {name: getattr(GOOD, name) for name in GOOD.__struct_fields__}
    with pytest.raises(BadConfig, match=words):
        NodeConfig(**{**fields, **change}).check()


# -- the wire ------------------------------------------------------------------------------------


def test_every_message_between_processes_has_a_tag_and_the_rest_is_known_not_to_travel() -> None:
    peers = set(typing.get_args(messages.PeerMessage))
    assert peers - set(CORE_MESSAGES) == {
        messages.AppendEntries,
        messages.InstallSnapshot,
        messages.Propose,
    }
    assert set(CORE_MESSAGES) | {Append} <= set(TAGS.values())
    for module in (requests, control):
        structs = {
            thing
            for thing in vars(module).values()
            if isinstance(thing, type) and hasattr(thing, "__struct_fields__") and thing.__name__ != "Struct"
        }
        assert structs <= set(TAGS.values())


def test_an_entry_travels_in_the_bytes_that_its_leader_made() -> None:
    import msgspec

    entries = [Entry(3, 8, EntryKind.NORMAL, b"x" * 300), Entry(3, 9, EntryKind.CONF_CHANGE_V2, b"")]
    message = AppendEntries(1, 2, 3, 2, 7, 6, entries)
    raw = msgspec.msgpack.encode(pack_append(message, pack_entries(message.entries)))
    arrived = unpack_append(REGISTRY.decode(REGISTRY.tag(Append), raw))
    assert arrived == message
    assert [entry.encoded_cache for entry in arrived.entries] == [entry.encoded() for entry in entries]
    assert all(entry.encoded() in raw for entry in entries)


def test_what_is_no_entry_is_told_apart() -> None:
    import msgspec

    with pytest.raises(BadEntry):
        unpack_append(Append(1, 2, 3, 2, 7, 6, [msgspec.Raw(b"\x01")]))
