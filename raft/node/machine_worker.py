"""The queue of work for the user's own machine, which runs beside the rest of the node.

Owns the order of that work (tasks of committed commands, queries, snapshots, restoring: first in, first out),
and its batches on a worker's thread. The node's loop never waits for a step. Knows nothing of what the
results are used for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from raft.machines.own_machine import ApplyTask, OwnMachine, Task
from raft.node.worker import Worker

BATCH_MAX = 256
BATCH_SECONDS = (
    0.005  # A batch ends after that time; its results are delivered, and the rest is queued again.
)
# Limits on the commands that a leader takes, and the queries that a node takes.
COMMANDS_MAX = 4_096
QUERIES_MAX = 4_096
BACKLOG_MAX = 4 * COMMANDS_MAX  # Behind by more, in number or bytes, a node applies nothing until it is less.
BACKLOG_BYTES_MAX = 64 * 1024 * 1024

Job = tuple[Callable[[], Any], Callable[[Any], None]]
"""A call on the worker, and a call on the loop with its result."""


class OwnMachineWorker:
    """Runs one job at a time, on the worker if there is one, else at once."""

    def __init__(self, own: OwnMachine, worker: Worker | None, now: Callable[[], float]) -> None:
        self._own = own
        self._worker = worker
        self._now = now
        self._jobs: deque[Job] = deque()
        self._busy = False
        self._batch: list[Job] = []
        self._results: list[Any] = []  # Of the current batch; the worker adds to it.
        self._delivered = 0
        self.commands = 0
        """The number of commands that wait or run."""
        self.command_bytes = 0
        """Their total size."""
        self.queries = 0
        """The number of queries that wait or run."""

    @property
    def idle(self) -> bool:
        """Whether the machine has reached the application's applied index."""
        return not self._busy and not self._jobs

    @property
    def full(self) -> bool:
        """Whether the backlog of commands is at its limit."""
        return self.commands >= BACKLOG_MAX or self.command_bytes >= BACKLOG_BYTES_MAX

    def run(self, tasks: Iterable[Task], answered: Callable[[int, bytes], None]) -> None:
        """Run tasks; `answered` is called with the index of each command and the encoded answer."""
        for task in tasks:
            if isinstance(task, ApplyTask):
                self.commands += 1
                self.command_bytes += len(task.body)
                self._jobs.append((partial(self._own.run, task), partial(self._carried, task, answered)))
            else:
                self._jobs.append((partial(self._own.run, task), _forget))
        self._next()

    def query(self, body: bytes, then: Callable[[bytes], None]) -> None:
        """Query the machine, after all tasks so far."""
        self.queries += 1

        def answered(answer: bytes) -> None:
            self.queries -= 1
            then(answer)

        self._jobs.append((partial(self._own.query, body), answered))
        self._next()

    def freeze(self, then: Callable[[Iterator[bytes]], None]) -> None:
        """Pass on the machine's parts, after all tasks so far."""
        self._jobs.append((self._own.parts, then))
        self._next()

    def restore(self, parts: Sequence[bytes | memoryview]) -> None:
        """Restore the machine from its parts."""
        self._jobs.append((partial(self._own.restore_parts, parts), _forget))
        self._next()

    def deliver(self) -> None:
        """Deliver the results of the current batch so far; call often, because a step may take long."""
        while self._delivered < len(self._results):
            (_, then), result = self._batch[self._delivered], self._results[self._delivered]
            self._delivered += 1
            then(result)

    def close(self) -> None:
        """Let the current step end, and begin no other."""
        self._jobs.clear()
        if self._worker is not None:
            self._worker.close()

    def _next(self) -> None:
        if self._busy:
            return
        if self._worker is None:
            self._busy = True
            while self._jobs:
                do, then = self._jobs.popleft()
                then(do())
            self._busy = False
        elif self._jobs:
            self._busy = True
            self._batch = [self._jobs.popleft() for _ in range(min(BATCH_MAX, len(self._jobs)))]
            self._results, self._delivered = [], 0
            self._worker.submit(partial(self._run_batch, self._batch, self._results), self._finish_batch)

    def _run_batch(self, batch: Sequence[Job], results: list[Any]) -> None:
        """On the worker: run the batch for a limited time, and at least one step."""
        ends_at = self._now() + BATCH_SECONDS
        for do, _ in batch:
            results.append(do())
            if self._now() >= ends_at:
                return

    def _finish_batch(self, _result: None, error: Exception | None) -> None:
        if error is not None:
            raise error
        self.deliver()
        self._jobs.extendleft(reversed(self._batch[self._delivered :]))
        self._batch, self._results, self._delivered = [], [], 0
        self._busy = False
        self._next()

    def _carried(self, task: ApplyTask, answered: Callable[[int, bytes], None], answer: bytes) -> None:
        self.commands -= 1
        self.command_bytes -= len(task.body)
        answered(task.index, answer)


def _forget(_result: object) -> None:
    """Nothing is to be done with that."""
