"""Nodes with two versions of the user's own machine: upgraded one by one, back, and in the wrong order."""

from __future__ import annotations

from typing import Any

import pytest

from raft.client.calls import application
from raft.client.calls.application import decode_or_raise
from raft.client.errors import CommandRefused, UnsupportedVersion
from raft.core.types import NO_LIMIT
from raft.machines.application import Application
from raft.machines.codec import decode_answer, decode_call, encode_call
from raft.machines.commands import Agree, Call, Check, Downgrade
from raft.machines.machine import MachineError, WrongVersion
from raft.machines.results import Agreed, Refused
from raft.machines.typed import TypedCommand, answer_to, body_of, version_needed
from raft.node.leadership import shutdown
from raft.node.machine_services import CHECK_SECONDS
from raft.node.members.versions import LOOK_SECONDS, check_version
from raft.protocol.client import AddLearner, Command, Committed, Invalid, Members, TooNew
from tests.machines.banks import Bank, Close, Deposit, OldBank, OldDeposit
from tests.node.cluster import Cluster
from tests.node.members import endpoint

SOON_SECONDS = 4 * LOOK_SECONDS
CHECKED_SECONDS = 3 * CHECK_SECONDS


def cluster_of(*machines: type[Any]) -> Cluster:
    """A member with each of these machines, from the first on."""
    cluster = Cluster(len(machines), machine=lambda: Application(machines[0]()))
    cluster.elect()
    for node, machine in enumerate(machines, 1):
        if machine is not machines[0]:
            restart(cluster, node, machine)
    return cluster


def restart(cluster: Cluster, node: int, machine: type[Any], *, kill: bool = False) -> None:
    """End a node, gracefully unless it is killed, and start it with a machine of perhaps another version."""
    member = cluster[node]
    if kill:
        member.kill()
    else:
        member.stop()
        cluster.until(lambda: member.runtime.stopped)
        member.kill()
    cluster.make_machine = lambda: Application(machine())
    member.start()
    cluster.until(lambda: not member.runtime.stopped and cluster.agree())
    cluster.network.settle()


def call(cluster: Cluster, command: TypedCommand[Any], *, needs: int | None = None) -> Any:
    """What a command is answered, by the leader's own words if it is not taken."""
    body = application.own_command(body_of(command), version_needed(command) if needs is None else needs)
    answer = cluster.answer(cluster.elect(), Command(body))
    if not isinstance(answer, Committed):
        return answer
    return answer_to(command, application.own_result(answer.result))


def order(cluster: Cluster, operation: Downgrade) -> Any:
    answer = cluster.answer(cluster.elect(), Command(encode_call(Call(0, 0, 0, operation))))
    return decode_answer(answer.result)


def agreed(cluster: Cluster) -> list[int]:
    return [member.machine.agreement.version for member in cluster.alive()]


def until_agreed(cluster: Cluster, version: int) -> None:
    cluster.until(lambda: set(agreed(cluster)) == {version}, SOON_SECONDS)


def balances(cluster: Cluster) -> list[dict[str, int]]:
    cluster.until(lambda: len({member.machine.agreement.newest for member in cluster.alive()}) == 1)
    cluster.advance(0.2)
    return [member.machine.own.machine.state.balances for member in cluster.alive()]


def lead(cluster: Cluster, node: int) -> None:
    """Let that node lead."""
    leader = cluster.elect()
    if leader != node:
        cluster[leader].raft.transfer_leader(node)
        cluster.until(lambda: cluster.leaders() == [node])
        cluster.network.settle()


def entries_of(cluster: Cluster, kind: type) -> list[Any]:
    log = cluster[cluster.elect()].raft.log
    calls = [
        decode_call(bytes(entry.data or b""))
        for entry in log.slice(log.first_index(), log.last + 1, NO_LIMIT)
    ]
    return [call.operation for call in calls if call is not None and isinstance(call.operation, kind)]


# -- the cluster's version -------------------------------------------------------------------------


def test_the_clusters_version_rises_when_the_last_member_has_it_and_not_before() -> None:
    cluster = cluster_of(OldBank, OldBank, OldBank)
    for node in cluster.followers():
        restart(cluster, node, Bank)
        cluster.advance(SOON_SECONDS)
        assert agreed(cluster) == [1, 1, 1]
    last = cluster.elect()
    restart(cluster, last, Bank)
    until_agreed(cluster, 2)
    assert [member.machine.own.machine.cluster_version for member in cluster.alive()] == [2, 2, 2]
    assert entries_of(cluster, Agree) == [Agree(2, 2)]


