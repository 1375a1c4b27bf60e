"""The operations of clients, recorded as they happen.

Owns the times and outcomes of records: without an answer the outcome is unknown. Clients of real processes
and simulated ones are recorded alike. Knows nothing of the operations.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from raft.client.errors import ClientError, CommandRefused, LeaseEnded, Rejected, Taken
from raft.lab.checkers.records import Record

Result = TypeVar("Result")


class Recorder:
    """All records of a run, in the order of their calls; `now` is the run's clock."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.records: list[Record] = []
        self.now = now

    def called(
        self,
        client: str,
        op: str,
        key: str,
        *,
        value: str | int | None = None,
        expected: str | int | None = None,
    ) -> Record:
        """A client calls; until an answer comes the outcome is unknown."""
        record = Record(client=client, op=op, key=key, value=value, expected=expected, call=self.now())
        self.records.append(record)
        return record

    def done(self, record: Record, result: Any = None, index: int = 0) -> None:
        """It took place with this result; `index` is its place in the log, if the client was told."""
        record.returned, record.outcome, record.result = self.now(), "done", result
        record.index = index

    def noted(self, client: str, op: str, key: str, result: Any, *, value: str | None = None) -> Record:
        """Something that a client was told unasked, or knows, as of this moment."""
        record = self.called(client, op, key, value=value)
        self.done(record, result)
        record.returned = record.call
        return record

    def refused(self, record: Record) -> None:
        """It did not take place, and never will."""
        record.returned, record.outcome = self.now(), "refused"

    async def settle(self, record: Record, work: Awaitable[Result]) -> Result | None:
        """Wait for the result of a recorded call; None if there is none.

        The caller notes when it is `done`. A session that has expired may have carried it out before.
        """
        try:
            return await work
        except (Rejected, CommandRefused, LeaseEnded, Taken):
            self.refused(record)
        except ClientError:
            record.outcome = "unknown"
        return None
