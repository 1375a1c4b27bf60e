"""A simulated client process and its calls.

Owns running the production client's calls by the event queue instead of a thread. Knows nothing of the
requests.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TypeVar

from actors.errors import AskFailed
from raft.client.calls.cluster_view import ClusterView
from raft.client.calls.steps import Ask, AwaitChannel, Outcome, Step
from raft.client.errors import ClientError
from raft.client.watches.listener import listen
from raft.lab.simulation.event_queue import EventQueue
from raft.lab.simulation.hosts.host import Host
from raft.lab.simulation.setting import Setting, endpoint_of
from raft.protocol.registry import process_of

Result = TypeVar("Result")

Failed = Callable[[ClientError], None]


class Caller:
    """Runs any number of calls at once; `view` is their common view of the cluster."""

    def __init__(self, host: Host, *, setting: Setting, event_queue: EventQueue) -> None:
        self.name = host.runtime.name
        self.now = event_queue.now
        self._host = host
        self._event_queue = event_queue
        endpoints = {node: endpoint_of(node) for node in setting.ids}
        self.view = ClusterView(
            endpoints,
            lambda node: process_of(node) in host.runtime.peers,
            self._connect,
            channels=listen(host.runtime),
        )
        for node, endpoint in endpoints.items():
            self._connect(node, endpoint)

    def run_call(
        self,
        conversation: Generator[Step, Outcome, Result],
        done: Callable[[Result], None],
        failed: Failed,
    ) -> None:
        """Run a call; one of the two callbacks gets its end."""
        self._resume_call(conversation, done, failed, None)

    def _connect(self, node: int, endpoint: str) -> None:
        self._host.transport.connect(process_of(node), endpoint)

    def _resume_call(
        self,
        conversation: Generator[Step, Outcome, Result],
        done: Callable[[Result], None],
        failed: Failed,
        answer: Outcome,
    ) -> None:
        try:
            step = conversation.send(answer)
        except StopIteration as end:
            done(end.value)
        except ClientError as error:
            failed(error)
        else:
            self._take(step, lambda outcome: self._resume_call(conversation, done, failed, outcome))

    def _take(self, step: Step, go_on: Callable[[Outcome], None]) -> None:
        if isinstance(step, AwaitChannel):
            # In a turn of its own: the channel may be in the middle of calling its waiters.
            step.channel.waiting[lambda: self._event_queue.after(0.0, lambda: go_on(None))] = None
            return
        if not isinstance(step, Ask):
            self._event_queue.after(step.seconds, lambda: go_on(None))
            return

        def unanswered(failure: AskFailed) -> None:
            # In a turn of its own: the runtime may be in the middle of sending.
            self._event_queue.after(0.0, lambda: go_on(failure))

        pending = self._host.runtime.ask(
            self.view.address(step.node, step.request), step.request, step.timeout_seconds
        )
        pending.then(go_on, unanswered)
        self._host.stir()
