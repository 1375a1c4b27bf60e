"""Fault injection is accepted only from the supervisor, and only where it is switched on."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from actors.errors import Undeliverable
from raft.node.config import BadConfig, NodeConfig
from raft.node.environment import NodeEnvironment
from raft.protocol.admin import ArmCrash, ClearFault, Done, GetStatus, SetClock, SetDisk, SetLink
from raft.protocol.registry import address_of, process_of
from tests.node.cluster import Cluster, Supervisor

ORDERS = (
    SetLink(1, [2], cut=True),
    SetDisk(1, full=True),
    SetClock(1, 2.0),
    ArmCrash(1, "now"),
    ClearFault(),
)


def test_a_node_without_fault_injection_has_no_handler_for_faults() -> None:
    cluster = Cluster(1)
    leader = cluster.elect()
    assert not {type(order) for order in ORDERS} & {*cluster[leader].actor.handlers}
    for order in ORDERS:
        with pytest.raises(Undeliverable, match="no handler"):
            cluster.answer(leader, order)


class Orders:
    """Faults that are only noted."""

    clock_rate = 1.0

    def __init__(self) -> None:
        self.taken: list[object] = []

    def describe(self) -> list[str]:
        return [f"{len(self.taken)} orders"]

    def orders(self) -> dict[type, Callable[[Any], Done]]:
        return {type(order): self.take for order in ORDERS}

    def take(self, order: object) -> Done:
        self.taken.append(order)
        return Done()


def test_only_the_supervisor_of_a_node_may_break_it(monkeypatch: pytest.MonkeyPatch) -> None:
    orders = Orders()
    monkeypatch.setattr("tests.node.cluster.NodeEnvironment", partial(NodeEnvironment, faults=orders))
    cluster = Cluster(1)
    leader = cluster.elect()
    supervisor = Supervisor(cluster)
    supervisor.runtime.transport.connect(process_of(leader), "")
    cluster.network.settle()
    for order in ORDERS:
        assert "only the supervisor" in cluster.answer(leader, order).reason
    assert orders.taken == []
    for order in ORDERS:
        supervisor.runtime.tell(address_of(leader), order)
    cluster.network.settle()
    assert orders.taken == [*ORDERS]
    assert cluster.answer(leader, GetStatus()).faults == ["5 orders"]


def test_broken_links_at_the_start_need_fault_injection() -> None:
    broken = NodeConfig(node=1, listen="ipc:///n1", data_dir="/nowhere", links=(SetLink(1, [2], cut=True),))
    with pytest.raises(BadConfig, match="fault injection"):
        broken.check()
