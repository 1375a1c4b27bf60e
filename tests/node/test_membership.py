"""A cluster of node actors whose members change while it runs."""

from __future__ import annotations

from typing import Any

import pytest

from raft.control import Done, Transfer
from raft.core.messages import StorageApply
from raft.core.types import APPLY_THREAD, Entry, EntryKind, Role
from raft.machines.application import Application
from raft.node.applying import Applier
from raft.node.member_requests import CatchUp
from raft.node.proposals import Proposals
from raft.node.snapshots import restore_machine, unpack_state
from raft.node.worker import InlineWorker
from raft.requests import (
    AddLearner,
    Committed,
    Invalid,
    ListMembers,
    Members,
    NotLeader,
    Promote,
    Refused,
    Remove,
    Replace,
    WhoLeads,
)
from raft.wire import Expelled, address_of
from tests.node.cluster import Cluster, command, value_in


def endpoint(node: int) -> str:
    return f"ipc:///n{node}"


def asked(cluster: Cluster, request: Any) -> Any:
    """The answer that is no mere "later" or "ask another one"."""
    answers: list[Any] = []

    def settled() -> bool:
        cluster.until(lambda: bool(cluster.leaders()))
        answers.append(cluster.answer(cluster.leaders()[-1], request))
        return not isinstance(answers[-1], Refused | NotLeader)

    for _ in range(100):
        if settled():
            return answers[-1]
        cluster.advance(0.02)
    raise AssertionError(f"still {answers[-1]}")


def voters_of(cluster: Cluster, node: int) -> set[int]:
    return set(cluster[node].raft.tracker.configuration.voters)


def grow(cluster: Cluster, *nodes: int) -> None:
    for node in nodes:
        cluster.join(node)
        assert isinstance(asked(cluster, AddLearner(node, endpoint(node))), Members)
        assert isinstance(asked(cluster, Promote(node)), Members)


def test_a_node_joins_as_a_learner_and_is_promoted_when_it_has_caught_up() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    for number in range(20):
        cluster.put(leader, b"k%d" % number, b"v")
    newcomer = cluster.join(4)
    added = asked(cluster, AddLearner(4, endpoint(4)))
    assert (added.voters, added.learners) == ((1, 2, 3), (4,))
    assert added.endpoints[4] == endpoint(4)
    promoted = asked(cluster, Promote(4))
    assert (promoted.voters, promoted.learners) == ((1, 2, 3, 4), ())
    cluster.advance(0.2)
    assert newcomer.machine.snapshot() == cluster[leader].machine.snapshot()
    assert all(voters_of(cluster, node) == {1, 2, 3, 4} for node in (1, 2, 3, 4))


def test_a_node_that_is_to_join_begins_without_voters_and_never_campaigns() -> None:
    cluster = Cluster(1)
    newcomer = cluster.join(2)
    cluster.advance(5.0)
    assert newcomer.raft.term == 0
    assert newcomer.raft.role is Role.FOLLOWER
    assert voters_of(cluster, 2) == set()


def test_a_learner_that_cannot_be_reached_is_not_promoted() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    cluster.put(leader, b"k", b"v")
    asked(cluster, AddLearner(4, endpoint(4)))
    answer = cluster.answer(leader, Promote(4))
    assert isinstance(answer, Refused)
    assert "catch up" in answer.reason
    assert voters_of(cluster, leader) == {1, 2, 3}


def test_a_learner_far_behind_is_not_promoted_before_it_has_caught_up() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    cluster.join(4)
    asked(cluster, AddLearner(4, endpoint(4)))
    cluster.advance(0.2)
    cluster[leader].cut(4)
    for number in range(10):
        cluster.put(leader, b"k%d" % number, b"v")
    assert isinstance(cluster.answer(leader, Promote(4)), Refused)
    cluster[leader].heal()
    assert isinstance(asked(cluster, Promote(4)), Members)


def test_a_cluster_grows_from_one_to_five_and_shrinks_to_one_again() -> None:
    cluster = Cluster(1)
    cluster.elect()
    grow(cluster, 2, 3, 4, 5)
    leader = cluster.elect()
    assert voters_of(cluster, leader) == {1, 2, 3, 4, 5}
    cluster.put(leader, b"k", b"v")
    for node in [n for n in (1, 2, 3, 4, 5) if n != leader]:
        assert isinstance(asked(cluster, Remove(node)), Members)
        cluster.until(lambda node=node: cluster[node].runtime.stopped)  # type: ignore[misc]
    assert voters_of(cluster, leader) == {leader}
    assert value_in(cluster.get(leader, b"k")) == b"v"
    assert isinstance(cluster.put(leader, b"k", b"w"), Committed)


