"""A client in an event loop whose cluster is a script, and whose clock stands until the script moves it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from actors.clock import ManualClock
from raft.client.asyncio_calls import CallFactory
from raft.client.asyncio_client import AsyncClient
from raft.client.calls.cluster_view import ClusterView
from raft.client.calls.steps import Ask, Outcome, RetryBudget

Script = Callable[[Ask], Outcome]


class ScriptedClient:
    """The part of a client that sessions and elections use."""

    def __init__(self, script: Script, timeout_seconds: float = 5.0) -> None:
        self.clock = ManualClock()
        self.script = script
        self._timeout_seconds = timeout_seconds
        self._view = ClusterView({1: "e1", 2: "e2"}, lambda _: True, lambda *_: None)

    @property
    def itself(self) -> AsyncClient:
        return cast(AsyncClient, self)

    def now(self) -> float:
        return self.clock.now()

    async def run_call(self, begin: CallFactory[Any], timeout_seconds: float | None = None) -> Any:
        seconds = self._timeout_seconds if timeout_seconds is None else timeout_seconds
        steps = begin(self._view, budget=RetryBudget(self.clock.now, seconds))
        outcome: Outcome = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                return end.value
            await asyncio.sleep(0)
            if isinstance(step, Ask):
                outcome = self.script(step)
            else:
                self.clock.advance(step.seconds)
                outcome = None
