"""A number that many programs add to.

Owns the key of that name, which holds the number as text.
"""

from __future__ import annotations

from raft.client.asyncio_keys import AsyncKeys
from raft.client.blocking import blocking, run
from raft.client.calls.transactions import Key
from raft.client.keys import Keys
from raft.client.recipes.steps import Steps, run_steps
from raft.machines.commands import Get, Transaction
from raft.machines.results import TransactionDone, Value


def read(key: bytes) -> Steps[int]:
    """The number; 0 if the key does not exist. ValueError for a key that holds something else."""
    found: Value = yield Get(key)
    return int(found.item.value) if found.item is not None else 0


def add(key: bytes, amount: int) -> Steps[int]:
    """Add to the number and return the sum; retried while other clients write it."""
    counter = Key(key)
    while True:
        found: Value = yield Get(key)
        before, revision = (int(found.item.value), found.item.revision) if found.item is not None else (0, 0)
        done: TransactionDone = yield Transaction(
            (counter.revision == revision,), (counter.put(str(before + amount)),)
        )
        if done.succeeded:
            return before + amount


class AsyncCounter:
    """A counter; each change is made exactly once if `keys` is a session, else it may end OutcomeUnknown."""

    def __init__(self, keys: AsyncKeys, name: str) -> None:
        self._keys = keys
        self._key = name.encode()

    async def value(self) -> int:
        """The number now, by a linearizable read."""
        return await run_steps(self._keys, read(self._key))

    async def add(self, amount: int = 1) -> int:
        """Add `amount`, which may be negative; returns the sum."""
        return await run_steps(self._keys, add(self._key, amount))


class Counter:
    """`AsyncCounter` for blocking programs."""

    def __init__(self, keys: Keys, name: str) -> None:
        self.unsuspended = AsyncCounter(keys.unsuspended, name)

    @property
    def value(self) -> int:
        """The number now, by a linearizable read."""
        return run(self.unsuspended.value())

    add = blocking(AsyncCounter.add)
