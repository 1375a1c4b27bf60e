"""Ongaro's thesis, sections 3.3, 3.4, 3.6.1 and 3.8: terms, votes, and what makes a leader."""

from random import Random

import pytest

from raft.core.config import Config
from raft.core.errors import PeerNotFound
from raft.core.messages import (
    AppendEntries,
    AppendReply,
    Heartbeat,
    PreVote,
    RequestVote,
    VoteReply,
)
from raft.core.types import NO_NODE, Role
from tests.core.cluster import (
    ELECTION_TICKS,
    START_INDEX,
    Cluster,
    entry,
    new_server,
    sent,
    start_snapshot,
)
from tests.core.servers import Server


def ask_for_vote(
    server: Server, candidate: int, term: int, last_term: int = 1, last_index: int = START_INDEX
):
    """What the server answers to a candidate; None if it says nothing."""
    server.core.step(RequestVote(candidate, server.id, term, last_term, last_index))
    replies = sent(server.run_until_idle(), VoteReply, candidate)
    return replies[0] if replies else None


def test_a_server_votes_for_at_most_one_candidate_in_a_term():
    server = new_server(1)
    assert not ask_for_vote(server, 2, term=1).rejected
    assert ask_for_vote(server, 3, term=1).rejected
    assert not ask_for_vote(server, 3, term=2).rejected


def test_a_server_repeats_its_vote_to_the_candidate_that_has_it():
    server = new_server(1)
    assert not ask_for_vote(server, 2, term=1).rejected
    assert not ask_for_vote(server, 2, term=1).rejected


def test_a_vote_outlives_a_crash():
    server = new_server(1)
    ask_for_vote(server, 2, term=1)
    server.boot()
    assert (server.core.term, server.core.vote) == (1, 2)
    assert ask_for_vote(server, 3, term=1).rejected


def test_a_vote_is_to_be_saved_in_the_ready_that_sends_it():
    server = new_server(1)
    server.core.step(RequestVote(2, 1, 1, 1, START_INDEX))
    ready = server.core.ready()
    assert ready.hard_state.vote == 2
    assert ready.must_sync
    assert sent(ready.messages, VoteReply, 2)


def test_a_term_outlives_a_crash_even_without_a_vote():
    server = new_server(1)
    server.core.step(Heartbeat(2, 1, 7, 0))
    server.run_until_idle()
    server.boot()
    assert server.core.term == 7


def test_a_vote_is_kept_when_a_candidate_steps_down_in_its_term():
    server = new_server(1)
    server.core.campaign()
    server.run_until_idle()
    server.core.step(Heartbeat(2, 1, 1, 0))
    assert server.core.role is Role.FOLLOWER
    assert ask_for_vote(server, 3, term=1).rejected


def test_a_server_that_hears_of_a_higher_term_follows_in_it():
    cluster = Cluster(1, 2, 3)
    leader = cluster.elect(1)
    leader.core.step(VoteReply(2, 1, 5, rejected=True))
    assert (leader.core.role, leader.core.term, leader.core.leader) == (Role.FOLLOWER, 5, NO_NODE)


def test_an_append_of_an_older_term_changes_nothing():
    server = new_server(1)
    server.core.step(Heartbeat(2, 1, 4, 0))
    server.core.step(AppendEntries(3, 1, 3, 1, START_INDEX, START_INDEX, [entry(3, 3)]))
    assert (server.core.log.last_index(), server.core.leader) == (START_INDEX, 2)


def test_a_candidate_with_the_votes_of_a_majority_leads():
    server = new_server(1, voters=(1, 2, 3, 4, 5))
    server.core.campaign()
    server.run_until_idle()
    server.core.step(VoteReply(2, 1, 1))
    assert server.core.role is Role.CANDIDATE
    server.core.step(VoteReply(3, 1, 1))
    assert server.core.role is Role.LEADER


def test_a_duplicated_vote_counts_once():
    server = new_server(1, voters=(1, 2, 3, 4, 5))
    server.core.campaign()
    server.run_until_idle()
    for _ in range(5):
        server.core.step(VoteReply(2, 1, 1))
    assert server.core.role is Role.CANDIDATE


def test_only_the_first_answer_of_a_voter_counts():
    server = new_server(1)
    server.core.campaign()
    server.run_until_idle()
    server.core.step(VoteReply(2, 1, 1, rejected=True))
    server.core.step(VoteReply(2, 1, 1))
    assert server.core.role is Role.CANDIDATE


def test_a_vote_of_an_earlier_term_does_not_count():
    server = new_server(1)
    server.core.campaign()
    server.run_until_idle()
    server.core.campaign()
    server.run_until_idle()
    server.core.step(VoteReply(2, 1, 1))
    assert (server.core.role, server.core.term) == (Role.CANDIDATE, 2)


def test_a_candidate_refused_by_a_majority_follows_again():
    server = new_server(1)
    server.core.campaign()
    server.run_until_idle()
    server.core.step(VoteReply(2, 1, 1, rejected=True))
    server.core.step(VoteReply(3, 1, 1, rejected=True))
    assert (server.core.role, server.core.term, server.core.vote) == (Role.FOLLOWER, 1, 1)


def test_a_candidate_that_hears_a_leader_of_its_term_follows_it():
    server = new_server(1)
    server.core.campaign()
    server.run_until_idle()
    server.core.step(AppendEntries(2, 1, 1, 1, START_INDEX, START_INDEX, []))
    assert (server.core.role, server.core.leader) == (Role.FOLLOWER, 2)


