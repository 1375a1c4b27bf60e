"""Many registers: put, get and compare-and-swap, by a few clients on each key.

Owns the mix. A key is replaced after some hundred operations, so that its history can be checked. Values are
unique. Some reads are sent to one node, whatever its role: any node may answer.
"""

from __future__ import annotations

from collections.abc import Generator

from raft.client.calls import store
from raft.client.calls.application import decode_or_raise, question_bytes
from raft.client.calls.cluster_view import ClusterView
from raft.client.calls.steps import Ask, Outcome, RetryBudget
from raft.client.calls.store import maybe_bytes
from raft.client.errors import Unreachable
from raft.lab.chaos.workers import Worker
from raft.lab.chaos.workloads.keys import Keys
from raft.machines.commands import CompareAndSwap, Get
from raft.machines.results import Answer, Item, Swapped, Value
from raft.protocol.client import QueryResult

CLIENTS_PER_KEY = 5
OPERATIONS_PER_KEY = 400
GET_SHARE, PUT_SHARE = 0.45, 0.40  # The rest are compare-and-swaps.
ANYWHERE_SHARE = 0.5  # Of reads: sent to a node of the worker's choice.
NODE_SECONDS_MAX = 0.5


class Registers:
    """The workload; with `stale`, one node answers reads from its own state: a deliberate bug."""

    patience_seconds = 1.0

    def __init__(self, *, stale: bool = False) -> None:
        self._stale = stale
        self._keys = Keys("r", OPERATIONS_PER_KEY)
        self._last_seen: dict[str, str | None] = {}

    async def step(self, worker: Worker) -> None:
        """One operation."""
        key = self._keys.next(worker.number // CLIENTS_PER_KEY)
        draw = worker.dice.random()
        if draw < GET_SHARE:
            await self._get(worker, key)
        elif draw < GET_SHARE + PUT_SHARE:
            await self._put(worker, key)
        else:
            await self._swap(worker, key)

    async def read_back(self, worker: Worker) -> None:
        """Read every key that was used, linearizably."""
        for key in self._keys.used():
            await self._get(worker, key)

    async def beside(self, worker: Worker) -> None:
        """Nothing."""

    async def close(self) -> None:
        """Nothing to release."""

    async def _put(self, worker: Worker, key: str) -> None:
        value = worker.fresh_value()
        record = worker.recorder.called(worker.name, "put", key, value=value)
        revision = await worker.recorder.settle(record, worker.client.put(key, value))
        if revision is not None:
            worker.recorder.done(record, index=revision)
            self._last_seen[key] = value
        worker.took(record)

    async def _get(self, worker: Worker, key: str) -> None:
        record = worker.recorder.called(worker.name, "get", key)
        node = 0
        if worker.dice.random() < ANYWHERE_SHARE:
            node = worker.dice.choice(worker.nodes())
            record.node = node
        found = await worker.recorder.settle(record, self._found(worker, key, node))
        if found is not None:
            value = text_of(found.item)
            worker.recorder.done(record, value, found.revision)
            self._last_seen[key] = value
        worker.took(record)

    async def _found(self, worker: Worker, key: str, node: int) -> Value:
        question = Get(key.encode())
        if not node:
            return value_in(await worker.client.ask(question, stale=self._stale))

        def at_node(view: ClusterView, *, budget: RetryBudget) -> Generator[Ask, Outcome, QueryResult]:
            del view
            request = store.query(question_bytes(question), stale=self._stale)
            answer = yield Ask(node, request, min(NODE_SECONDS_MAX, budget.left_seconds))
            if not isinstance(answer, QueryResult):
                raise Unreachable(f"node {node} has no answer")
            return answer

        return value_in(decode_or_raise((await worker.client.run_call(at_node)).result))

    async def _swap(self, worker: Worker, key: str) -> None:
        expected, value = self._last_seen.get(key), worker.fresh_value()
        record = worker.recorder.called(worker.name, "cas", key, value=value, expected=expected)
        swap = CompareAndSwap(key.encode(), maybe_bytes(expected), value.encode())
        swapped = await worker.recorder.settle(record, worker.client.call(swap))
        if swapped is not None:
            assert isinstance(swapped, Swapped), f"unexpected answer to a compare-and-swap: {swapped}"
            found, item = text_of(swapped.item), swapped.item
            index = item.revision if swapped.swapped and item is not None else 0
            worker.recorder.done(record, {"swapped": swapped.swapped, "found": found}, index)
            self._last_seen[key] = found
        worker.took(record)


def value_in(answer: Answer) -> Value:
    """The answer to a get."""
    assert isinstance(answer, Value), f"unexpected answer to a get: {answer}"
    return answer


def text_of(item: Item | None) -> str | None:
    """A key's value as text."""
    return None if item is None else item.value.decode()
