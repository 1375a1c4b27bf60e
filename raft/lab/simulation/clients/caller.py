"""A simulated client process and its calls.

Owns its connections, and running the production client's calls by the event queue. Knows nothing of the
requests.
"""

from __future__ import annotations

from collections.abc import Callable

from raft.client.calls.callbacks import CallbackDriver
from raft.client.calls.cluster_view import ClusterView
from raft.client.calls.steps import Ask, Outcome
from raft.client.watches.listener import listen
from raft.lab.simulation.event_queue import EventQueue
from raft.lab.simulation.hosts.host import Host
from raft.lab.simulation.setting import Setting, endpoint_of
from raft.protocol.registry import process_of


class Caller:
    """Runs any number of calls at once; `view` is their common view of the cluster."""

    def __init__(self, host: Host, *, setting: Setting, event_queue: EventQueue) -> None:
        self.name = host.runtime.name
        self.now = event_queue.now
        self._host = host
        self.run_call = CallbackDriver(self._ask, event_queue.after).run_call
        endpoints = {node: endpoint_of(node) for node in setting.ids}
        self.view = ClusterView(
            endpoints,
            lambda node: process_of(node) in host.runtime.peers,
            self._connect,
            channels=listen(host.runtime),
        )
        for node, endpoint in endpoints.items():
            self._connect(node, endpoint)

    def _connect(self, node: int, endpoint: str) -> None:
        self._host.transport.connect(process_of(node), endpoint)

    def _ask(
        self, step: Ask, answered: Callable[[Outcome], object], failed: Callable[[Outcome], object]
    ) -> None:
        pending = self._host.runtime.ask(
            self.view.address(step.node, step.request), step.request, step.timeout_seconds
        )
        pending.then(answered, failed)
        self._host.stir()