def test_a_candidate_opens_a_new_term_votes_for_itself_and_asks_all_others():
    server = new_server(1, voters=(1, 2, 3, 4), learners=(5,))
    server.core.campaign()
    requests = sent(server.run_until_idle(), RequestVote)
    assert (server.core.term, server.core.vote) == (1, 1)
    assert [request.to for request in requests] == [2, 3, 4]


def test_the_only_voter_elects_itself():
    server = new_server(1, voters=(1,))
    server.core.campaign()
    server.run_until_idle()
    assert server.core.role is Role.LEADER
    assert server.core.log.committed == START_INDEX + 1


def test_a_follower_campaigns_only_when_it_has_not_heard_a_leader_for_an_election_timeout():
    server = new_server(1)
    for _ in range(10):
        for _ in range(ELECTION_TICKS - 1):
            server.core.tick()
        server.core.step(Heartbeat(2, 1, 1, 0))
    assert server.core.role is Role.FOLLOWER
    for _ in range(2 * ELECTION_TICKS):
        server.core.tick()
    assert server.core.role is Role.CANDIDATE


def test_election_timeouts_are_spread_over_one_to_two_times_the_setting_and_drawn_anew_each_term():
    config = Config(id=1, election_ticks=10)
    server = Server(config, start_snapshot((1, 2, 3)), Random(4))
    drawn = []
    for _ in range(300):
        server.core.campaign()
        drawn.append(server.core.randomized_election_ticks)
    assert set(drawn) == set(range(10, 20))


def test_the_longest_election_timeout_is_the_one_that_was_asked_for():
    server = Server(
        Config(id=1, election_ticks=10, election_ticks_max=13), start_snapshot((1, 2, 3)), Random(4)
    )
    drawn = set()
    for _ in range(100):
        server.core.campaign()
        drawn.add(server.core.randomized_election_ticks)
    assert drawn == {10, 11, 12}


def test_equal_seeds_give_equal_timeouts():
    def timeouts(seed: int) -> list[int]:
        server = Server(Config(id=1), start_snapshot((1, 2, 3)), Random(seed))
        drawn = []
        for _ in range(20):
            server.core.campaign()
            drawn.append(server.core.randomized_election_ticks)
        return drawn

    assert timeouts(9) == timeouts(9) != timeouts(10)


def test_a_leader_announces_itself_at_once_and_then_every_heartbeat():
    cluster = Cluster(1, 2, 3, heartbeat_ticks=2)
    leader = cluster.elect(1)
    assert sent(cluster.delivered, AppendEntries, 2)[0].term == 1
    leader.core.tick()
    assert not sent(leader.run_until_idle(), Heartbeat)
    leader.core.tick()
    assert [message.to for message in sent(leader.run_until_idle(), Heartbeat)] == [2, 3]


def test_a_candidate_whose_last_term_is_older_gets_no_vote_however_long_its_log():
    server = new_server(1)
    server.core.step(AppendEntries(2, 1, 3, 1, START_INDEX, START_INDEX, [entry(3, 3)]))
    server.run_until_idle()
    assert ask_for_vote(server, 3, term=4, last_term=2, last_index=90).rejected


def test_a_candidate_whose_log_is_shorter_in_the_same_last_term_gets_no_vote():
    server = new_server(1)
    server.core.step(AppendEntries(2, 1, 3, 1, START_INDEX, START_INDEX, [entry(3, 3), entry(3, 4)]))
    server.run_until_idle()
    assert ask_for_vote(server, 3, term=4, last_term=3, last_index=3).rejected
    assert not ask_for_vote(server, 2, term=4, last_term=3, last_index=4).rejected


def test_a_refused_candidate_still_raises_the_term():
    server = new_server(1)
    assert ask_for_vote(server, 3, term=6, last_term=0, last_index=0).rejected
    assert (server.core.term, server.core.vote) == (6, NO_NODE)


def test_rivals_that_tie_elect_a_leader_in_a_later_term():
    cluster = Cluster(1, 2)
    cluster[1].core.campaign()
    cluster[2].core.campaign()
    cluster.settle()
    assert cluster.leaders() == []
    cluster[2].core.campaign()
    cluster.settle()
    assert cluster.leaders() == [2]
    assert cluster[2].core.term == 2


def test_nothing_that_an_unknown_node_replies_counts():
    cluster = Cluster(1, 2, 3)
    cluster[1].core.campaign()
    cluster[1].run_until_idle()
    for message in (VoteReply(7, 1, 1), VoteReply(8, 1, 1), AppendReply(7, 1, 1, START_INDEX)):
        with pytest.raises(PeerNotFound):
            cluster[1].core.step(message)
    assert cluster[1].core.role is Role.CANDIDATE


def test_a_learner_never_campaigns_by_itself():
    cluster = Cluster(1, 2, learners=(3,))
    for _ in range(5 * ELECTION_TICKS):
        cluster[3].core.tick()
    messages = cluster[3].run_until_idle()
    assert not sent(messages, RequestVote) and not sent(messages, PreVote)
    assert cluster[3].core.term == 0


def test_a_learner_votes_when_asked_for_it_may_be_a_voter_already_and_not_know_it():
    learner = new_server(3, voters=(1, 2), learners=(3,))
    assert not ask_for_vote(learner, 1, term=1).rejected
