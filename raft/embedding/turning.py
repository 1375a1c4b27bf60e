"""A runtime as a guest of an event loop: it takes its turns there, and needs no thread.

Owns when a turn is due: when a socket or a timer says so, or somebody here has said something. Works with
any loop that has `add_reader`, uvloop's too. Knows nothing of what the runtime's actors do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from actors.runtime import Runtime
from raft.client.guest import GuestTransport

TURNS_MAX = 16


class Turning:
    """Turns a runtime in the running loop, from now until `end`; `on_stopped` if it stops by itself."""

    def __init__(self, runtime: Runtime, transport: GuestTransport, on_stopped: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._runtime = runtime
        self._transport = transport
        self._on_stopped = on_stopped
        self._timer: asyncio.TimerHandle | None = None
        self._soon = False
        self._descriptor = transport.fileno()
        self._loop.add_reader(self._descriptor, self._turn)
        self.soon()

    def soon(self) -> None:
        """Take a turn in this round of the loop."""
        if not self._soon:
            self._soon = True
            self._loop.call_soon(self._turn)

    def end(self) -> None:
        """Stop the runtime, and give everything back."""
        self._leave_loop()
        self._runtime.stop()
        while not self._runtime.stopped:
            self._runtime.run_turn(0.0)

    def _turn(self) -> None:
        """Take turns until nothing comes or goes; only then will the descriptor speak up again."""
        self._soon = False
        runtime, transport = self._runtime, self._transport
        if runtime.stopped:
            return
        for _ in range(TURNS_MAX):
            transport.active = False
            runtime.run_turn(0.0)
            if not transport.active:
                break
        else:
            self.soon()
        if runtime.stopped:
            self._leave_loop()
            self._on_stopped()
            return
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        deadline = self._runtime.next_deadline()
        if deadline is not None:
            left_seconds = max(0.0, deadline - self._runtime.clock.now())
            self._timer = self._loop.call_later(left_seconds, self._turn)

    def _leave_loop(self) -> None:
        self._loop.remove_reader(self._descriptor)
        if self._timer is not None:
            self._timer.cancel()
