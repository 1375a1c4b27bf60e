"""What a network fault means for each node."""

from __future__ import annotations

from raft.cluster.faults.registry import FaultRegistry, isolation_links, links_between, partition_links
from raft.protocol.admin import SetLink

CUT = SetLink(0, [], cut=True)


def test_a_partition_cuts_both_ways_between_groups_and_none_inside() -> None:
    assert partition_links([[1, 2], [3, 4, 5]], one_way=False) == {
        1: {3, 4, 5},
        2: {3, 4, 5},
        3: {1, 2},
        4: {1, 2},
        5: {1, 2},
    }


def test_a_one_way_partition_silences_the_first_group_only() -> None:
    assert partition_links([[1, 2], [3]], one_way=True) == {1: {3}, 2: {3}}


def test_three_groups_are_cut_from_each_other() -> None:
    assert partition_links([[1], [2], [3]], one_way=False) == {1: {2, 3}, 2: {1, 3}, 3: {1, 2}}


def test_isolated_nodes_are_alone_even_from_each_other() -> None:
    assert isolation_links([1, 2], [1, 2, 3]) == {1: {2, 3}, 2: {1, 3}, 3: {1, 2}}


def test_a_link_has_a_direction_unless_both_are_asked_for() -> None:
    assert links_between([1], [2, 3], both=False) == {1: {2, 3}}
    assert links_between([1], [1, 2], both=True) == {1: {2}, 2: {1}}


def test_what_is_cut_between_hosts_is_no_order_to_a_node_and_what_else_is_wrong_with_a_link_is() -> None:
    registry = FaultRegistry(cuts_outside=True)
    cut = registry.add_network_fault("partition", {1: {2}}, CUT, "n1 | n2")
    slow = registry.add_network_fault("link", {1: {2}}, SetLink(0, [], delay_seconds=0.1), "n1 -> n2")
    assert (cut.orders, cut.links[1].to) == ({}, [2])
    assert registry.orders_of(1) == [slow.links[1]]
    assert registry.network_faults() == [cut, slow]


def test_a_network_fault_is_a_set_of_orders_under_one_id() -> None:
    registry = FaultRegistry()
    fault = registry.add_network_fault("partition", {1: {2}, 2: {1}}, CUT, "n1 | n2")
    assert fault.links == {1: SetLink(1, [2], cut=True), 2: SetLink(1, [1], cut=True)}
    assert fault.nodes == (1, 2)
    assert registry.orders_of(1) == [fault.links[1]]


def test_ids_are_never_used_again() -> None:
    registry = FaultRegistry()
    registry.remove(registry.add_process_fault("kill", 1).id)
    assert registry.add_process_fault("kill", 1).id == 2


def test_faults_are_found_by_node_and_by_kind() -> None:
    registry = FaultRegistry()
    killed = registry.add_process_fault("kill", 1)
    cut = registry.add_network_fault("isolate", isolation_links([2], [1, 2]), CUT, "n2")
    assert registry.of_node(1) == [killed, cut]
    assert registry.process_fault("kill", 1) is killed
    assert registry.process_fault("pause", 1) is None
    assert registry.network_faults() == [cut]
    assert str(cut) == "isolate#2"
