"""Who leads, as far as reports tell."""

from __future__ import annotations

from raft.cluster.records.leader_history import Leader, LeaderHistory


def test_the_highest_term_decides_in_whatever_order_reports_come() -> None:
    history = LeaderHistory()
    assert history.elected(3, 5)
    assert not history.elected(1, 4)
    assert history.leader == Leader(3, 5)


def test_a_leader_that_says_so_or_dies_leads_no_more() -> None:
    history = LeaderHistory()
    history.elected(3, 5)
    assert not history.lost(3, 4)
    assert history.died(2) is None
    assert history.died(3) == Leader(3, 5)
    assert history.leader is None


def test_all_agree_only_when_each_follows_the_leader_that_stands() -> None:
    history = LeaderHistory()
    history.elected(1, 2)
    history.saw(2, Leader(1, 2))
    history.saw(3, Leader(1, 1))
    assert history.agreed([1, 2]) == Leader(1, 2)
    assert history.agreed([1, 2, 3]) is None
    history.saw(3, Leader(1, 2))
    assert history.agreed([1, 2, 3]) == Leader(1, 2)


def test_an_old_report_of_a_follower_does_not_undo_a_newer_one() -> None:
    history = LeaderHistory()
    history.elected(1, 2)
    history.saw(2, Leader(1, 2))
    history.saw(2, Leader(0, 1))
    assert history.agreed([1, 2]) == Leader(1, 2)


def test_a_dead_node_agrees_with_no_leader() -> None:
    history = LeaderHistory()
    history.elected(1, 2)
    history.saw(2, Leader(1, 2))
    history.died(2)
    assert history.agreed([1, 2]) is None
