"""Requests for votes as events: who asked, what this node answered, and why.

Owns the reasons, in words: they are those by which the core decides, evaluated before it does. What was
really answered is read from the core afterwards, so an event never contradicts a vote. Decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from raft.core import elections, lease
from raft.core.messages import PreVote, PreVoteReply, RequestVote, VoteReply
from raft.core.raft import Raft
from raft.core.types import NO_NODE, Role

Note = Callable[[str, str, Mapping[str, Any]], None]


class Votes:
    """Passes requests for votes to the core, and notes what comes of them."""

    def __init__(self, raft: Raft, note: Note) -> None:
        self._raft = raft
        self._note = note

    def step(self, message: PreVote | RequestVote) -> None:
        """Let the core answer a candidate."""
        raft = self._raft
        reason = objection(raft, message)
        before = len(raft.after_append)
        raft.step(message)
        replies = [
            reply
            for reply in raft.after_append[before:]
            if isinstance(reply, PreVoteReply | VoteReply) and reply.to == message.sender
        ]
        pre = isinstance(message, PreVote)
        what, candidate, term = "a pre-vote" if pre else "the vote", message.sender, message.term
        values: dict[str, Any] = {"candidate": candidate, "term": term, "pre": pre}
        if any(not reply.rejected for reply in replies):
            self._note("vote-granted", f"gives n{candidate} {what} for term {term}", values)
            return
        values |= {"reason": reason, "silent": not replies}
        self._note("vote-refused", f"refuses n{candidate} {what} for term {term}: {reason}", values)

    def received(self, reply: PreVoteReply | VoteReply) -> None:
        """An answer to this node has arrived; to be called before the core counts it."""
        if self._raft.role not in (Role.CANDIDATE, Role.PRE_CANDIDATE):
            return
        pre = isinstance(reply, PreVoteReply)
        what = "a pre-vote" if pre else "the vote"
        text = f"n{reply.sender} {'refuses' if reply.rejected else 'gives'} {what}"
        if reply.term > self._raft.term + pre:
            text += f": it is in term {reply.term}"
        values = {"voter": reply.sender, "term": reply.term, "pre": pre, "granted": not reply.rejected}
        self._note("vote-counted", text, values)

    def asked(self) -> None:
        """This node has begun to ask for votes."""
        raft = self._raft
        pre = raft.role is Role.PRE_CANDIDATE
        term = raft.term + pre
        what = "pre-votes" if pre else "votes"
        voters = sorted(raft.tracker.configuration.voter_ids() - {raft.id})
        values = {"term": term, "pre": pre, "of": voters}
        names = ", ".join(f"n{voter}" for voter in voters)
        self._note("votes-asked", f"asks {names or 'no other node'} for {what} in term {term}", values)


def objection(raft: Raft, message: PreVote | RequestVote) -> str:
    """Why the core would not give its vote now, in words; "" if nothing speaks against it."""
    log, candidate = raft.log, message.sender
    transfer = isinstance(message, RequestVote) and message.transfer
    if message.term < raft.term:
        return f"term {message.term} is over, this node is in term {raft.term}"
    if message.term > raft.term and not transfer and elections.in_lease(raft):
        if raft.leader != NO_NODE:
            return f"n{raft.leader} leads, and was heard of late"
        return "a leader may still answer reads by its lease"
    if not log.is_up_to_date(message.last_index, message.last_term):
        theirs = f"ends at entry {message.last_index} of term {message.last_term}"
        return f"its log {theirs}, and this one at {log.last} of term {log.last_term}"
    if message.term > raft.term or raft.vote == candidate:
        return ""
    if raft.vote != NO_NODE:
        return f"it has voted for n{raft.vote} in term {raft.term}"
    if raft.leader != NO_NODE:
        return f"n{raft.leader} leads term {raft.term}"
    return "a leader may still answer reads by its lease" if lease.pledged(raft) and not transfer else ""