def test_a_promoted_learner_votes_though_it_has_not_heard_of_its_promotion() -> None:
    cluster = Cluster(2)
    leader = cluster.elect()
    cluster.join(3)
    asked(cluster, AddLearner(3, endpoint(3)))
    cluster.advance(0.2)
    cluster[leader].cut(3)
    pending = cluster.ask(leader, Promote(3))
    cluster.until(lambda: pending.done, 1.0)
    assert isinstance(pending.result(), Members)
    follower = cluster.followers()[0] if cluster.followers()[0] != 3 else cluster.followers()[1]
    cluster.advance(0.1)
    assert 3 in cluster[3].raft.tracker.configuration.learners
    cluster[leader].kill()
    cluster.until(lambda: cluster.agree([follower, 3]), 5.0)
    assert cluster.leaders() == [follower]


def test_a_removed_node_stops_by_itself() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    removed = cluster.followers()[0]
    answer = asked(cluster, Remove(removed))
    assert removed not in answer.voters
    cluster.until(lambda: cluster[removed].runtime.stopped, 2.0)
    assert cluster[removed].actor.removed
    assert cluster.leaders() == [leader]


def test_a_removed_node_learns_of_it_though_nobody_sends_it_entries_any_more() -> None:
    cluster = Cluster(3)
    cluster.elect()
    removed = cluster[cluster.followers()[0]]
    # Its disk stands still: the entry that removes it is never applied there.
    removed.disk.holding = True
    asked(cluster, Remove(removed.node))
    cluster.until(lambda: removed.runtime.stopped, 2.0)
    assert removed.actor.removed


@pytest.mark.parametrize("options", [{}, {"pre_vote": False, "check_quorum": False}])
def test_a_removed_node_that_was_cut_off_returns_disturbs_nobody_and_stops(options: dict[str, bool]) -> None:
    cluster = Cluster(4, **options)
    leader = cluster.elect()
    removed = cluster.followers()[0]
    others = [node for node in (1, 2, 3, 4) if node != removed]
    for node in others:
        cluster[node].cut(removed)
    cluster[removed].cut(*others)
    asked(cluster, Remove(removed))
    cluster.advance(3.0)
    cluster.until(lambda: cluster.agree(others), 2.0)
    leader = next(node for node in cluster.leaders() if node != removed)
    term = cluster[leader].raft.term
    for node in (*others, removed):
        cluster[node].heal()
    cluster.until(lambda: cluster[removed].runtime.stopped, 5.0)
    assert cluster[removed].actor.removed
    cluster.advance(2.0)
    assert cluster.leaders() == [leader]
    assert cluster[leader].raft.term == term


def test_a_removed_node_that_was_down_is_told_when_it_comes_back() -> None:
    cluster = Cluster(4)
    leader = cluster.elect()
    removed = cluster.followers()[0]
    cluster[removed].kill()
    asked(cluster, Remove(removed))
    cluster.advance(2.0)
    term = cluster[leader].raft.term
    cluster[removed].start()
    cluster.until(lambda: cluster[removed].runtime.stopped, 5.0)
    assert cluster[removed].actor.removed
    assert (cluster.leaders(), cluster[leader].raft.term) == ([leader], term)


def test_a_member_does_not_believe_in_a_removal_that_it_knows_to_be_undone() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    cluster.advance(0.2)
    follower = cluster[cluster.followers()[0]]
    cluster[leader].runtime.tell(address_of(follower.node), Expelled(leader, 1))
    follower.actor._membership.expelled(Expelled(leader, 1))
    cluster.advance(2.0)
    assert not follower.runtime.stopped
    assert "removed" not in follower.events.names


