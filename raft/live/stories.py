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
    told: dict[int, bool] = {}  # What each voter itself has told.
    won: bool = False
    times: int = 0


class Stories:
    """Told of nodes' events in any order; gives the last campaigns, the oldest first."""

    def __init__(self) -> None:
        self._campaigns: dict[tuple[int, bool, int], _Campaign] = {}  # By term, pre, candidate.

    def tell(self, node: int, event: NodeEvent, t: float) -> bool:
        """Something has happened at a node, at `t` on the run's clock.

        False if it only repeats: a node that is cut off asks again and again.
        """
        if event.kind not in KINDS:
            return True
        told: dict[str, Any] = event.values
        term, pre = int(told.get("term") or event.term), bool(told.get("pre", False))
        match event.kind:
            case "votes-asked":
                campaign = self._of(term, pre, node, t)
                campaign.t, campaign.asked = min(campaign.t, t), list(told.get("of") or [])
                campaign.times += 1
                if not pre:
                    self._of(term, True, node, t).won = True
                return campaign.times == 1
            case "leader-elected":
                self._of(term, False, node, t).won = True
                return True
            case "vote-counted":
                voter = int(told["voter"])
                answer = Answer(voter, bool(told["granted"]), "")
                self._of(term, pre, node, t).answers.setdefault(voter, answer)
                return False
        granted, reason = event.kind == "vote-granted", str(told.get("reason", ""))
        campaign = self._of(term, pre, int(told["candidate"]), t)
        campaign.answers[node] = Answer(node, granted, "" if granted else reason)
        is_new = campaign.told.get(node) is not granted
        campaign.told[node] = granted
        return is_new

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
