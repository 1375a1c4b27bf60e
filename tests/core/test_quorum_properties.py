"""Quorums against brute force: every possible end of a vote, every index that a majority could hold."""

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from raft.core.quorum import (
    VoteResult,
    committed_index,
    joint_committed_index,
    joint_vote_result,
    vote_result,
)
from raft.core.types import NO_LIMIT

NODES = st.integers(1, 7)
VOTERS = st.frozensets(NODES, max_size=5)
ACKNOWLEDGED = st.dictionaries(NODES, st.integers(1, 12))
VOTES = st.dictionaries(NODES, st.booleans())

brute = settings(max_examples=300, deadline=None, database=None, derandomize=True)


def wins(voters: frozenset[int], votes: dict[int, bool]) -> bool:
    return 2 * sum(votes.get(voter, False) for voter in voters) > len(voters) or not voters


def brute_vote(halves: tuple[frozenset[int], ...], votes: dict[int, bool]) -> VoteResult:
    """Finish the election in every possible way."""
    missing = sorted(frozenset().union(*halves) - votes.keys())
    outcomes = {
        all(wins(half, {**votes, **dict(zip(missing, answers, strict=True))}) for half in halves)
        for answers in product((True, False), repeat=len(missing))
    }
    if len(outcomes) == 2:
        return VoteResult.PENDING
    return VoteResult.WON if outcomes.pop() else VoteResult.LOST


def brute_committed(voters: frozenset[int], acknowledged: dict[int, int]) -> int:
    """Try every index from the highest down."""
    if not voters:
        return NO_LIMIT
    for index in range(20, 0, -1):
        if 2 * sum(acknowledged.get(voter, 0) >= index for voter in voters) > len(voters):
            return index
    return 0


@brute
@given(VOTERS, ACKNOWLEDGED)
def test_the_committed_index_is_the_highest_that_a_majority_holds(voters, acknowledged):
    assert committed_index(voters, acknowledged) == brute_committed(voters, acknowledged)


@brute
@given(VOTERS, VOTERS, ACKNOWLEDGED)
def test_a_joint_commit_needs_both_majorities(incoming, outgoing, acknowledged):
    expected = min(brute_committed(incoming, acknowledged), brute_committed(outgoing, acknowledged))
    assert joint_committed_index(incoming, outgoing, acknowledged) == expected


@brute
@given(VOTERS, VOTES)
def test_a_vote_is_decided_when_no_further_vote_can_change_it(voters, votes):
    assert vote_result(voters, votes) is brute_vote((voters,), votes)


@brute
@given(VOTERS, VOTERS, VOTES)
def test_a_joint_vote_is_won_by_both_and_lost_by_either(incoming, outgoing, votes):
    """It may be called pending although each way to end it loses, never the other way round."""
    result, expected = joint_vote_result(incoming, outgoing, votes), brute_vote((incoming, outgoing), votes)
    if expected is VoteResult.LOST:
        halves = {brute_vote((half,), votes) for half in (incoming, outgoing)}
        assert (result is VoteResult.LOST) == (VoteResult.LOST in halves)
    else:
        assert result is expected


@brute
@given(VOTERS, VOTERS, VOTES, VOTES)
def test_two_candidates_never_both_win(incoming, outgoing, first, second):
    rival = {voter: granted and not first.get(voter, False) for voter, granted in second.items()}
    if not incoming:
        return
    both = [joint_vote_result(incoming, outgoing, votes) for votes in (first, rival)]
    assert both != [VoteResult.WON, VoteResult.WON]