def test_a_removed_leader_answers_hands_over_and_stops() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    cluster.put(leader, b"k", b"v")
    answer = cluster.answer(leader, Remove(leader))
    assert isinstance(answer, Members)
    assert leader not in answer.voters
    others = [node for node in (1, 2, 3) if node != leader]
    # By request, and not because a timeout has passed.
    assert cluster.until(lambda: cluster.agree(others)) < 0.1
    cluster.until(lambda: cluster[leader].runtime.stopped, 2.0)
    assert isinstance(cluster.put(cluster.leaders()[0], b"k", b"w"), Committed)
    assert voters_of(cluster, cluster.leaders()[0]) == set(others)


def test_a_replacement_takes_over_in_one_joint_change() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    old = cluster.followers()[0]
    cluster.join(4)
    asked(cluster, AddLearner(4, endpoint(4)))
    answer = asked(cluster, Replace(old, 4))
    assert set(answer.voters) == {1, 2, 3, 4} - {old}
    assert answer.leaving == ()
    cluster.until(lambda: cluster[old].runtime.stopped, 2.0)
    assert cluster.leaders() == [leader]


def test_a_leader_can_be_replaced() -> None:
    cluster = Cluster(3)
    old = cluster.elect()
    cluster.join(4)
    asked(cluster, AddLearner(4, endpoint(4)))
    answer = asked(cluster, Replace(old, 4))
    assert set(answer.voters) == {1, 2, 3, 4} - {old}
    cluster.until(lambda: cluster[old].runtime.stopped, 2.0)
    cluster.until(cluster.agree, 2.0)
    assert isinstance(cluster.put(cluster.leaders()[0], b"k", b"w"), Committed)


def test_a_leadership_handed_over_is_taken_once_the_configuration_is_applied() -> None:
    cluster = Cluster(3, apply_on_worker=True)
    leader = cluster.elect()
    heir = cluster[cluster.followers()[0]]
    heir.applying.holding = True
    assert isinstance(asked(cluster, AddLearner(4, endpoint(4))), Members)
    cluster.advance(0.06)
    assert heir.raft.log.has_conf_change_to_apply()
    assert cluster.answer(leader, Transfer(heir.node)) == Done()
    assert heir.raft.role is Role.FOLLOWER
    heir.applying.holding = False
    while heir.applying.waiting:
        heir.applying.do_next()
    assert cluster.until(lambda: cluster.leaders() == [heir.node]) < 0.010


def test_asking_for_what_is_so_already_changes_nothing() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    grow(cluster, 4)
    leader = cluster.elect()
    asked(cluster, Remove(cluster.followers()[0]))
    cluster.advance(0.5)
    leader = cluster.elect()
    gone = next(node for node in (1, 2, 3, 4) if node not in voters_of(cluster, leader))
    last = cluster[leader].raft.log.last
    member = next(iter(voters_of(cluster, leader)))
    for request in (
        AddLearner(member, endpoint(member)),
        Promote(member),
        Remove(gone),
        Replace(gone, member),
    ):
        assert isinstance(cluster.answer(leader, request), Members)
    assert cluster[leader].raft.log.last == last


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (AddLearner(0, "ipc:///n0"), "from 1 to"),
        (AddLearner(2, "ipc:///elsewhere"), "a member already"),
        (AddLearner(4, "ipc:///n1"), "listens at"),
        (AddLearner(4, "nonsense"), "nonsense"),
        (Promote(4), "no learner"),
        (Remove(4), "no member"),
        (Replace(4, 1), "no member"),
        (Replace(1, 4), "no learner"),
        (Remove(1, expected=((1, 2), ())), "not the expected"),
    ],
)
def test_a_change_that_makes_no_sense_is_refused_with_the_reason(request_: Any, why: str) -> None:
    cluster = Cluster(3)
    answer = cluster.answer(cluster.elect(), request_)
    assert isinstance(answer, Invalid)
    assert why in answer.reason


def test_the_last_voter_stays() -> None:
    cluster = Cluster(1)
    answer = cluster.answer(cluster.elect(), Remove(1))
    assert isinstance(answer, Invalid)
    assert "only voter" in answer.reason


def test_a_change_that_would_leave_no_quorum_is_refused() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    dead, alive = cluster.followers()
    cluster[dead].kill()
    cluster.advance(0.1)
    answer = cluster.answer(leader, Remove(alive))
    assert isinstance(answer, Refused)
    assert "can be reached" in answer.reason
    assert isinstance(asked(cluster, Remove(dead)), Members)


