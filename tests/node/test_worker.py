"""Work on a thread: its order, and its errors."""

from __future__ import annotations

import queue

from raft.node.worker import InlineWorker, ThreadWorker, WorkDone


def test_a_thread_does_jobs_in_order_and_keeps_what_they_raise_for_the_loop() -> None:
    posted: queue.SimpleQueue[WorkDone] = queue.SimpleQueue()
    worker = ThreadWorker("test", posted.put)
    ends: list[object] = []
    for job in (lambda: 1, lambda: 1 // 0, lambda: 3):
        worker.submit(job, lambda result, error: ends.append(error or result))
    for _ in range(3):
        posted.get(timeout=60).deliver()
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


def test_what_is_done_on_the_loop_has_ended_when_the_call_returns() -> None:
    ends: list[object] = []
    posted: list[WorkDone] = []
    worker = ThreadWorker("test", posted.append)
    worker.do_here(lambda: 1, lambda result, error: ends.append(result))
    worker.do_here(lambda: 1 // 0, lambda result, error: ends.append(error))
    worker.close()
    assert ends[0] == 1
    assert isinstance(ends[1], ZeroDivisionError)
    assert posted == [], "no further turn is needed"
