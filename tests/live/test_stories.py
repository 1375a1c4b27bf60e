"""The stories of elections, put together from what each node tells of its own part."""

from __future__ import annotations

from typing import Any

from raft.live.stories import STORIES_KEPT, Answer, Stories
from raft.protocol.records import NodeEvent


def event(kind: str, term: int = 5, **values: Any) -> NodeEvent:
    return NodeEvent(1, 0.0, "follower", term, kind, "", {"term": term, **values})


def refused(reason: str) -> NodeEvent:
    return event("vote-refused", candidate=2, pre=False, reason=reason, silent=False)


def test_a_story_says_who_asked_whom_who_gave_who_refused_and_why() -> None:
    stories = Stories()
    stories.tell(
        3, event("vote-refused", candidate=2, pre=False, reason="it has voted for n1", silent=False), 7.1
    )
    stories.tell(2, event("votes-asked", pre=False, of=[1, 3, 4]), 7.0)
    stories.tell(1, event("vote-granted", candidate=2, pre=False), 7.1)
    stories.tell(2, event("vote-counted", voter=1, pre=False, granted=True), 7.2)
    stories.tell(2, event("vote-counted", voter=4, pre=False, granted=True), 7.2)
    stories.tell(2, event("leader-elected", votes=3), 7.2)
    (story,) = stories.last(10)
    assert (story.t, story.term, story.candidate, story.asked, story.won) == (7.0, 5, 2, [1, 3, 4], True)
    assert story.answers == [
        Answer(3, False, "it has voted for n1"),
        Answer(1, True, ""),
        Answer(4, True, ""),
    ]


def test_the_voters_own_word_counts_more_than_the_candidates() -> None:
    stories = Stories()
    stories.tell(2, event("vote-counted", voter=3, pre=False, granted=False), 7.0)
    assert stories.tell(3, refused("its log is older"), 7.0)
    assert not stories.tell(3, refused("its log is older"), 8.0), "it repeats itself"
    assert stories.last(1)[0].answers == [Answer(3, False, "its log is older")]


def test_a_node_that_asks_again_and_again_has_one_story_and_wins_when_it_campaigns() -> None:
    stories = Stories()
    assert stories.tell(2, event("votes-asked", pre=True, of=[1]), 1.0)
    assert not any(stories.tell(2, event("votes-asked", pre=True, of=[1]), t) for t in (2.0, 3.0))
    assert [(story.t, story.times, story.won) for story in stories.last(5)] == [(1.0, 3, False)]
    stories.tell(2, event("votes-asked", pre=False, of=[1]), 4.0)
    assert [(story.pre, story.won) for story in stories.last(5)] == [(True, True), (False, False)]


def test_only_the_last_stories_are_kept() -> None:
    stories = Stories()
    for term in range(1, 3 * STORIES_KEPT):
        stories.tell(2, event("votes-asked", term, pre=False, of=[1]), float(term))
    assert len(stories.last(10**6)) <= STORIES_KEPT
    assert stories.last(2)[-1].term == 3 * STORIES_KEPT - 1
