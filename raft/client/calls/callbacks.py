"""Running a call's steps by callbacks, for callers that have neither a thread to block nor a coroutine.

Owns the order of the steps. How a node is asked, and how time passes, is the caller's to say.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TypeVar

from raft.client.calls.steps import Ask, AwaitChannel, Outcome, Step
from raft.client.errors import ClientError

Result = TypeVar("Result")


class CallbackDriver:
    """Runs any number of calls at once.

    `ask` asks a node and calls the first callback with the answer or the second with the AskFailed; `after`
    calls its callback after that many seconds.
    """

    def __init__(
        self,
        ask: Callable[[Ask, Callable[[Outcome], object], Callable[[Outcome], object]], object],
        after: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self._ask = ask
        self._after = after

    def run_call(
        self,
        steps: Generator[Step, Outcome, Result],
        done: Callable[[Result], object],
        failed: Callable[[ClientError], object],
    ) -> None:
        """Run a call; one of the two callbacks gets its end."""
        self._resume_call(steps, done, failed, None)

    def _resume_call(
        self,
        steps: Generator[Step, Outcome, Result],
        done: Callable[[Result], object],
        failed: Callable[[ClientError], object],
        outcome: Outcome,
    ) -> None:
        try:
            step = steps.send(outcome)
        except StopIteration as end:
            done(end.value)
        except ClientError as error:
            failed(error)
        else:
            self._take(step, lambda outcome: self._resume_call(steps, done, failed, outcome))

    def _take(self, step: Step, resume: Callable[[Outcome], None]) -> None:
        if isinstance(step, Ask):
            # In a turn of its own: the runtime may be in the middle of sending.
            self._ask(step, resume, lambda failure: self._after(0.0, lambda: resume(failure)))
        elif isinstance(step, AwaitChannel):

            def woken() -> None:
                # In a turn of its own: the channel may be in the middle of calling its waiters.
                self._after(0.0, lambda: resume(None))

            step.channel.waiting[woken] = None
        else:
            self._after(step.seconds, lambda: resume(None))
