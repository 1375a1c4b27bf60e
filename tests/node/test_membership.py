"""A cluster of node actors whose members change while it runs."""

from __future__ import annotations

from typing import Any

from raft.core.messages import StorageApply
from raft.core.types import APPLY_THREAD, Entry, EntryKind, Role
from raft.machines.application import Application
from raft.node.applier import Applier
from raft.node.local import ContinueTurn
from raft.node.machine_worker import OwnMachineWorker
from raft.node.requests.membership import CatchUp
from raft.node.requests.proposals import Proposals
from raft.node.snapshots.contents import unpack_state
from raft.node.worker import InlineWorker
from raft.protocol.admin import Done, Transfer
from raft.protocol.client import (
    AddLearner,
    Committed,
    Members,
    Promote,
    Refused,
    Remove,
    Replace,
    WhoLeads,
)
from raft.protocol.registry import address_of
from tests.node.cluster import Cluster, command, value_in
from tests.node.members import asked, endpoint, grow, voters_of


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


def test_a_node_is_asked_who_it_is_for_a_second_unless_nothing_listens_there() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    deserted: list[str] = []
    cluster[leader].actor.components.handshakes.is_deserted = lambda place: place in deserted
    pending = cluster.ask(leader, AddLearner(4, endpoint(4)))
    assert cluster.until(lambda: pending.done) >= 1.0
    deserted.append(endpoint(5))
    pending = cluster.ask(leader, AddLearner(5, endpoint(5)))
    assert cluster.until(lambda: pending.done) < 0.1
    assert [text[:35] for text in cluster[leader].events.texts if "does not answer" in text] == [
        "node 4 does not answer at ipc:///n4",
        "node 5 does not answer at ipc:///n5",
    ]
    assert pending.result().learners == (4, 5)


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


def test_a_promoted_learner_votes_before_it_knows_of_its_promotion() -> None:
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


def test_once_a_promotion_is_answered_the_others_can_do_without_the_leader_at_once() -> None:
    cluster = Cluster(2)
    leader = cluster.elect()
    cluster.join(3)
    asked(cluster, AddLearner(3, endpoint(3)))
    cluster.advance(0.2)
    pending = cluster.ask(leader, Promote(3))
    cluster.until(lambda: pending.done, 1.0)
    assert isinstance(pending.result(), Members)
    cluster[leader].kill()
    others = [node for node in (1, 2, 3) if node != leader]
    cluster.until(lambda: cluster.agree(others), 5.0)


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


def test_a_transfer_is_accepted_once_the_configuration_is_applied() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    successor = cluster[cluster.followers()[0]]
    successor.actor.components.applier.free = False
    assert isinstance(asked(cluster, AddLearner(4, endpoint(4))), Members)
    cluster.advance(0.06)
    assert successor.raft.log.has_conf_change_to_apply()
    assert cluster.answer(leader, Transfer(successor.node)) == Done()
    assert successor.raft.role is Role.FOLLOWER
    successor.actor.components.applier.free = True
    successor.runtime.post(address_of(successor.node), ContinueTurn())
    assert cluster.until(lambda: cluster.leaders() == [successor.node]) < 0.010


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


def test_a_node_that_was_down_learns_of_a_leader_that_joined_meanwhile() -> None:
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
    successor = cluster[others[0]]
    # Votes reach the heir, and after that nothing reaches it any more.
    assert cluster.answer(leader, Transfer(successor.node)) == Done()
    cluster[leader].kill()
    cluster.until(lambda: successor.raft.role is Role.LEADER)
    successor.raft.log.committed = successor.raft.log.applied = successor.raft.log.last - 1
    answer = successor.actor.components.membership.requests.take(Remove(leader), lambda: None)  # type: ignore[arg-type,return-value]
    assert isinstance(answer, Refused)
    assert "in its term" in answer.reason


def test_a_node_that_is_added_again_ignores_its_earlier_removal() -> None:
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


def test_a_sent_snapshot_holds_the_state_the_members_and_their_endpoints() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    cluster.put(leader, b"k", b"v")
    removed = cluster.followers()[0]
    asked(cluster, Remove(removed))
    asked(cluster, AddLearner(4, endpoint(4)))
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
    restored.restore_parts(state.machine)
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


def test_early_elections_are_held_by_the_current_voters() -> None:
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
    # None of them was there at the start; still no node waits for a timeout.
    assert cluster.until(cluster.agree) < 0.020


def test_all_parts_of_a_snapshot_are_of_one_index() -> None:
    frozen: list[tuple[int, int]] = []
    parts: list[Any] = []

    def on_config(entry: Entry) -> None:
        seen.append(entry.index)

    seen: list[int] = []
    done: list[Any] = []
    worker = InlineWorker(done.append)
    applier = Applier(
        machine=Application(), applied=0, waiters=Proposals(1.0), on_config=on_config, answer=lambda _: None,
        slow=worker, own_machine=OwnMachineWorker(Application().own, worker, lambda: 0.0), again=lambda: None,
    )  # fmt: skip

    def begin() -> bool:
        frozen.append((applier.applied, applier.configuration))
        return True

    entries = [Entry(1, 1, EntryKind.CONF_CHANGE_V2, b""), Entry(1, 2)]
    applier.apply(StorageApply(1, APPLY_THREAD, 1, entries, [], 0))
    worker.holding = True
    applier.freeze(begin, parts.append)
    applier.apply(StorageApply(1, APPLY_THREAD, 1, [Entry(1, 3)], [], 0))
    assert seen == [1]
    assert not parts, "the user's own machine has yet to come to that state"
    worker.do_next()
    done.pop().deliver()
    assert len(parts) == 1
    assert frozen == [(2, 1)]
