"""The thread behind a simulated node's disk or machine: jobs that take simulated time.

Owns when a job is done, and that a job in progress when the process dies was done wholly, in part or not at
all. Knows nothing of the jobs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

from raft.lab.simulation.event_queue import EventQueue
from raft.node.worker import Done, Job, WorkDone, carry_out


class SimulatedWorker:
    """A `Worker`. `takes` gives the duration of the next job; `paused`: is the process paused?

    A job for the loop takes no time while the disk `is_quick`; else it is a job like any other.
    """

    def __init__(
        self,
        post: Callable[[WorkDone], None],
        *,
        event_queue: EventQueue,
        takes: Callable[[], float],
        paused: Callable[[], bool],
        run: Callable[[Callable[[], None]], None],
        is_quick: Callable[[], bool] = lambda: False,
    ) -> None:
        self._post = post
        self._event_queue = event_queue
        self._takes = takes
        self._paused = paused
        self._run = run
        self._is_quick = is_quick
        self._jobs: deque[tuple[Job, Done]] = deque()
        self._incarnations = 0  # Grows whenever scheduled events become void.
        self._overdue = False

    @property
    def job_in_hand(self) -> Job | None:
        """The job in progress, if any."""
        return self._jobs[0][0] if self._jobs else None

    def submit(self, job: Job, done: Done) -> None:
        """See `Worker.submit`."""
        self._jobs.append((job, done))
        if len(self._jobs) == 1:
            self._begin()

    def do_here(self, job: Job, done: Done) -> None:
        """See `Worker.do_here`."""
        if self._jobs or not self._is_quick():
            self.submit(job, done)
        else:
            carry_out(job, done).deliver()

    def rest(self) -> None:
        """See `Worker.rest`; there is no other thread."""

    def close(self) -> None:
        """See `Worker.close`."""
        if self._jobs:
            job, done = self._jobs.popleft()
            self._jobs.clear()
            self._run(lambda: _forget(carry_out(job, done)))
        self._incarnations += 1

    def abandon(self) -> None:
        """The process is dead: no job ends any more."""
        self._jobs.clear()
        self._incarnations += 1
        self._overdue = False

    def resume(self) -> None:
        """The process continues: jobs that should have ended meanwhile end now."""
        if self._overdue:
            self._overdue = False
            self._finish(self._incarnations)

    def _begin(self) -> None:
        self._event_queue.after(self._takes(), partial(self._finish, self._incarnations))

    def _finish(self, incarnation: int) -> None:
        if incarnation != self._incarnations:
            return
        if self._paused():
            self._overdue = True
            return
        self._run(self._do_next)

    def _do_next(self) -> None:
        job, done = self._jobs[0]
        finished = carry_out(job, done)
        self._jobs.popleft()
        self._post(finished)
        if self._jobs:
            self._begin()


def _forget(work: WorkDone) -> None:
    """Ignore its end."""
    del work
