"""Ongaro's thesis, sections 3.5 to 3.8, and 3.10: the log, what is committed, leadership transfer."""

import pytest

from raft.core.errors import MajorityRolledBack, ProposalDropped
from raft.core.messages import (
    AppendEntries,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    RequestVote,
    TimeoutNow,
    VoteReply,
)
from raft.core.types import ConfState, Role, Snapshot
from tests.core.cluster import ELECTION_TICKS, START_INDEX, Cluster, entry, new_server, sent
from tests.core.servers import Server


def append(server: Server, *entries, term=2, previous_term=1, previous_index=START_INDEX, commit=0):
    """What the server answers to an append by node 2."""
    server.core.step(AppendEntries(2, server.id, term, previous_term, previous_index, commit, list(entries)))
    return sent(server.run_until_idle(), AppendReply, 2)[-1]


def test_a_leader_only_appends_to_its_log():
    cluster = Cluster(1, 2, 3)
    leader = cluster.elect(1)
    cluster.propose(1, b"a", b"b")
    before = leader.log()
    leader.core.step(AppendEntries(2, 1, 0, 0, 0, 0, [entry(9, 3)]))
    leader.core.step(AppendReply(2, 1, 1, 4, rejected=True, hint_index=0, hint_term=0))
    cluster.settle()
    cluster.propose(1, b"c")
    assert leader.log()[: len(before)] == before


def test_a_follower_refuses_entries_that_do_not_follow_on_its_log():
    server = new_server(1)
    reply = append(server, entry(2, 6), previous_term=2, previous_index=5)
    assert reply.rejected
    assert reply.hint_index == START_INDEX
    assert server.core.log.last_index() == START_INDEX


def test_a_conflicting_entry_is_deleted_with_all_that_follow_it():
    server = new_server(1)
    append(server, entry(2, 3, b"a"), entry(2, 4, b"b"), entry(2, 5, b"c"))
    append(server, entry(3, 4, b"d"), term=3, previous_term=2, previous_index=3)
    assert [(each.term, each.data) for each in server.log()] == [(2, b"a"), (3, b"d")]


def test_entries_that_are_there_already_shorten_nothing():
    server = new_server(1)
    entries = [entry(2, 3), entry(2, 4), entry(2, 5)]
    append(server, *entries)
    assert append(server, entries[0]).index == 3
    assert append(server).index == START_INDEX
    assert append(server, *entries[:2]).index == 4
    assert server.log() == entries


def test_an_append_repeated_after_a_crash_does_no_harm():
    server = new_server(1)
    entries = [entry(2, 3), entry(2, 4)]
    append(server, *entries, commit=3)
    server.boot()
    assert append(server, *entries, commit=4).index == 3  # What is committed needs no comparing.
    assert append(server, entries[1], previous_term=2, previous_index=3, commit=4).index == 4
    assert server.log() == entries
    assert server.machine.commands == [b"x", b"x"]


def test_a_committed_entry_is_never_replaced():
    server = new_server(1)
    append(server, entry(2, 3, b"a"), commit=3)
    with pytest.raises(MajorityRolledBack, match="entry of term 3 at 3"):
        append(server, entry(3, 3, b"b"), term=3)
    assert [each.data for each in server.log()] == [b"a"]


def test_a_follower_commits_no_further_than_the_prefix_it_has_compared():
    server = new_server(1)
    append(server, entry(2, 3), entry(2, 4), entry(2, 5))
    append(server, entry(3, 3), term=3, commit=9)
    assert server.core.log.committed == 3


def test_a_duplicate_append_commits_no_unverified_tail():
    server = new_server(1)
    append(server, entry(2, 3), entry(2, 4))
    append(server, term=3, previous_term=2, previous_index=3, commit=4)
    assert server.core.log.committed == 3


def test_a_heartbeat_carries_no_commit_index_beyond_what_the_follower_is_known_to_hold():
    cluster = Cluster(1, 2, 3)
    leader = cluster.elect(1)
    cluster.cut(3)
    cluster.propose(1, b"a", b"b")
    leader.core.tick()
    beats = sent(leader.run_until_idle(), Heartbeat)
    assert {beat.to: beat.commit for beat in beats} == {2: 5, 3: 3}


def test_an_entry_is_committed_once_a_majority_holds_it():
    cluster = Cluster(1, 2, 3, 4, 5)
    leader = cluster.elect(1)
    cluster.cut(2, 3, 4, 5)
    cluster.propose(1, b"a")
    assert leader.core.log.committed == 3
    leader.core.step(AppendReply(2, 1, 1, 4))
    assert leader.core.log.committed == 3
    leader.core.step(AppendReply(3, 1, 1, 4))
    assert leader.core.log.committed == 4


def test_an_acknowledgement_delivered_twice_counts_once():
    cluster = Cluster(1, 2, 3, 4, 5)
    leader = cluster.elect(1)
    cluster.cut(2, 3, 4, 5)
    cluster.propose(1, b"a")
    for _ in range(4):
        leader.core.step(AppendReply(2, 1, 1, 4))
    assert leader.core.log.committed == 3


