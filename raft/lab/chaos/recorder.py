"""What clients ask and are told, noted as it happens.

Owns the run's clock in what is noted, and the honesty of outcomes: without an answer it is unknown. The
form of a record is the judge's. Knows nothing of what is asked.
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
        """A client asks; until it is told otherwise the outcome is unknown."""
        record = Record(client=client, op=op, key=key, value=value, expected=expected, call=self.now())
        self.records.append(record)
        return record

    def done(self, record: Record, result: Any = None, index: int = 0) -> None:
        """It took place, and this is what the client was told; `index` if it was told where in the log."""
        record.returned, record.outcome, record.result = self.now(), "done", result
        record.index = index

    def noted(self, client: str, op: str, key: str, result: Any, *, value: str | None = None) -> Record:
        """Something that a client was told unasked, or knows: it is so at this moment."""
        record = self.called(client, op, key, value=value)
        self.done(record, result)
        record.returned = record.call
        return record

    def refused(self, record: Record) -> None:
        """It did not take place, and never will."""
        record.returned, record.outcome = self.now(), "refused"

    async def settle(self, record: Record, work: Awaitable[Result]) -> Result | None:
        """Wait for what comes of something that was called; the result, None if there is none.

        Whoever called it says when it is `done`. A session that has expired may have done it before.
        """
        try:
            return await work
        except (Rejected, CommandRefused, LeaseEnded, Taken):
            self.refused(record)
        except ClientError:
            record.outcome = "unknown"
        return None
