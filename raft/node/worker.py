"""Work that must not stall the loop: one job after another, each answered on the loop.

Owns the hand-over between the loop and the thread that blocks on its behalf. Knows nothing of what
the work is.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Protocol, TypeVar

import msgspec

T = TypeVar("T")

REST_SECONDS: Final = 0.001

Job = Callable[[], Any]
"""What the worker calls."""

Done = Callable[[Any, Exception | None], None]
"""Called on the loop with what the job returned, or with None and what it raised."""


class WorkDone(msgspec.Struct):
    """A finished job on its way back to the loop, where `deliver` is called."""

    done: Done
    result: Any
    error: Exception | None

    def deliver(self) -> None:
        """Pass the result to the caller of `submit`."""
        self.done(self.result, self.error)


class Worker(Protocol):
    """Does jobs in the order in which they were submitted, and never two at once."""

    def submit(self, job: Job, done: Done) -> None:
        """Do `job`, then call `done` on the loop's thread; never before this returns to the loop."""
        ...

    def do_here(self, job: Job, done: Done) -> None:
        """Do a job on the loop itself, for it is shorter than its way to a thread and back.

        `done` is called before this returns. Only while no other job is in progress.
        """
        ...

    def rest(self) -> None:
        """Called by a long job between its steps: yield the interpreter and the processor."""
        ...

    def close(self) -> None:
        """Finish the current job, drop the others, and return when the thread has ended."""
        ...


class ThreadWorker:
    """One thread. `post` carries what is finished to the loop, and is the only thing it shares with it."""

    def __init__(self, name: str, post: Callable[[WorkDone], None]) -> None:
        self._post = post
        self._jobs: queue.SimpleQueue[tuple[Job, Done] | None] = queue.SimpleQueue()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Job, done: Done) -> None:
        """See `Worker.submit`."""
        self._jobs.put((job, done))

    def do_here(self, job: Job, done: Done) -> None:
        """See `Worker.do_here`."""
        carry_out(job, done).deliver()

    def rest(self) -> None:
        """See `Worker.rest`. Without it the loop waits for the interpreter once for every frame it sends."""
        if not self._closing:
            time.sleep(REST_SECONDS)

    def close(self) -> None:
        """See `Worker.close`."""
        self._closing = True
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (item := self._jobs.get()) is not None and not self._closing:
            self._post(carry_out(*item))


class InlineWorker:
    """No thread: each job runs when it is submitted, or on request while `holding`.

    For tests and simulations, where what happens when is the caller's to decide.
    """

    def __init__(self, post: Callable[[WorkDone], None]) -> None:
        self._post = post
        self._jobs: deque[tuple[Job, Done]] = deque()
        self.holding = False

    @property
    def waiting(self) -> int:
        """How many jobs were submitted and not yet done."""
        return len(self._jobs)

    def submit(self, job: Job, done: Done) -> None:
        """See `Worker.submit`."""
        self._jobs.append((job, done))
        if not self.holding:
            self.do_next()

    def do_here(self, job: Job, done: Done) -> None:
        """See `Worker.do_here`; while `holding` it waits like any other job."""
        if self.holding:
            self.submit(job, done)
        else:
            carry_out(job, done).deliver()

    def do_next(self) -> None:
        """Do the job that has waited longest."""
        self._post(carry_out(*self._jobs.popleft()))

    def rest(self) -> None:
        """Don't yield."""

    def close(self) -> None:
        """See `Worker.close`."""
        self._jobs.clear()


def carry_out(job: Job, done: Done) -> WorkDone:
    """Do a job now; what it raises is kept, to be judged on the loop."""
    try:
        return WorkDone(done, job(), None)
    except Exception as error:  # noqa: BLE001  Raised again where it can be judged: in the actor.
        return WorkDone(done, None, error)


def gently(worker: Worker, steps: Iterable[T]) -> Iterator[T]:
    """The same steps of a long job, with a rest after each."""
    for step in steps:
        yield step
        worker.rest()