def test_a_member_that_is_down_keeps_the_clusters_version_where_it_is() -> None:
    cluster = cluster_of(OldBank, Bank, Bank)
    cluster[1].kill()
    cluster.advance(SOON_SECONDS)
    assert agreed(cluster) == [1, 1]
    refusal = call(cluster, Close("alice"))
    assert isinstance(refusal, TooNew)
    assert "node 1 at ipc:///n1 is not up" in refusal.reason
    restart(cluster, 1, Bank, kill=True)
    until_agreed(cluster, 2)


def test_a_rule_that_changes_with_the_version_changes_at_one_index_everywhere() -> None:
    cluster = cluster_of(Bank, Bank, Bank)
    until_agreed(cluster, 2)
    assert call(cluster, Deposit("alice", -60)).overdrawn
    cluster = cluster_of(OldBank, Bank, Bank)
    for leader in (1, 2):
        lead(cluster, leader)
        with pytest.raises(CommandRefused):
            call(cluster, Deposit("alice", -60))
    cluster.advance(CHECKED_SECONDS)
    assert balances(cluster) == [{}, {}, {}]


# -- the wrong order -------------------------------------------------------------------------------


@pytest.mark.parametrize("leader", [1, 2])
@pytest.mark.parametrize("command", [Close("alice"), Deposit("alice", 1, note="a present")])
def test_a_command_sent_before_all_members_know_it_is_refused_before_the_log_and_names_who_is_behind(
    command: TypedCommand[Any], leader: int
) -> None:
    cluster = cluster_of(OldBank, Bank, Bank)
    call(cluster, OldDeposit("alice", 500))
    lead(cluster, leader)
    last = cluster[leader].raft.log.last
    refusal = call(cluster, command)
    assert isinstance(refusal, TooNew)
    assert (refusal.needed, refusal.agreed) == (2, 1)
    assert "node 1 at ipc:///n1 is of version 1" in refusal.reason
    assert "node 2" not in refusal.reason
    assert cluster[leader].raft.log.last == last, "it is in the log"
    cluster.advance(CHECKED_SECONDS)
    assert balances(cluster) == [{"alice": 500}] * 3
    restart(cluster, 1, Bank)
    until_agreed(cluster, 2)
    call(cluster, command)
    cluster.advance(CHECKED_SECONDS)
    assert len(cluster.alive()) == 3


def test_a_command_whose_new_field_has_its_default_is_accepted_by_all_versions() -> None:
    cluster = cluster_of(OldBank, Bank, Bank)
    for leader in (1, 2):
        lead(cluster, leader)
        call(cluster, Deposit("alice", 1), needs=version_needed(Deposit("alice", 1)))
    assert balances(cluster) == [{"alice": 2}] * 3


def test_a_command_logged_after_a_downgrade_is_refused() -> None:
    cluster = cluster_of(Bank, Bank, Bank)
    until_agreed(cluster, 2)
    leader = cluster.elect()
    lowered = cluster.ask(leader, Command(encode_call(Call(0, 0, 0, Downgrade(1)))))
    closed = Command(application.own_command(body_of(Close("alice")), 2))
    cluster[leader].actor.components.versions.agreed = 2
    pending = cluster.ask(leader, closed)
    cluster.until(lambda: lowered.done and pending.done)
    answer = pending.result()
    if isinstance(answer, Committed):
        with pytest.raises(UnsupportedVersion, match="it was not carried out"):
            decode_or_raise(answer.result)
    else:
        assert isinstance(answer, TooNew)


# -- what replicas may differ in -------------------------------------------------------------------


def test_replicas_whose_refusals_or_answers_differ_by_version_continue() -> None:
    cluster = cluster_of(OldBank, Bank, Bank)
    for leader in (1, 2):
        lead(cluster, leader)
        call(cluster, OldDeposit("alice", 500))
        with pytest.raises(CommandRefused):
            call(cluster, OldDeposit("alice", -100_000))
        cluster.advance(CHECKED_SECONDS)
    assert entries_of(cluster, Check)
    assert len(cluster.alive()) == 3
    restart(cluster, 1, Bank)
    until_agreed(cluster, 2)
    for _ in range(2):
        call(cluster, Deposit("bob", 1))
        cluster.advance(CHECKED_SECONDS)
    assert len(cluster.alive()) == 3


class Reworded(OldBank):
    """Of the same version, as it seems to be no change at all."""

    def carry_out(self, command: OldDeposit) -> Any:
        try:
            return super().carry_out(command)
        except MachineError:
            raise MachineError("in other words") from None


def test_the_text_of_a_refusal_may_differ_within_one_version() -> None:
    cluster = cluster_of(OldBank, Reworded, OldBank)
    for leader in (1, 2):
        lead(cluster, leader)
        with pytest.raises(CommandRefused):
            call(cluster, OldDeposit("alice", -1))
        cluster.advance(CHECKED_SECONDS)
    assert len(cluster.alive()) == 3


