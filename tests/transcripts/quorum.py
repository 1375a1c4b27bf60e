"""The transcripts of quorums: committed index and vote result of one majority, or of two together.

Owns the commands `committed` and `vote`, and the drawing of who has acknowledged what.
"""

from collections.abc import Collection, Mapping, Sequence

from raft.core.quorum import (
    VoteResult,
    committed_index,
    joint_committed_index,
    joint_vote_result,
    vote_result,
)
from raft.core.types import NO_LIMIT, Index, NodeId
from tests.transcripts.golang import slice_of
from tests.transcripts.parser import Directive, SyntaxFault, to_number

COMMANDS = frozenset(("committed", "vote"))
NO_VALUE = 0
VOTES = {"_": NO_VALUE, "n": 1, "y": 2}
RESULTS = {
    VoteResult.PENDING: "VotePending",
    VoteResult.LOST: "VoteLost",
    VoteResult.WON: "VoteWon",
}


class QuorumInterpreter:
    """Answers each command by itself: nothing is kept between two."""

    def run(self, directive: Directive) -> str:
        incoming = dict.fromkeys(directive.numbers("cfg"))
        joint = bool(directive.values("cfgj"))
        outgoing = dict.fromkeys(() if directive.values("cfgj") == ("zero",) else directive.numbers("cfgj"))
        # In order of first mention, for that is the order in which values are given.
        ids = tuple(incoming | outgoing)
        voting = directive.command == "vote"
        values = _votes(directive) if voting else _indexes(directive)
        if len(values) != len(ids):
            voters = " ".join(f"{each}:{{}}" for each in sorted(ids))
            return f"error: mismatched input (explicit or _) for voters map[{voters}]: {slice_of(values)}"
        given = {each: value for each, value in zip(ids, values, strict=True) if value != NO_VALUE}
        if voting:
            votes = {each: value == VOTES["y"] for each, value in given.items()}
            outcome = joint_vote_result(incoming, outgoing, votes) if joint else vote_result(incoming, votes)
            return RESULTS[outcome]
        index = (
            joint_committed_index(incoming, outgoing, given) if joint else committed_index(incoming, given)
        )
        return f"{drawing(ids, given)}{'∞' if index == NO_LIMIT else index}"


def _votes(directive: Directive) -> Sequence[int]:
    given = directive.values("votes")
    unknown = set(given) - VOTES.keys()
    if unknown:
        raise SyntaxFault(f"a vote is y, n or _, not {sorted(unknown)}")
    return [VOTES[value] for value in given]


def _indexes(directive: Directive) -> Sequence[Index]:
    return [NO_VALUE if value == "_" else to_number(value) for value in directive.values("idx")]


def drawing(ids: Collection[NodeId], acknowledged: Mapping[NodeId, Index]) -> str:
    """One line for each voter, with a bar as long as the number of voters that it is ahead of."""
    if not ids:
        return "<empty majority quorum>"
    count = len(ids)
    indexes = [acknowledged.get(each, 0) for each in ids]
    lines = [f"{'':{count}}    idx"]
    for each in sorted(ids):
        index = acknowledged.get(each, 0)
        bar = "x" * sum(other < index for other in indexes) + ">" if each in acknowledged else "?"
        lines.append(f"{bar:{count + 1}} {index:5}    (id={each:x})")
    return "\n".join(lines) + "\n"
