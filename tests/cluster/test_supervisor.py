"""The supervisor's decisions."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from actors.actor import Actor, Handlers
from actors.address import Address
from raft.cluster.failures import ExitCode
from raft.cluster.rpc import messages
from raft.protocol.admin import BecameLeader, ClearFault, Done, SetLink
from tests.cluster.supervisor_lab import NODES, Lab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    for node in lab.cluster.nodes:
        lab.bring_up(node)
    yield lab
    lab.journal.close()
    lab.fork_server.close()


def test_the_cluster_is_ready_when_all_nodes_follow_one_leader_and_that_is_told_once(lab: Lab) -> None:
    assert lab.states() == ["running"] * 3
    assert not lab.told("cluster-ready")
    lab.lead(2, 1)
    lab.lead(3, 2)
    assert len(lab.told("cluster-ready")) == 1
    assert lab.ask(messages.GetLeader()) == messages.LeaderAnswer(3, 2)


def test_a_lost_report_is_made_up_for_by_the_next_alive(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    for node in lab.cluster.nodes:
        lab.child(node).born()
        lab.turn()
        lab.alive(node, 2, 3)
        lab.alive(node, 2, 3)
    assert lab.states() == ["running"] * 3
    assert len(lab.told("node-started")) == 3
    assert len(lab.told("cluster-ready")) == 1
    assert lab.ask(messages.GetLeader()) == messages.LeaderAnswer(3, 2)
    lab.alive(1, 2, 1)
    lab.alive(1, 2, 1)
    assert len(lab.told("violation")) == 1
    lab.ask(messages.Kill("2"))
    lab.turn(0.1)
    lab.ask(messages.Start("2"))
    lab.child(2).born()
    lab.turn(0.1)
    lab.alive(2, 2, 3)
    assert len(lab.told("node-started")) == 4
    lab.journal.close()


def test_two_leaders_in_a_term_are_a_violation_and_the_exit_code_says_so(lab: Lab) -> None:
    lab.lead(1, 1)
    lab.lead(2, 2)
    assert not lab.told("violation")
    lab.tell(BecameLeader(3, 2, 0, 2, NODES, 0.01, "timeout", lab.clock.now()))
    assert len(lab.told("violation")) == 1
    lab.ask(messages.Down())
    assert lab.runtime.stopped
    assert lab.ending.exit_code is ExitCode.VIOLATION


def test_a_crash_is_restarted_with_growing_pauses_and_given_up_loudly(lab: Lab) -> None:
    for crash in range(6):
        lab.child(1).end(1)
        lab.turn()
        if crash < 5:
            assert lab.states()[0] == "down"
            lab.live(1.0)
            lab.bring_up(1)
    assert lab.states()[0] == "gave-up"
    assert len(lab.told("node-gave-up")) == 1
    lab.live(60.0)
    assert lab.states()[0] == "gave-up"
    assert lab.ask(messages.Start("1")) is None  # It answers when the node is up.
    lab.bring_up(1)
    assert lab.states()[0] == "running"


def test_an_injected_kill_stays_down_and_costs_no_restart(lab: Lab) -> None:
    for _ in range(10):
        assert isinstance(lab.ask(messages.Kill("1")), messages.Done)
        lab.live(1.0)
        assert lab.states()[0] == "down"
        lab.ask(messages.Start("1"))
        lab.bring_up(1)
    assert not lab.told("node-gave-up")


def test_a_kill_with_a_time_to_come_back_comes_back_then(lab: Lab) -> None:
    lab.ask(messages.Kill("1", 2.0))
    lab.live(1.5)
    assert lab.states()[0] == "down"
    lab.live(1.0)
    assert lab.states()[0] == "starting"
    assert len(lab.told("fault")) == len(lab.told("fault-cleared")) == 1


def test_a_node_that_dies_as_ordered_though_the_order_was_taken_back_has_not_crashed(lab: Lab) -> None:
    lab.ask(messages.Kill("1", at="save.begun"))
    lab.ask(messages.ClearFaults())
    lab.child(1).end(-signal.SIGKILL)
    lab.turn()
    assert [event.cause for event in lab.told("node-exited")] == ["injected"]
    lab.live(1.0)
    lab.bring_up(1)
    lab.child(1).end(-signal.SIGKILL)
    lab.turn()
    assert [event.cause for event in lab.told("node-exited")] == ["injected", "crash"]


def test_a_node_that_is_up_is_told_until_it_hears_what_is_broken_now_and_that_nothing_else_is(
    lab: Lab,
) -> None:
    heard: list[object] = []

    class Hearer(Actor):
        def on_order(self, order: object) -> None:
            heard.append(order)
            self.context.reply(Done())

        handlers: ClassVar[Handlers] = {ClearFault: on_order, SetLink: on_order}

    # It began with a cut that was mended before it was up, and can't be reached at first.
    lab.bring_up(1)
    lab.sender_of(1).spawn(Hearer, "raft")
    lab.runtime.transport.connect("n1", "")
    lab.live(1.0)
    assert {*heard} == {ClearFault(0)}


def test_the_death_of_the_leader_is_the_end_of_its_leadership_even_if_it_came_late(lab: Lab) -> None:
    lab.lead(1, 1)
    lab.child(1).end(-signal.SIGKILL)
    lab.turn()
    assert isinstance(lab.ask(messages.GetLeader()), messages.Failed)
    lab.tell(BecameLeader(1, 2, 0, 2, NODES, 0.01, "timeout", lab.clock.now() - 0.001))
    assert lab.ask(messages.GetLeader()).exit_code == ExitCode.NO_LEADER
    assert [event.reason for event in lab.told("leader-lost")] == ["died", "died"]  # type: ignore[union-attr]


def test_a_node_that_hangs_is_killed_and_started_again(lab: Lab) -> None:
    lab.live(4.0, 1)
    assert lab.child(1).signals == []
    hung = lab.child(1)
    lab.live(3.0, 1)
    assert hung.signals == [signal.SIGKILL]
    assert lab.states()[0] == "starting"


def test_a_launcher_that_stood_still_does_not_take_its_nodes_for_hung(lab: Lab) -> None:
    lab.live(2.0)
    lab.clock.advance(60.0)
    lab.turn()
    lab.live(2.0)
    assert [lab.child(node).signals for node in lab.cluster.nodes] == [[], [], []]


def test_a_paused_node_is_not_hung_and_wakes_when_its_time_is_up(lab: Lab) -> None:
    assert isinstance(lab.ask(messages.Pause("1", 20.0)), messages.Done)
    lab.live(19.0, 1)
    assert lab.child(1).signals == [signal.SIGSTOP]
    lab.live(2.0, 1)
    assert lab.child(1).signals == [signal.SIGSTOP, signal.SIGCONT]
    assert lab.states()[0] == "running"


def test_a_paused_leader_is_none_until_it_is_resumed_or_another_leads(lab: Lab) -> None:
    lab.lead(1, 2)
    lab.ask(messages.Pause("leader"))
    said = lab.ask(messages.GetLeader())
    assert (said.exit_code, said.reason) == (ExitCode.NO_LEADER, "the leader, n1, is paused")
    lab.ask(messages.Resume("leader"))
    assert lab.ask(messages.GetLeader()) == messages.LeaderAnswer(1, 2)
    lab.ask(messages.Pause("leader"))
    lab.lead(3, 3)
    assert lab.ask(messages.GetLeader()) == messages.LeaderAnswer(3, 3)


def test_what_makes_no_sense_is_refused_and_changes_nothing(lab: Lab) -> None:
    for verb, exit_code in (
        (messages.Kill("9"), ExitCode.USAGE),
        (messages.Kill("leader"), ExitCode.NO_LEADER),
        (messages.Start("1"), ExitCode.FAILURE),
        (messages.Resume("all"), ExitCode.FAILURE),
        (messages.Partition(["1,2", "2,3"]), ExitCode.USAGE),
        (messages.Partition(["all"]), ExitCode.USAGE),
        (messages.ClearFaults([7]), ExitCode.NOT_FOUND),
        (messages.HandOver(), ExitCode.NO_LEADER),
    ):
        refused = lab.ask(verb)
        assert isinstance(refused, messages.Failed), verb
        assert refused.exit_code == exit_code, verb
    assert lab.states() == ["running"] * 3
    assert not lab.told("fault")


def test_mending_what_is_whole_says_so(lab: Lab) -> None:
    assert lab.ask(messages.Heal()) == messages.Done(["no network fault is in force"])
    assert lab.ask(messages.ClearFaults()) == messages.Done(["no fault is in force"])


def test_down_stops_the_leader_last_and_ends_well(lab: Lab) -> None:
    lab.lead(2, 1)
    assert isinstance(lab.ask(messages.Down()), messages.Done)
    exits = [event.node for event in lab.told("node-exited")]  # type: ignore[union-attr]
    assert exits == [1, 3, 2]
    assert lab.runtime.stopped
    assert lab.ending.exit_code is ExitCode.OK


def test_a_second_request_to_end_waits_for_the_first_and_signals_no_node_again(lab: Lab) -> None:
    children = [lab.child(node) for node in (1, 2, 3)]
    for child in children:
        child.ends_on = {signal.SIGKILL}
    assert isinstance(lab.ask(messages.Down()), messages.Done)
    assert isinstance(lab.ask(messages.Down()), messages.Done)
    assert [child.signals for child in children] == [[signal.SIGTERM]] * 3
    for child in children:
        child.end(0)
    lab.turn()
    assert lab.runtime.stopped


def answer_in_time(lab: Lab, verb: object, seconds: float) -> Any:
    """What a verb is answered after a while, with no node that answers the supervisor."""
    pending = lab.asker.ask(Address("launcher", "supervisor"), verb, seconds + 10.0)
    lab.turn(seconds)
    return pending.result()


def test_an_id_that_is_gone_is_refused_with_those_that_there_are(lab: Lab) -> None:
    lab.cluster.add_node(4)
    lab.cluster.remove_node(lab.cluster.nodes[2])
    refused = lab.ask(messages.Partition(["1,2"]))
    assert refused == messages.Failed("there is no node 2: the cluster has n1 n3 n4", ExitCode.USAGE)


def test_a_partition_names_the_nodes_that_are_on_no_side(lab: Lab) -> None:
    said = answer_in_time(lab, messages.Partition(["1", "2"]), 2.0)
    assert "n1 | n2" in said.reason
    assert "n3 in no group, still linked with every group (a bridge)" in said.reason
    assert [fault.text for fault in lab.cluster.faults.active] == ["n1 | n2"]


def test_a_partition_that_leaves_no_node_out_says_nothing_of_bridges(lab: Lab) -> None:
    assert "bridge" not in answer_in_time(lab, messages.Partition(["1", "2,3"]), 2.0).reason


def test_an_isolated_node_alone_is_concerned_by_that_fault(lab: Lab) -> None:
    answer_in_time(lab, messages.Isolate("1"), 2.0)
    assert [len(lab.cluster.faults.of_node(node)) for node in (1, 2, 3)] == [1, 0, 0]


def test_a_disk_whose_fsync_fails_is_said_to_end_the_node_and_come_back(lab: Lab) -> None:
    assert "it is restarted" in answer_in_time(lab, messages.BreakDisk("1", fail_fsync=True), 2.0).reason
    assert "it is restarted" not in answer_in_time(lab, messages.BreakDisk("1", full=True), 2.0).reason


@pytest.mark.parametrize(
    "verb", [messages.Start("all"), messages.Start("random"), messages.Resume("followers")]
)
def test_where_no_node_is_in_the_state_for_a_verb_their_states_are_said(verb: object, lab: Lab) -> None:
    lab.lead(1, 2)
    said = lab.ask(verb)
    assert said.exit_code == ExitCode.FAILURE
    assert said.reason.startswith(("no node is down", "no node is paused"))
    assert said.reason.endswith(": n1 is running, n2 is running, n3 is running")


@pytest.mark.parametrize(
    "verb",
    [
        messages.RemoveMember("3"),
        messages.PromoteMember("3"),
        messages.ReplaceMember("3"),
        messages.AddMember(),
    ],
    ids=lambda verb: type(verb).__name__,
)
def test_a_change_of_members_without_a_leader_says_so_soon_and_starts_no_process(
    verb: object, lab: Lab
) -> None:
    said = answer_in_time(lab, verb, 6.0)
    assert said.exit_code == ExitCode.NO_LEADER
    assert len(lab.fork_server.children) == 3
    assert "the cluster has no leader" in said.reason
