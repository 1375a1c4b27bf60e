"""Checks that a node keeps what it has sent, in every later incarnation.

Owns the rule that a node persists before it sends: when a vote or an acknowledgement leaves, the disk has it,
and the node's next incarnation still has it. Knows nothing of how a node does that.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from actors.envelope import Envelope
from raft.core.messages import AppendReply, VoteReply
from raft.core.types import Index, NodeId, Term
from raft.lab.simulation.hosts.member import Member
from raft.protocol.registry import REGISTRY

_frame = msgspec.msgpack.Decoder(list[Envelope])
_vote = msgspec.msgpack.Decoder(VoteReply)
_acknowledgement = msgspec.msgpack.Decoder(AppendReply)


class Word(Struct):
    """What a node has committed itself to: a term, a vote in it, and an acknowledged log."""

    term: Term = 0
    vote: NodeId = 0
    vote_term: Term = 0
    index: Index = 0
    index_term: Term = 0


class DurabilityChecker:
    """A `Tap` on the network."""

    def __init__(self) -> None:
        self._members: dict[str, Member] = {}
        self._words: dict[str, Word] = {}
        self._votes: dict[tuple[str, Term], NodeId] = {}
        self._vote_tag = REGISTRY.tag(VoteReply)
        self._append_tag = REGISTRY.tag(AppendReply)

    def heard(self, source: str, to: str, frame: bytes) -> None:
        """A frame is sent."""
        member = self._members.get(source)
        if member is None or to not in self._members:
            return
        for envelope in _frame.decode(frame):
            if envelope.tag == self._append_tag:
                acknowledgement = _acknowledgement.decode(envelope.payload)
                if not acknowledgement.rejected:
                    self._acknowledged(member, acknowledgement)
            elif envelope.tag == self._vote_tag:
                vote = _vote.decode(envelope.payload)
                if not vote.rejected:
                    self._voted(member, vote)

    def started(self, member: Member) -> None:
        """An incarnation begins with the disk's state: does it agree with what was sent?"""
        self._members[member.name] = member
        word = self._words.setdefault(member.name, Word())
        state, _ = member.store.initial_state()
        assert state.term >= word.term, (
            f"{member.name} spoke in term {word.term}, and comes back in term {state.term}"
        )
        if state.term == word.vote_term:
            assert state.vote == word.vote, (
                f"{member.name} voted for {word.vote} in term {state.term}, and comes back with {state.vote}"
            )
        last = member.store.last_index()
        # A later leader may have replaced the entries.
        assert last >= word.index or state.term > word.index_term, (
            f"{member.name} acknowledged {word.index} in term {word.index_term}, and comes back with {last}"
        )

    def forgotten(self, member: Member) -> None:
        """Forget everything that this member has sent."""
        self._words.pop(member.name, None)
        for key in [key for key in self._votes if key[0] == member.name]:
            del self._votes[key]

    def dismissed(self, member: Member) -> None:
        """Ignore this member from now on."""
        self._members.pop(member.name, None)

    def _voted(self, member: Member, vote: VoteReply) -> None:
        candidate = self._votes.setdefault((member.name, vote.term), vote.to)
        assert candidate == vote.to, (
            f"{member.name} votes for {vote.to} in term {vote.term}, after it voted for {candidate}"
        )
        state, _ = member.store.initial_state()
        assert (state.term, state.vote) == (vote.term, vote.to) or state.term > vote.term, (
            f"{member.name} grants {vote.to} a vote in term {vote.term}, but its disk says {state}"
        )
        word = self._words[member.name]
        word.term = max(word.term, vote.term)
        if vote.term > word.vote_term:
            word.vote, word.vote_term = vote.to, vote.term

    def _acknowledged(self, member: Member, reply: AppendReply) -> None:
        state, _ = member.store.initial_state()
        last = member.store.last_index()
        assert state.term >= reply.term, (
            f"{member.name} acknowledges in term {reply.term}, but its disk says {state}"
        )
        assert last >= reply.index or state.term > reply.term, (
            f"{member.name} acknowledges {reply.index} in term {reply.term}, but its disk ends at {last}"
        )
        word = self._words[member.name]
        word.term = max(word.term, reply.term)
        if (reply.term, reply.index) > (word.index_term, word.index):
            word.index, word.index_term = reply.index, reply.term
