"""The stories of elections: who asked whom in which term, who gave its vote, who refused and why.

Owns putting together what each node tells of its own part. Pure. A voter whose answer arrived is known by the
candidate as well, but only the voter knows its reason.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from raft.protocol.records import NodeEvent

STORIES_KEPT = 40
KINDS = frozenset({"votes-asked", "vote-granted", "vote-refused", "vote-counted", "leader-elected"})


class Answer(Struct, frozen=True):
    """One voter's answer; `reason` is the voter's own, "" if only the candidate has told of it."""

    voter: int
    granted: bool
    reason: str


class Story(Struct, frozen=True):
    """One campaign, begun at `t`. With `pre` it only asked if it would be elected; `won`: it then went on."""

    t: float
    term: int
    pre: bool
    candidate: int
    asked: list[int]
    answers: list[Answer]
    won: bool
    times: int  # How often it has asked in this term; with pre-votes, again and again until it is answered.


class _Campaign(Struct):
    t: float
    asked: list[int] = []
    answers: dict[int, Answer] = {}
    won: bool = False
    times: int = 0


class Stories:
    """Told of nodes' events in any order; gives the last campaigns, the oldest first."""

    def __init__(self) -> None:
        self._campaigns: dict[tuple[int, bool, int], _Campaign] = {}  # By term, pre, candidate.

    def tell(self, node: int, event: NodeEvent, t: float) -> None:
        """Something has happened at a node, at `t` on the run's clock."""
        if event.kind not in KINDS:
            return
        told: dict[str, Any] = event.values
        term, pre = int(told.get("term") or event.term), bool(told.get("pre", False))
        match event.kind:
            case "votes-asked":
                campaign = self._of(term, pre, node, t)
                campaign.t, campaign.asked = min(campaign.t, t), list(told.get("of") or [])
                campaign.times += 1
                if not pre:
                    self._of(term, True, node, t).won = True
            case "leader-elected":
                self._of(term, False, node, t).won = True
            case "vote-counted":
                voter = int(told["voter"])
                self._of(term, pre, node, t).answers.setdefault(
                    voter, Answer(voter, bool(told["granted"]), "")
                )
            case _:
                granted = event.kind == "vote-granted"
                campaign = self._of(term, pre, int(told["candidate"]), t)
                campaign.answers[node] = Answer(node, granted, "" if granted else str(told.get("reason", "")))

    def last(self, count: int) -> list[Story]:
        """Campaigns in which something was asked."""
        known = [
            Story(
                round(one.t, 2), term, pre, candidate, one.asked, [*one.answers.values()], one.won, one.times
            )
            for (term, pre, candidate), one in self._campaigns.items()
            if one.asked or one.answers
        ]
        return sorted(known, key=lambda story: (story.t, story.term, not story.pre))[-count:]

    def _of(self, term: int, pre: bool, candidate: int, t: float) -> _Campaign:
        campaign = self._campaigns.setdefault((term, pre, candidate), _Campaign(t))
        while len(self._campaigns) > STORIES_KEPT:
            del self._campaigns[min(self._campaigns, key=lambda key: self._campaigns[key].t)]
        return campaign