class Generous(OldBank):
    """Of the same version, and answers otherwise: it would not be noticed by the others."""

    def carry_out(self, command: OldDeposit) -> Any:
        receipt = super().carry_out(command)
        receipt.balance += 1
        return receipt


def test_commands_that_were_checked_before_a_restart_are_not_checked_again_and_later_ones_are() -> None:
    cluster = cluster_of(OldBank, OldBank, OldBank)
    for _ in range(3):
        call(cluster, OldDeposit("alice", 1))
        cluster.advance(CHECKED_SECONDS)
    node = cluster.followers()[0]
    restart(cluster, node, Generous, kill=True)
    cluster.advance(CHECKED_SECONDS)
    assert len(cluster.alive()) == 3, "it was held to what it answered before"
    call(cluster, OldDeposit("alice", 1))
    cluster.network.run_until(lambda: bool(cluster.crashes), CHECKED_SECONDS)
    assert [crash.error.partition(":")[0] for crash in cluster.crashes] == ["Diverged"]


def test_a_diverged_replica_is_detected_after_an_upgrade_too() -> None:
    cluster = cluster_of(OldBank, OldBank, OldBank)
    call(cluster, OldDeposit("alice", 1))
    cluster[cluster.followers()[0]].machine.own.machine.state.balances["alice"] = 7
    for node in (1, 2, 3):
        restart(cluster, node, Bank)
    until_agreed(cluster, 2)
    call(cluster, Deposit("alice", 1))
    cluster.advance(
        CHECKED_SECONDS
    )  # A stretch that two versions have answered is not compared; the next is.
    call(cluster, Deposit("alice", 1))
    cluster.network.run_until(lambda: bool(cluster.crashes), 2 * CHECKED_SECONDS)
    assert {crash.error.partition(":")[0] for crash in cluster.crashes} == {"Diverged"}


def test_an_upgrade_by_kills_goes_through_old_commands_again_and_stops_no_node() -> None:
    cluster = cluster_of(OldBank, OldBank, OldBank)
    for _ in range(3):
        call(cluster, OldDeposit("alice", 2))
        with pytest.raises(CommandRefused):
            call(cluster, OldDeposit("alice", -100_000))
        cluster.advance(CHECKED_SECONDS)
    for node in (1, 2, 3):
        restart(cluster, node, Bank, kill=True)
        call(cluster, OldDeposit("alice", 1))
        cluster.advance(CHECKED_SECONDS)
    until_agreed(cluster, 2)
    call(cluster, Deposit("alice", 1))
    cluster.advance(CHECKED_SECONDS)
    assert balances(cluster) == [{"alice": 10}] * 3


# -- the way back ----------------------------------------------------------------------------------


def test_before_all_members_have_it_any_of_them_may_go_back() -> None:
    cluster = cluster_of(OldBank, Bank, Bank)
    call(cluster, OldDeposit("alice", 500))
    for node in (2, 3):
        restart(cluster, node, OldBank)
    call(cluster, OldDeposit("alice", 1))
    cluster.advance(CHECKED_SECONDS)
    assert balances(cluster) == [{"alice": 501}] * 3


def test_after_a_downgrade_the_members_go_back_one_by_one_and_up_again() -> None:
    cluster = cluster_of(Bank, Bank, Bank)
    until_agreed(cluster, 2)
    call(cluster, Deposit("alice", 500))
    assert order(cluster, Downgrade(1)) == Agreed(1, 1)
    cluster.advance(SOON_SECONDS)
    assert agreed(cluster) == [1, 1, 1], "it has risen again though a downgrade is under way"
    for member in cluster.alive():  # However it ends, an older one can begin with what it leaves.
        check_version(member.log, Application(OldBank()))
    refusal = call(cluster, Close("alice"))
    assert isinstance(refusal, TooNew)
    assert "a downgrade to version 1 is under way" in refusal.reason
    for node in (1, 2, 3):
        restart(cluster, node, OldBank)
        call(cluster, OldDeposit("alice", 1))
    assert balances(cluster) == [{"alice": 503}] * 3
    cluster.until(lambda: not any(m.machine.agreement.ceiling for m in cluster.alive()), SOON_SECONDS)
    for node in (1, 2, 3):
        restart(cluster, node, Bank)
    until_agreed(cluster, 2)
    assert call(cluster, Close("alice")) == 503


def test_a_cancelled_downgrade_lets_the_version_rise_again() -> None:
    cluster = cluster_of(Bank, Bank, Bank)
    until_agreed(cluster, 2)
    order(cluster, Downgrade(1))
    until_agreed(cluster, 1)
    assert order(cluster, Downgrade(0)) == Agreed(1, 0)
    until_agreed(cluster, 2)


def test_once_a_newer_command_was_carried_out_a_downgrade_needs_force() -> None:
    cluster = cluster_of(Bank, Bank, Bank)
    until_agreed(cluster, 2)
    call(cluster, Deposit("alice", 1, note="for v1 to choke on"))
    refused = order(cluster, Downgrade(1))
    assert isinstance(refused, Refused)
    assert "commands of version 2 have been carried out" in refused.reason
    assert isinstance(order(cluster, Downgrade(3)), Refused)
    assert order(cluster, Downgrade(1, force=True)) == Agreed(1, 1)
    restart(cluster, 1, OldBank)
    assert [member.machine.own.machine.state for member in cluster.alive()][1].notes == []


# -- nodes that are too old ------------------------------------------------------------------------


def test_a_member_that_is_too_old_is_refused_at_its_start_and_loses_nothing() -> None:
    cluster = cluster_of(Bank, Bank, Bank)
    until_agreed(cluster, 2)
    call(cluster, Deposit("alice", 1))
    node = cluster.followers()[0]
    for kill in (True, False):
        log = cluster[node].log
        if kill:
            cluster[node].kill()
        else:
            cluster[node].stop()
            cluster.until(lambda: cluster[node].runtime.stopped)
            cluster[node].kill()
        with pytest.raises(WrongVersion, match=r"agreed on version 2 of its machine.*here is of version 1"):
            check_version(log, Application(OldBank()))
        check_version(log, Application(Bank()))
        restart(cluster, node, Bank, kill=True)
    assert balances(cluster) == [{"alice": 1}] * 3


def test_a_member_downgraded_just_before_the_agreement_stops_and_loses_nothing() -> None:
    cluster = cluster_of(OldBank, Bank, Bank)
    lead(cluster, 2)
    call(cluster, OldDeposit("alice", 1))
    cluster[2].raft.propose_batch([encode_call_of(Agree(2, 2))])
    cluster.network.run_until(lambda: bool(cluster.crashes), SOON_SECONDS)
    (crash,) = cluster.crashes
    assert crash.error.startswith("WrongVersion: ")
    cluster.crashes.clear()
    cluster.make_machine = lambda: Application(Bank())
    cluster[1].kill()
    cluster[1].start()
    until_agreed(cluster, 2)
    assert balances(cluster) == [{"alice": 1}] * 3


def encode_call_of(operation: Agree) -> bytes:
    return encode_call(Call(-1, 0, 0, operation))


def test_a_node_that_is_too_old_is_not_added() -> None:
    cluster = cluster_of(Bank, Bank, Bank)
    until_agreed(cluster, 2)
    leader = cluster.elect()
    cluster.make_machine = lambda: Application(OldBank())
    cluster.join(4)
    answer = cluster.answer(leader, AddLearner(4, endpoint(4)))
    assert isinstance(answer, Invalid)
    assert "node 4 at ipc:///n4 has version 1 of the machine" in answer.reason
    cluster.make_machine = lambda: Application(Bank())
    cluster.join(5)
    assert isinstance(cluster.answer(leader, AddLearner(5, endpoint(5))), Members)


# -- a snapshot on the way out ---------------------------------------------------------------------


def test_a_node_that_stops_gracefully_leaves_a_snapshot_so_that_nothing_is_replayed() -> None:
    cluster = cluster_of(OldBank, OldBank, OldBank)
    call(cluster, OldDeposit("alice", 1))
    cluster.advance(0.2)  # Until the followers have heard that it is committed.
    for node in (cluster.followers()[0], cluster.elect()):
        member = cluster[node]
        member.stop()
        cluster.until(lambda: member.runtime.stopped)  # noqa: B023
        assert member.log.snapshot().index == member.raft.log.applied
        restart(cluster, node, OldBank, kill=True)
        assert cluster[node].machine.own.machine.index == 0, "it has gone through its log again"
    assert balances(cluster) == [{"alice": 1}] * 3


def test_a_leader_transfers_leadership_before_its_last_snapshot_with_a_time_limit() -> None:
    cluster = Cluster(3, machine=lambda: Application(OldBank()), apply_on_worker=True)
    leader = cluster.elect()
    call(cluster, OldDeposit("alice", 1))
    member = cluster[leader]
    member.applying.holding = True
    member.stop()
    assert cluster.until(lambda: len(cluster.leaders()) == 1 and cluster.leaders() != [leader]) < 0.3
    assert not member.runtime.stopped
    waited = cluster.until(lambda: member.runtime.stopped)
    assert waited == pytest.approx(shutdown.SNAPSHOT_SECONDS_MAX, abs=0.5)


def test_a_node_without_a_user_machine_stops_at_once() -> None:
    cluster = Cluster(3)
    cluster.put(cluster.elect(), b"k", b"v")
    member = cluster[cluster.followers()[0]]
    member.stop()
    cluster.until(lambda: member.runtime.stopped)
    assert "snapshot-taken" not in member.events.names