def test_with_an_expected_configuration_only_that_one_is_changed() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    cluster.join(4)
    added = asked(cluster, AddLearner(4, endpoint(4), expected=((1, 2, 3), ())))
    assert added.learners == (4,)
    assert isinstance(asked(cluster, Promote(4, expected=((1, 2, 3), (4,)))), Members)
    again = cluster.answer(cluster.leaders()[0], Remove(4, expected=((1, 2, 3), (4,))))
    assert isinstance(again, Invalid)
    assert voters_of(cluster, leader) == {1, 2, 3, 4}


def test_only_the_leader_knows_the_members_and_others_say_who_leads() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    follower = cluster.followers()[0]
    for request in (ListMembers(), Remove(follower)):
        answer = cluster.answer(follower, request)
        assert (answer.leader, answer.endpoint) == (leader, endpoint(leader))
    listed = cluster.answer(leader, ListMembers())
    assert (listed.voters, listed.leader) == ((1, 2, 3), leader)


def test_a_second_change_waits_for_the_first() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    cluster[leader].cut(*cluster.followers())
    first = cluster.ask(leader, AddLearner(4, endpoint(4)))
    second = cluster.answer(leader, AddLearner(5, endpoint(5)))
    assert isinstance(second, Refused)
    assert "may not be applied yet" in second.reason
    cluster[leader].heal()
    cluster.until(lambda: first.done, 3.0)


def test_members_survive_restarts_with_their_addresses() -> None:
    cluster = Cluster(3)
    cluster.elect()
    grow(cluster, 4, 5)
    for node in (1, 2, 3, 4, 5):
        cluster[node].kill()
    for node in (1, 2, 3, 4, 5):
        cluster[node].start()
    leader = cluster.elect()
    assert all(voters_of(cluster, node) == {1, 2, 3, 4, 5} for node in (1, 2, 3, 4, 5))
    known = cluster.answer(leader, WhoLeads()).endpoints
    assert known == {node: endpoint(node) for node in (1, 2, 3, 4, 5)}


def test_one_who_was_away_learns_of_a_leader_that_has_joined_meanwhile() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    away = cluster.followers()[0]
    cluster[away].kill()
    grow(cluster, 4)
    leader = cluster.elect()
    cluster.advance(0.1)
    assert cluster.answer(leader, Transfer(4)) == Done()
    cluster.until(lambda: cluster.leaders() == [4], 2.0)
    # It knows of 4 neither by its log nor by its command line.
    cluster[away].start()
    cluster.until(lambda: cluster[away].raft.leader == 4, 2.0)
    cluster.advance(0.3)
    assert voters_of(cluster, away) == {1, 2, 3, 4}


def test_a_writer_loses_nothing_while_every_member_is_replaced() -> None:
    cluster = Cluster(3)
    cluster.elect()
    acknowledged: list[bytes] = []

    def write_one() -> None:
        key = b"k%d" % (len(acknowledged) + 1)
        cluster.until(lambda: bool(cluster.leaders()))
        pending = cluster.ask(cluster.leaders()[-1], command(key, b"v"))
        cluster.until(lambda: pending.done, 6.0)
        if isinstance(pending.result(), Committed):
            acknowledged.append(key)

    def write(count: int) -> None:
        for _ in range(count):
            write_one()

    for old, new in ((1, 4), (2, 5), (3, 6)):
        write(5)
        cluster.join(new)
        asked(cluster, AddLearner(new, endpoint(new)))
        write(5)
        asked(cluster, Replace(old, new))
        write(5)
        cluster.until(lambda old=old: cluster[old].runtime.stopped, 2.0)  # type: ignore[misc]
    leader = cluster.elect()
    assert len(acknowledged) >= 40
    assert voters_of(cluster, leader) == {4, 5, 6}
    for key in acknowledged:
        assert value_in(cluster.get(leader, key)) == b"v"


def test_a_leader_that_has_committed_nothing_in_its_term_changes_nothing() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    others = cluster.followers()
    heir = cluster[others[0]]
    # Votes reach the heir, and after that nothing reaches it any more.
    assert cluster.answer(leader, Transfer(heir.node)) == Done()
    cluster[leader].kill()
    cluster.until(lambda: heir.raft.role is Role.LEADER)
    heir.raft.log.committed = heir.raft.log.applied = heir.raft.log.last - 1
    answer = heir.actor._membership.requests.take(Remove(leader), lambda: None)  # type: ignore[arg-type,return-value]
    assert isinstance(answer, Refused)
    assert "in its term" in answer.reason


