"""What must hold of each picture: it is seen when it does not, and it is not seen when it does."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from raft.live.invariants import Invariants, mismatch, term_at
from tests.live.pictures import node, status


def broken(invariants: Invariants, *nodes: object) -> set[str]:
    return {found.name for found in invariants.check(status(nodes)) if not found.holds}  # type: ignore[arg-type]


def test_two_leaders_in_one_term_are_seen_even_one_after_the_other() -> None:
    invariants = Invariants()
    assert broken(invariants, node(1, role="leader", term=4)) == set()
    assert broken(invariants, node(2, role="leader", term=5), node(1, role="leader", term=4)) == set()
    assert broken(invariants, node(3, role="leader", term=5)) == {"one leader a term"}
    assert broken(invariants, node(3)) == {"one leader a term"}, "what was broken is not mended later"


def test_logs_that_differ_below_an_entry_they_share_do_not_match() -> None:
    one, other = [(1, 1), (4, 3)], [(1, 1), (3, 2), (5, 3)]
    assert mismatch(one, 6, other, 6) == 4
    assert broken(Invariants(), node(1, log_terms=one, last=6), node(2, log_terms=other, last=6)) >= {
        "logs match"
    }


def test_tails_that_have_diverged_are_nothing_wrong() -> None:
    assert mismatch([(1, 1), (4, 2)], 8, [(1, 1), (4, 3)], 5) is None
    assert mismatch([(10, 2)], 12, [(1, 1)], 5) is None


def test_a_later_leader_without_a_committed_entry_is_seen() -> None:
    committed = [node(1, role="leader", term=2, log_terms=[(1, 1), (5, 2)], last=6, commit=6)]
    for log, last in (([(1, 1)], 4), ([(1, 1), (5, 3)], 7)):
        invariants = Invariants()
        assert broken(invariants, *committed) == set()
        deposed = node(2, role="leader", term=1, log_terms=log, last=last, commit=3)
        assert broken(invariants, deposed) == set(), "a deposed leader may lack it"
        later = node(3, role="leader", term=3, log_terms=log, last=last, commit=4)
        assert broken(invariants, later) == {"committed stays"}


def test_a_term_is_known_only_where_the_log_still_tells() -> None:
    assert [term_at([(5, 2), (8, 3)], 9, index) for index in (4, 5, 7, 8, 9, 10)] == [None, 2, 2, 3, 3, None]


@settings(max_examples=50)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=8), st.integers(0, 8), st.lists(st.integers(5, 6)))
def test_logs_that_part_once_never_mismatch(shared: list[int], cut: int, tail: list[int]) -> None:
    def runs(terms: list[int]) -> list[tuple[int, int]]:
        return [(i, t) for i, t in enumerate(terms, 1) if i == 1 or terms[i - 2] != t]

    one = sorted(shared)
    other = [*one[:cut], *sorted(tail)]
    assert mismatch(runs(one), len(one), runs(other), len(other)) is None
