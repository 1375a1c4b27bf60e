"""What clients ask and are told, noted as it happens.

Owns the run's clock in what is noted, and the honesty of outcomes: whoever has no answer cannot know. The
form of a record is the judge's. Knows nothing of what is asked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from raft.client.errors import ClientError, CommandRefused, LeaseEnded, Rejected, Taken
from raft.lab.judging.records import Record

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

    def done(self, record: Record, result: Any = None) -> None:
        """It took place, and this is what the client was told."""
        record.returned, record.outcome, record.result = self.now(), "done", result

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