def test_a_leader_does_not_commit_entries_of_an_earlier_term_by_counting():
    """Figure 3.7: only when an entry of its own term is committed are those before it."""
    server = new_server(1, max_size_per_msg=0, max_committed_size_per_ready=1000)
    append(server, entry(2, 3, b"old"))
    server.core.campaign()
    server.run_until_idle()
    server.core.step(VoteReply(2, 1, server.core.term))
    server.run_until_idle()
    assert server.core.role is Role.LEADER
    server.core.step(AppendReply(2, 1, server.core.term, 3))
    server.run_until_idle()
    assert server.core.log.committed == START_INDEX
    server.core.step(AppendReply(2, 1, server.core.term, 4))
    assert server.core.log.committed == 4


def test_a_new_leader_starts_its_term_with_an_entry_of_its_own():
    cluster = Cluster(1, 2, 3)
    leader = cluster.elect(1)
    assert [(each.term, each.data) for each in leader.log()] == [(1, None)]
    assert leader.core.log.committed == 3


def test_every_server_applies_the_same_commands_in_the_same_order():
    cluster = Cluster(1, 2, 3)
    cluster.elect(1)
    cluster.propose(1, b"a", b"b")
    cluster.elect(2)
    cluster.propose(2, b"c")
    cluster.propose(3, b"d")
    assert {tuple(server.machine.commands) for server in cluster.servers.values()} == {
        (b"a", b"b", b"c", b"d")
    }


def test_a_lagging_follower_is_brought_up_to_date_though_its_tail_was_never_committed():
    cluster = Cluster(1, 2, 3)
    cluster.elect(1)
    cluster.cut(1)
    cluster.propose(1, b"lost", b"lost too")
    cluster.elect(2)
    cluster.propose(2, b"kept")
    cluster.heal()
    cluster.tick(2)
    assert cluster[1].log() == cluster[2].log()
    assert cluster[1].machine.commands == [b"kept"]


def test_a_replys_hint_lets_the_leader_skip_a_whole_term():
    server = new_server(1)
    append(server, entry(2, 3), entry(2, 4), entry(2, 5), entry(2, 6))
    reply = append(server, entry(5, 9), term=5, previous_term=4, previous_index=8)
    assert (reply.rejected, reply.hint_index, reply.hint_term) == (True, 6, 2)
    reply = append(server, entry(5, 6), term=5, previous_term=1, previous_index=5)
    assert (reply.rejected, reply.hint_index, reply.hint_term) == (True, START_INDEX, 1)


def test_the_match_index_of_a_follower_never_moves_back():
    cluster = Cluster(1, 2, 3)
    leader = cluster.elect(1)
    cluster.propose(1, b"a", b"b")
    for late in (AppendReply(2, 1, 1, 3), AppendReply(2, 1, 1, 3, rejected=True, hint_index=2)):
        leader.core.step(late)
        known = leader.core.status().progress[2]
        assert (known.match, known.state) == (5, "replicate")


def test_entries_are_durable_before_they_are_acknowledged():
    server = new_server(1)
    server.core.step(AppendEntries(2, 1, 2, 1, START_INDEX, START_INDEX, [entry(2, 3)]))
    ready = server.core.ready()
    assert [each.index for each in ready.entries] == [3] and ready.must_sync
    assert sent(ready.messages, AppendReply, 2)[0].index == 3


def test_a_follower_without_a_leader_drops_proposals_and_says_why():
    server = new_server(1)
    with pytest.raises(ProposalDropped, match="leader"):
        server.core.propose(b"a")


def test_a_follower_passes_proposals_on():
    cluster = Cluster(1, 2, 3)
    cluster.elect(1)
    cluster.propose(3, b"a")
    assert cluster[2].machine.commands == [b"a"]


def test_a_transfer_brings_the_target_up_to_date_first():
    cluster = Cluster(1, 2, 3)
    leader = cluster.elect(1)
    cluster.cut(3)
    cluster.propose(1, b"a")
    cluster.heal()
    leader.core.transfer_leader(3)
    assert not sent(leader.run_until_idle(), TimeoutNow)
    cluster.tick(1)
    assert cluster.leaders() == [3]


def test_a_leader_takes_no_proposals_during_a_transfer():
    cluster = Cluster(1, 2, 3)
    leader = cluster.elect(1)
    leader.core.transfer_leader(2)
    with pytest.raises(ProposalDropped):
        leader.core.propose(b"a")


def test_the_target_of_a_transfer_campaigns_at_once_and_ignores_leases():
    cluster = Cluster(1, 2, 3, check_quorum=True, pre_vote=True)
    leader = cluster.elect(1)
    leader.core.transfer_leader(2)
    cluster.settle()
    assert cluster.leaders() == [2]
    assert cluster[2].core.term == 2
    assert all(request.transfer for request in sent(cluster.delivered, RequestVote) if request.term == 2)


def test_a_transfer_that_fails_is_given_up_after_an_election_timeout():
    cluster = Cluster(1, 2, 3)
    leader = cluster.elect(1)
    cluster.cut(3)
    leader.core.transfer_leader(3)
    cluster.tick(ELECTION_TICKS, 1)
    cluster.propose(1, b"a")
    assert leader.machine.commands == [b"a"]


