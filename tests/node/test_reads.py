"""Reads that wait: for a confirmation of their own, and for their index."""

from __future__ import annotations

from collections.abc import Callable

from raft.core.types import ReadState
from raft.node.applier import Rejection
from raft.node.requests.reads import NODE_STOPS, NOT_APPLIED, Reads
from raft.protocol.client import QueryResult, Refused
from tests.node.test_proposals import Waiter


class Machine:
    applied = 0
    configuration = 0
    free = True

    def query(self, body: bytes, then: Callable[[bytes | Rejection], None]) -> bytes | Rejection | None:
        del then
        return body


def reads(incarnation: int = 1) -> tuple[Reads, Machine, list[bytes]]:
    machine, contexts = Machine(), []
    queue_of_reads = Reads(
        node=1,
        incarnation=incarnation,
        machine=machine,
        confirm=contexts.append,
        timeout_seconds=1.0,
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


def test_no_query_is_answered_while_a_thread_uses_the_machine() -> None:
    waiting, machine, contexts = reads()
    linearizable, stale = Waiter(), Waiter()
    machine.free = False
    waiting.add(b"q", linearizable, 0.0)
    waiting.add_stale(b"s", stale, 0.0)
    waiting.flush(0.0)
    waiting.confirmed([ReadState(0, contexts[0])])
    waiting.answer()
    assert (linearizable.told, stale.told) == ([], [])
    machine.free = True
    waiting.answer()
    assert (linearizable.told, stale.told) == ([QueryResult(0, b"q")], [QueryResult(0, b"s", True)])


def test_a_context_is_never_used_twice_not_even_after_a_restart() -> None:
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


def test_an_answer_to_an_earlier_request_confirms_nothing() -> None:
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


def test_an_unconfirmed_query_is_retried_and_then_refused() -> None:
    waiting, _, contexts = reads()
    asker = Waiter()
    waiting.add(b"q", asker, 0.0)
    waiting.flush(0.0)
    waiting.expire(0.3)
    assert len(contexts) == 2
    waiting.expire(1.0)
    assert isinstance(asker.told[0], Refused)
    assert len(waiting) == 0


def test_a_confirmed_query_of_a_node_that_cannot_apply_is_finally_refused() -> None:
    waiting, machine, contexts = reads()
    asker, later = Waiter(), Waiter()
    waiting.add(b"q", asker, 0.0)
    waiting.flush(0.0)
    waiting.confirmed([ReadState(7, contexts[0])])
    waiting.add(b"r", later, 5.0)
    waiting.flush(5.0)
    waiting.confirmed([ReadState(8, contexts[1])])
    waiting.expire(9.9)
    assert asker.told == [], "slow commands are no reason to refuse"
    waiting.expire(10.1)
    assert asker.told == [NOT_APPLIED]
    assert later.told == []
    machine.applied = 8
    waiting.answer()
    assert later.told == [QueryResult(8, b"r")]
    assert len(waiting) == 0


def test_a_stale_query_of_a_machine_that_is_never_free_is_finally_refused() -> None:
    waiting, machine, _ = reads()
    machine.free = False
    asker = Waiter()
    waiting.add_stale(b"s", asker, 0.0)
    waiting.expire(9.9)
    assert asker.told == []
    waiting.expire(10.1)
    assert asker.told == [NOT_APPLIED]


def test_a_confirmed_query_is_refused_when_the_node_stops() -> None:
    waiting, _, contexts = reads()
    asker = Waiter()
    waiting.add(b"q", asker, 0.0)
    waiting.flush(0.0)
    waiting.confirmed([ReadState(7, contexts[0])])
    waiting.stop()
    assert asker.told == [NODE_STOPS]
