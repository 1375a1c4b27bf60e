"""A runtime as a guest of an asyncio event loop: it takes its turns there, and needs no thread.

Owns when a turn is due: when a socket or a timer says so, or a message was sent here. Works with
any loop that has `add_reader`, uvloop's too. Knows nothing of what the runtime's actors do.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from typing import Final

from actors.runtime import Runtime
from actors.transport.zeromq import ZeroMqTransport

TURNS_MAX = 16
CANCELLATION_SECONDS_MAX: Final = 2.0
"""How long coroutines may clean up when their process stops; one that swallows its cancellation is left."""


class AsyncioDriver:
    """Turns a runtime in the running loop, from now until `end`, or until it has stopped by itself.

    `turned` is called after every few turns, the last one included.
    """

    def __init__(self, runtime: Runtime, transport: ZeroMqTransport, turned: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._runtime = runtime
        self._transport = transport
        self._turned = turned
        self._timer: asyncio.TimerHandle | None = None
        self._due_at: float | None = None
        self._soon = False
        runtime.wake_by(self.soon)
        self._descriptor = transport.fileno()
        self._loop.add_reader(self._descriptor, self._turn)
        self.soon()

    def soon(self) -> None:
        """Let all that is said in this round of the loop leave together."""
        if not self._soon:
            self._soon = True
            self._loop.call_soon(self._let_go)

    def now(self) -> None:
        """Let all that was said leave now: no more is expected in this round of the loop."""
        self._runtime.flush()
        if self._has_work():
            self.soon()
        else:
            self._set_timer()

    def end(self) -> None:
        """Stop the runtime, and give everything back. Twice is once."""
        self._leave_loop()
        self._runtime.stop()
        while not self._runtime.stopped:
            self._runtime.run_turn(0.0)

    def _let_go(self) -> None:
        self._soon = False
        if self._runtime.stopped:
            return
        self._runtime.flush()
        if self._has_work():
            self._turn()
        else:
            self._set_timer()

    def _turn(self) -> None:
        """Take turns until there is nothing to do; only then will the descriptor speak up again."""
        runtime = self._runtime
        if runtime.stopped:
            return
        for _ in range(TURNS_MAX):
            runtime.run_turn(0.0)
            if runtime.stopped or not self._has_work():
                break
        else:
            self.soon()
        if runtime.stopped:
            self._leave_loop()
        else:
            self._set_timer()
        self._turned()

    def _has_work(self) -> bool:
        return self._runtime.busy or self._transport.has_news()

    def _set_timer(self) -> None:
        deadline = self._runtime.next_deadline()
        if deadline == self._due_at:
            return
        self._due_at = deadline
        if self._timer is not None:
            self._timer.cancel()
        if deadline is not None:
            left_seconds = max(0.0, deadline - self._runtime.clock.now())
            self._timer = self._loop.call_later(left_seconds, self._turn_in_time)

    def _turn_in_time(self) -> None:
        self._due_at = None
        self._turn()

    def _leave_loop(self) -> None:
        self._loop.remove_reader(self._descriptor)
        if self._timer is not None:
            self._timer.cancel()


def run_in_asyncio(runtime: Runtime, transport: ZeroMqTransport) -> None:
    """As Runtime.run, in an asyncio loop of its own (uvloop's, where that is installed); stops on SIGTERM.

    Raises GaveUp.
    """
    loop = _new_loop()
    asyncio.set_event_loop(loop)
    try:
        loop.add_signal_handler(signal.SIGTERM, runtime.stop)
        loop.run_until_complete(_turn_until_stopped(runtime, transport))
    finally:
        loop.close()
    if runtime.failure is not None:
        raise runtime.failure


async def _turn_until_stopped(runtime: Runtime, transport: ZeroMqTransport) -> None:
    stopped = asyncio.Event()

    def turned() -> None:
        if runtime.stopped:
            stopped.set()

    AsyncioDriver(runtime, transport, turned)
    await stopped.wait()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        if not task.cancelling():  # Or what cleans up already would be cancelled in that.
            task.cancel()
    if left:
        _, left = await asyncio.wait(left, timeout=CANCELLATION_SECONDS_MAX)
    for task in left:
        sys.stderr.write(f"{task.get_coro()!r} swallowed its cancellation, and is left behind\n")


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop
