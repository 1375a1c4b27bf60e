"""A cluster of node actors: the answers to clients are correct."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from actors.errors import TargetDown
from raft.client.calls import application
from raft.core.messages import RequestVote
from raft.core.types import NO_NODE, Role
from raft.machines.application import Application
from raft.machines.codec import decode_answer, encode_nodes_own
from raft.machines.commands import Expire
from raft.machines.machine import MachineError
from raft.machines.results import Done
from raft.machines.results import Refused as TurnedDown
from raft.node.requests import commands
from raft.node.requests.held import HELD_MAX, LEADERLESS_SECONDS_MAX
from raft.protocol.admin import GetStatus, NodeStatus, Transfer
from raft.protocol.client import (
    Command,
    Committed,
    LeaderIs,
    NotLeader,
    Query,
    QueryResult,
    Refused,
    Unknown,
    WhoLeads,
)
from raft.protocol.registry import address_of
from tests.node.cluster import Cluster, command, query, value_in


def test_a_command_is_answered_with_its_result_and_reaches_every_replica() -> None:
    cluster = Cluster(3)
    answer = cluster.put(cluster.elect(), b"k", b"v")
    assert isinstance(answer, Committed)
    cluster.advance(0.2)
    assert len({member.machine.snapshot() for member in cluster.alive()}) == 1
    assert {member.actor.components.applier.applied for member in cluster.alive()} == {answer.index}


def test_commands_reserved_for_nodes_are_refused_from_clients() -> None:
    cluster = Cluster(3)
    answer = cluster.answer(cluster.elect(), Command(encode_nodes_own(Expire((1,)))))
    assert answer == commands.NODES_ONLY


def test_commands_of_one_turn_are_sent_as_one_append() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    cluster.advance(0.2)
    writes = len(cluster[leader].log.writes)
    asks = [
        cluster.client.ask(cluster[leader].actor.context.address, command(b"%d" % n, b"v"), 5.0)
        for n in range(100)
    ]
    cluster.network.settle()
    assert all(isinstance(ask.result(), Committed) for ask in asks)
    assert len(cluster[leader].log.writes) == writes + 1


def test_a_follower_names_the_leader_and_its_endpoint() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    follower = cluster.followers()[0]
    term = cluster[leader].raft.term
    assert cluster.put(follower, b"k", b"v") == NotLeader(leader, f"ipc:///n{leader}", term)
    endpoints = {node: f"ipc:///n{node}" for node in cluster.ids}
    assert cluster.answer(follower, WhoLeads()) == LeaderIs(leader, term, endpoints)


def test_a_command_is_answered_only_when_a_quorum_has_it_on_disk() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    cluster.advance(0.2)
    for member in cluster.alive():
        member.disk.holding = True
    ask = cluster.ask(leader, command(b"k", b"v"))
    # The append overtook the leader's own write, and is in the followers' hands.
    assert all(member.disk.waiting == 1 for member in cluster.alive())
    cluster.advance(0.1)
    assert not ask.done
    follower = cluster[cluster.followers()[0]]
    follower.disk.do_next()
    cluster.advance(0.1)
    assert not ask.done, "one of three is no quorum"
    cluster[leader].disk.do_next()
    cluster.network.settle()
    assert isinstance(ask.result(), Committed)


def test_two_followers_make_a_quorum_while_the_leaders_disk_hangs_but_it_applies_only_what_it_holds() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    cluster.advance(0.2)
    cluster[leader].disk.holding = True
    ask = cluster.ask(leader, command(b"k", b"v"))
    committed = {member.raft.log.committed for member in cluster.alive()}
    cluster.advance(0.4)
    assert max(committed) == cluster[leader].raft.log.last
    assert cluster.leaders() == [leader], "a slow disk delays no heartbeat"
    cluster[leader].disk.do_next()
    cluster.network.settle()
    assert isinstance(ask.result(), Committed)


def test_a_vote_is_sent_only_when_it_is_durable() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    cluster.advance(0.2)
    others = cluster.followers()
    for node in others:
        cluster[node].disk.holding = True
    cluster[leader].kill()
    cluster.advance(0.2)
    assert cluster.leaders() == []
    for node in others:
        cluster[node].disk.holding = False
        while cluster[node].disk.waiting:
            cluster[node].disk.do_next()
    cluster.until(cluster.agree)


def test_a_disk_that_fails_stops_the_node_with_a_crash() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    cluster[leader].log.fail = OSError(5, "Input/output error")
    ask = cluster.ask(leader, command(b"k", b"v"))
    assert cluster[leader].runtime.stopped
    assert "Input/output error" in cluster.crashes[0].error
    cluster.crashes.clear()
    cluster.until(lambda: ask.done)
    assert ask.failure is None or isinstance(ask.failure, TargetDown)
    cluster.until(cluster.agree)


def test_a_command_replaced_by_another_leaders_entry_is_refused_and_not_applied() -> None:
    cluster = Cluster(3)
    old = cluster.elect()
    cluster.advance(0.2)
    others = cluster.followers()
    cluster[old].cut(*others)
    lost = cluster.ask(old, command(b"k", b"lost"), 30.0)
    cluster.until(lambda: cluster.agree(others), 2.0)
    new = cluster[others[0]].raft.leader
    assert isinstance(cluster.put(new, b"k", b"kept"), Committed)
    cluster[old].heal()
    cluster.until(lambda: lost.done, 2.0)
    assert isinstance(lost.result(), Refused)
    assert value_in(cluster.get(new, b"k")) == b"kept"


def test_a_command_with_an_open_outcome_is_unknown_and_may_be_applied() -> None:
    cluster = Cluster(3)
    old = cluster.elect()
    cluster.advance(0.2)
    others = cluster.followers()
    for node in others:
        cluster[node].cut(old)
    open_ask = cluster.ask(old, command(b"k", b"v"), 30.0)
    for node in others:
        cluster[old].cut(node)
    cluster.until(lambda: open_ask.done, 5.0)
    assert isinstance(open_ask.result(), Unknown)
    assert cluster[old].raft.role is not Role.LEADER


def test_a_command_that_the_next_leader_commits_is_answered_by_the_old_one() -> None:
    cluster = Cluster(3)
    old = cluster.elect()
    cluster.advance(0.2)
    others = cluster.followers()
    for node in others:
        cluster[node].cut(old)
    ask = cluster.ask(old, command(b"k", b"v"), 30.0)
    cluster.until(lambda: cluster[old].raft.role is not Role.LEADER, 2.0)
    assert not ask.done
    for node in others:
        cluster[node].heal()
    cluster.until(lambda: ask.done, 2.0)
    assert isinstance(ask.result(), Committed)


def test_without_a_leader_a_command_is_refused_and_a_query_too() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    others = cluster.followers()
    cluster[others[0]].kill()
    cluster[leader].kill()
    cluster.advance(1.0)
    assert cluster.put(others[1], b"k", b"v") == NotLeader(0, "", cluster[others[1]].raft.term)
    assert isinstance(cluster.get(others[1], b"k"), NotLeader)


def test_malformed_bytes_are_answered_alike_on_all_replicas() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    nothing = b"no command of any machine"
    last = cluster[leader].raft.log.last
    assert cluster.answer(leader, Command(nothing)) == commands.UNREADABLE
    assert cluster[leader].raft.log.last == last
    # A leader of another version may have let it in.
    cluster[leader].raft.propose_batch([nothing])
    answer = cluster.put(leader, b"k", b"v")
    assert isinstance(decode_answer(cluster.answer(leader, Query(b"no query either")).result), TurnedDown)
    cluster.advance(0.2)
    assert {member.actor.components.applier.applied for member in cluster.alive()} == {answer.index}
    assert len({member.machine.snapshot() for member in cluster.alive()}) == 1


class Unprintable(MachineError):
    def __str__(self) -> str:
        raise ValueError("no text")


class OfItsOwn(Exception):
    """What the author of a machine may define, and forget to derive from MachineError."""


ODD_ERRORS: dict[bytes, BaseException] = {
    b"its own": OfItsOwn("no funds"),
    b"runtime": RuntimeError("no"),
    b"deep": RecursionError(),
    b"exit": SystemExit(3),
    b"unprintable": Unprintable(),
    b"unsendable": MachineError("caf\udce9"),
}


class Picky:
    """A user's own machine, which raises in every way that a command may cause."""

    def apply(self, index: int, command: bytes) -> bytes:
        if command == b"refuse":
            raise MachineError("I would rather not")
        if command == b"bug":
            return [b""][index + 1]
        if command in ODD_ERRORS:
            raise ODD_ERRORS[command]
        return command

    def query(self, query: bytes) -> bytes:
        return query

    def snapshot(self) -> bytes:
        return b""

    def restore(self, data: bytes) -> None:
        """There is nothing to become."""


def test_a_machine_that_raises_fails_the_command_and_not_the_node() -> None:
    cluster = Cluster(3, machine=lambda: Application(Picky()), apply_on_worker=True)
    leader = cluster.elect()

    def own(body: bytes) -> object:
        answer = cluster.answer(leader, Command(application.own_command(body)))
        return decode_answer(answer.result)

    assert own(b"refuse") == TurnedDown("I would rather not")
    assert own(b"bug") == TurnedDown("the machine raised IndexError")
    assert [own(command) for command in ODD_ERRORS] == [
        TurnedDown("the machine raised OfItsOwn"),
        TurnedDown("the machine raised RuntimeError"),
        TurnedDown("the machine raised RecursionError"),
        TurnedDown("the machine raised SystemExit"),
        TurnedDown("Unprintable"),
        TurnedDown("caf\\udce9"),
    ]
    assert own(b"fine") == Done(b"fine")
    cluster.advance(0.2)
    assert len({member.machine.snapshot() for member in cluster.alive()}) == 1


def test_a_command_that_is_too_large_or_one_too_many_never_enters_the_log() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    last = cluster[leader].raft.log.last
    assert cluster.answer(leader, Command(bytes(commands.COMMAND_BYTES_MAX + 1))) == commands.TOO_LARGE
    for member in cluster.alive():
        member.disk.holding = True
    address = cluster[leader].actor.context.address
    asks = [cluster.client.ask(address, command(b"k", b"v"), 5.0) for _ in range(commands.PENDING_MAX + 1)]
    cluster.network.settle()
    refused = [ask for ask in asks if ask.done]
    assert refused
    assert all(isinstance(ask.failure or ask.result(), Refused | Exception) for ask in refused)
    assert cluster[leader].raft.log.last <= last + commands.PENDING_MAX


def test_a_stopping_leader_refuses_new_commands_and_answers_old_ones() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    cluster.advance(0.2)
    address = cluster[leader].actor.context.address
    before = cluster.client.ask(address, command(b"k", b"v"), 5.0)
    cluster.client.run_turn(0.0)
    cluster[leader].runtime.run_turn(0.0)
    cluster[leader].stop()
    after = cluster.client.ask(address, command(b"k", b"w"), 5.0)
    cluster.until(lambda: cluster[leader].runtime.stopped)
    cluster.network.settle()
    assert isinstance(before.result(), Committed)
    assert after.done
    assert not isinstance(after.reply, Committed | Unknown)


def handing_over(cluster: Cluster, leader: int, how: str) -> None:
    if how == "stop":
        cluster[leader].stop()
    else:
        cluster.client.ask(address_of(leader), Transfer(0), 5.0)
    cluster.client.run_turn(0.0)
    cluster[leader].runtime.run_turn(0.0)
    assert cluster[leader].raft.transferee


@pytest.mark.parametrize("how", ["stop", "transfer"])
def test_a_command_that_comes_while_leadership_is_handed_over_is_told_who_leads_then(how: str) -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    cluster.advance(0.2)
    handing_over(cluster, leader, how)
    held = cluster.client.ask(address_of(leader), command(b"k", b"v"), 5.0)
    cluster.client.run_turn(0.0)
    cluster[leader].runtime.run_turn(0.0)
    assert not held.done
    assert cluster.until(lambda: held.done) < 0.010
    answer = held.result()
    assert isinstance(answer, NotLeader)
    assert (answer.leader, answer.endpoint) == (cluster.leaders()[0], f"ipc:///n{cluster.leaders()[0]}")
    assert answer.leader != leader


@pytest.mark.parametrize("how", ["stop", "transfer"])
def test_a_command_that_waits_for_a_successor_in_vain_is_refused_and_was_never_logged(how: str) -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    cluster.advance(0.2)
    cluster[leader].cut(*cluster.followers())
    cluster.ask(leader, command(b"k", b"v"))  # The successor lacks it, so it is not asked to campaign.
    last = cluster[leader].raft.log.last
    handing_over(cluster, leader, how)
    held = [cluster.client.ask(address_of(leader), command(b"k", b"v"), 5.0) for _ in range(HELD_MAX + 1)]
    cluster.client.run_turn(0.0)
    cluster[leader].runtime.run_turn(0.0)
    assert sum(ask.done for ask in held) <= 1, "there is room for so many"
    assert 0.1 < cluster.until(lambda: all(ask.done for ask in held)) <= 0.6
    assert all(isinstance(ask.result(), Refused | NotLeader) for ask in held)
    assert cluster[leader].raft.log.last == last


def leaderless(cluster: Cluster) -> list[int]:
    """Two followers of three whose leader has just died, and that cannot reach each other yet."""
    dead = cluster.elect()
    cluster.advance(0.2)
    others = cluster.followers()
    cluster[others[0]].cut(others[1])
    cluster[dead].kill()
    cluster.until(lambda: all(cluster[node].raft.leader == NO_NODE for node in others))
    return others


@pytest.mark.parametrize("request_of", [lambda: command(b"k", b"v"), lambda: query(b"k")])
def test_requests_that_come_before_there_is_a_leader_are_answered_as_soon_as_there_is_one(
    request_of: Callable[[], Command | Query],
) -> None:
    cluster = Cluster(3)
    others = leaderless(cluster)
    held = [cluster.ask(node, request_of()) for node in others]
    assert not any(ask.done for ask in held)
    cluster[others[0]].heal()
    assert cluster.until(lambda: all(ask.done for ask in held)) < LEADERLESS_SECONDS_MAX
    answers = dict(zip(others, (ask.result() for ask in held), strict=True))
    (leader,) = cluster.leaders()
    if isinstance(request_of(), Query):
        assert isinstance(answers.pop(leader), QueryResult), "it answers itself"
    else:
        assert isinstance(answers.pop(leader), Committed), "it takes the command itself"
    assert [answer.leader for answer in answers.values()] == [leader]


def test_a_command_that_waits_at_a_candidate_is_in_its_first_append() -> None:
    cluster = Cluster(3)
    others = leaderless(cluster)
    cluster[others[0]].heal()
    for node in others:
        cluster[node].disk.holding = True  # So no vote is durable yet.
    cluster.until(lambda: any(cluster[node].raft.role is Role.CANDIDATE for node in others))
    candidate, voter = sorted(others, key=lambda node: cluster[node].raft.role is not Role.CANDIDATE)
    held = cluster.ask(candidate, command(b"k", b"v"))
    writes = len(cluster[voter].log.writes)
    for node in others:
        cluster[node].disk.holding = False
        cluster[node].disk.do_next()
    cluster.until(lambda: held.done)
    assert isinstance(held.result(), Committed)
    appended = [entries for _, entries, _ in cluster[voter].log.writes[writes:] if entries]
    assert [len(entries) for entries in appended] == [2], "the leader's own first entry, and the command"


def test_a_node_that_has_voted_sends_clients_to_its_candidate_until_a_leader_of_the_term_is_known() -> None:
    cluster = Cluster(3)
    voter, candidate = leaderless(cluster)
    raft = cluster[voter].raft
    address = cluster[candidate].actor.context.address
    end = raft.log.last_term, raft.log.last
    cluster[candidate].runtime.tell(
        address_of(voter), RequestVote(candidate, voter, raft.term + 1, *end, transfer=True)
    )
    cluster.network.settle()
    assert raft.vote == candidate and raft.leader == NO_NODE and address.process == f"n{candidate}"
    sent_on = cluster.ask(voter, command(b"k", b"v"))
    assert sent_on.result() == NotLeader(candidate, f"ipc:///n{candidate}", raft.term)


def test_a_dead_leader_is_never_named_as_the_next_one_though_a_node_has_voted_for_it() -> None:
    cluster = Cluster(3)
    others = leaderless(cluster)
    assert any(cluster[node].raft.vote not in (NO_NODE, node) for node in others)
    for node in others:
        assert cluster[node].actor.components.client_requests.held.successor == NO_NODE


def test_requests_that_wait_for_a_leader_in_vain_are_refused_soon_and_were_never_logged() -> None:
    cluster = Cluster(3)
    others = leaderless(cluster)
    held = [cluster.ask(node, request) for node in others for request in (command(b"k", b"v"), query(b"k"))]
    lasts = [cluster[node].raft.log.last for node in others]
    assert 0.010 < cluster.until(lambda: all(ask.done for ask in held)) <= LEADERLESS_SECONDS_MAX + 0.001
    assert [ask.result().leader for ask in held] == [NO_NODE] * 4
    assert [cluster[node].raft.log.last for node in others] == lasts


def test_a_node_that_stops_refuses_what_waits_for_a_leader() -> None:
    cluster = Cluster(3)
    others = leaderless(cluster)
    held = cluster.ask(others[0], command(b"k", b"v"))
    cluster[others[0]].stop()
    cluster.network.settle()
    assert held.result() == NotLeader(NO_NODE, "", cluster[others[0]].raft.term)


def test_a_message_from_another_process_than_its_sender_is_ignored() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    term = cluster[leader].raft.term
    liar = cluster.followers()[0]
    forged = RequestVote(cluster.followers()[1], leader, term + 5, term + 5, 100, transfer=True)
    cluster[liar].runtime.tell(address_of(leader), forged)
    cluster.client.tell(address_of(leader), forged)
    cluster.advance(0.5)
    assert cluster[leader].raft.term == term


def test_status_has_what_an_operator_needs() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    index = cluster.put(leader, b"k", b"v").index
    cluster.advance(0.2)
    status = cluster.answer(leader, GetStatus())
    assert isinstance(status, NodeStatus)
    assert (status.node, status.role, status.leader) == (leader, "leader", leader)
    assert (status.commit, status.applied, status.last) == (index, index, index)
    assert status.voters == [1, 2, 3]
    assert set(status.match.values()) == {index}
    assert status.contact_seconds is not None
    assert status.contact_seconds < 0.06
    follower = cluster.answer(cluster.followers()[0], GetStatus())
    assert (follower.role, follower.match) == ("follower", {})


def test_a_node_restarted_from_its_log_has_applied_the_same() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    for number in range(50):
        cluster.put(leader, b"%d" % number, b"v")
    cluster.advance(0.2)
    before = cluster[leader].machine.snapshot()
    for member in cluster.alive():
        member.kill()
    for member in cluster.members.values():
        member.start()
    cluster.until(cluster.agree)
    cluster.advance(0.2)
    assert {member.machine.snapshot() for member in cluster.alive()} == {before}