def test_a_node_that_is_added_anew_does_not_leave_for_a_removal_of_long_ago() -> None:
    cluster = Cluster(3)
    cluster.elect()
    grow(cluster, 4)
    cluster.advance(0.1)
    fourth = cluster[4]
    fourth.cut(1, 2, 3)
    for node in (1, 2, 3):
        cluster[node].cut(4)
    asked(cluster, Remove(4))
    asked(cluster, AddLearner(4, endpoint(4)))
    for node in (1, 2, 3, 4):
        cluster[node].heal()
    # In its log it finds both, one after the other.
    cluster.until(lambda: 4 in fourth.raft.tracker.configuration.learners, 5.0)
    cluster.advance(3.0)
    assert not fourth.runtime.stopped
    assert isinstance(asked(cluster, Promote(4)), Members)


def test_a_snapshot_that_is_sent_holds_the_state_the_members_and_where_they_are() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    cluster.put(leader, b"k", b"v")
    asked(cluster, AddLearner(4, endpoint(4)))
    removed = cluster.followers()[0]
    asked(cluster, Remove(removed))
    cluster.join(4)
    cluster.until(lambda: cluster[4].raft.leader == leader, 2.0)
    cluster.advance(0.3)
    snapshot = cluster[4].log.snapshot()
    state = unpack_state(snapshot.data)
    assert snapshot.index > 1
    assert 4 in snapshot.conf_state.learners
    assert set(state.members) == {1, 2, 3, 4} - {removed}
    assert set(state.removed) == {removed}
    restored = Application()
    restore_machine(restored, state.machine)
    assert restored.snapshot() == cluster[leader].machine.snapshot()


def test_a_learner_that_keeps_falling_behind_is_given_no_vote_and_one_that_keeps_up_is() -> None:
    cluster = Cluster(1)
    cluster.elect()
    cluster.join(2)
    asked(cluster, AddLearner(2, endpoint(2)))
    raft, now = cluster[1].raft, [0.0]
    progress = raft.tracker.progress[2]
    catch_up = CatchUp(raft, lambda: now[0], round_seconds_max=0.25)
    progress.match, raft.log.committed, raft.log.last = 0, 10, 100
    assert catch_up.lacks(2)
    # A round that takes too long proves nothing but that another one is needed.
    now[0], progress.match, raft.log.committed = 1.0, 10, 50
    assert catch_up.lacks(2)
    now[0], progress.match, raft.log.committed = 1.1, 49, 60
    assert catch_up.lacks(2)
    now[0], progress.match = 1.2, 50
    assert not catch_up.lacks(2)


def test_quick_elections_are_held_by_the_voters_of_now() -> None:
    cluster = Cluster(3)
    cluster.elect()
    for old, new in ((1, 4), (2, 5), (3, 6)):
        cluster.join(new)
        asked(cluster, AddLearner(new, endpoint(new)))
        asked(cluster, Replace(old, new))
        cluster.until(lambda old=old: cluster[old].runtime.stopped, 2.0)  # type: ignore[misc]
    leader = cluster.elect()
    cluster.advance(1.0)
    cluster[leader].kill()
    # None of them was there at the start; still nobody waits for a timeout.
    assert cluster.until(cluster.agree) < 0.020


def test_the_state_that_a_snapshot_is_made_of_stands_at_one_index() -> None:
    frozen: list[tuple[int, int]] = []

    def on_config(entry: Entry) -> None:
        seen.append(entry.index)

    seen: list[int] = []
    done: list[Any] = []
    worker = InlineWorker(done.append)
    applier = Applier(
        machine=Application(), applied=0, waiters=Proposals(1.0), on_config=on_config, answer=lambda _: None,
        slow=worker, worker=worker,
    )  # fmt: skip
    entries = [Entry(1, 1, EntryKind.CONF_CHANGE_V2, b""), Entry(1, 2)]
    applier.apply(StorageApply(1, APPLY_THREAD, 1, entries, []))
    applier.freeze(lambda _parts: frozen.append((applier.applied, applier.configuration)))
    assert not frozen, "the machine is in another thread's hands"
    done.pop().deliver()
    assert seen == [1]
    assert frozen == [(2, 1)]