def test_a_second_transfer_to_another_target_replaces_the_first():
    cluster = Cluster(1, 2, 3)
    leader = cluster.elect(1)
    cluster.cut(3)
    leader.core.transfer_leader(3)
    cluster.settle()
    leader.core.transfer_leader(2)
    cluster.settle()
    assert cluster[2].core.role is Role.LEADER


def test_a_learner_is_no_target_of_a_transfer():
    cluster = Cluster(1, 2, learners=(3,))
    leader = cluster.elect(1)
    leader.core.transfer_leader(3)
    leader.core.propose(b"a")
    cluster.settle()
    assert cluster.leaders() == [1]


def test_a_snapshot_replaces_a_log_that_lacks_its_last_entry():
    cluster = Cluster(1, 2, 3)
    leader = cluster.elect(1)
    cluster.cut(3)
    cluster.propose(1, b"a", b"b")
    leader.compact(keep_entries=0)
    cluster.heal()
    cluster.tick(1)
    assert cluster[3].machine.state == leader.machine.state
    assert cluster[3].disk.snapshot().index == 5


def test_a_snapshot_older_than_the_commit_index_is_ignored():
    cluster = Cluster(1, 2, 3)
    leader = cluster.elect(1)
    cluster.propose(1, b"a")
    old = leader.disk.create_snapshot(3, None, b"")
    cluster.propose(1, b"b")
    cluster[2].core.step(InstallSnapshot(1, 2, 1, old))
    assert sent(cluster[2].run_until_idle(), AppendReply, 1)[0].index == cluster[2].core.log.committed
    assert cluster[2].machine.commands == [b"a", b"b"]


def test_a_snapshot_older_than_what_was_compacted_is_ignored():
    cluster = Cluster(1, 2, 3)
    leader = cluster.elect(1)
    cluster.propose(1, b"a")
    old = leader.disk.create_snapshot(3, None, b"")
    cluster.propose(1, b"b")
    cluster[2].compact(keep_entries=0)
    cluster[2].core.step(InstallSnapshot(1, 2, 1, old))
    cluster[2].run_until_idle()
    assert cluster[2].core.log.committed == 5
    assert cluster[2].machine.state == leader.machine.state


def test_a_snapshot_that_the_log_reaches_already_keeps_the_entries_after_it():
    server = new_server(1)
    append(server, entry(2, 3), entry(2, 4), entry(2, 5))
    server.core.step(InstallSnapshot(2, 1, 2, Snapshot(4, 2, ConfState(voters=(1, 2, 3)))))
    server.run_until_idle()
    assert server.core.log.committed == 4
    assert server.core.log.last_index() == 5


def test_a_heartbeat_reply_of_a_follower_that_lags_makes_the_leader_send_again():
    cluster = Cluster(1, 2, 3)
    leader = cluster.elect(1)
    cluster.cut(3)
    cluster.propose(1, b"a")
    cluster.wire.clear()
    leader.core.report_unreachable(3)
    leader.core.step(HeartbeatReply(3, 1, 1))
    assert sent(leader.run_until_idle(), AppendEntries, 3)[0].entries[0].data == b"a"


def winner(**options) -> Server:
    """A server that has just won its election, and has not handed out its first append."""
    server = new_server(1, max_size_per_msg=options.pop("max_size_per_msg", 2**20), **options)
    server.core.campaign()
    server.run_until_idle()
    server.core.step(VoteReply(2, 1, server.core.term))
    assert server.core.role is Role.LEADER
    return server


def test_commands_proposed_before_a_new_leaders_first_append_has_left_travel_in_it():
    server = winner()
    server.core.propose_batch([b"a", b"b"])
    server.core.propose(b"c")
    first = sent(server.run_until_idle(), AppendEntries, 2)
    assert [[each.data for each in append.entries] for append in first] == [[None, b"a", b"b", b"c"]]
    (append,) = first
    server.core.propose(b"d")
    assert not sent(server.run_until_idle(), AppendEntries, 2), "it has left, and its answer is awaited"
    server.core.step(AppendReply(2, 1, server.core.term, append.entries[-1].index))
    assert server.core.log.committed == append.entries[-1].index
    (later,) = sent(server.run_until_idle(), AppendEntries, 2)
    assert [each.data for each in later.entries] == [b"d"]


def test_what_does_not_fit_into_a_new_leaders_first_append_follows_its_answer():
    server = winner(max_size_per_msg=100)
    server.core.propose_batch([b"x" * 60, b"y" * 60])
    (append,) = sent(server.run_until_idle(), AppendEntries, 3)
    assert [each.data for each in append.entries] == [None, b"x" * 60]


def test_with_unsafe_as_etcd_a_new_leaders_first_append_has_its_own_first_entry_only():
    server = winner(unsafe_as_etcd=True)
    server.core.propose(b"a")
    first = sent(server.run_until_idle(), AppendEntries, 2)
    assert [[each.data for each in append.entries] for append in first] == [[None]]
