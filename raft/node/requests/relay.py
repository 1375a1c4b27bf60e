"""Requests that only the leader takes, passed on to it by a member, for clients that do not reach the leader.

Owns the way there and back. An answer keeps its meaning: what surely was not passed on is refused, what may
have been taken and was not answered is unknown, and a request is passed on once. Knows nothing of the core:
it asks the node beside it who leads.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from actors.actor import Actor, Handlers
from actors.asks import Reply
from actors.errors import AskFailed, Undeliverable
from raft.core.types import NO_NODE, NodeId
from raft.protocol.client import (
    AddLearner,
    AwaitAnswer,
    Command,
    KeepAlive,
    LeaderIs,
    ListMembers,
    NotLeader,
    Promote,
    Refused,
    Remove,
    Replace,
    StillRunning,
    TimeLeft,
    Unknown,
    UpdateMember,
    WhoLeads,
)
from raft.protocol.registry import address_of

LOCAL_SECONDS_MAX = 1.0
ANSWER_SECONDS_MAX = 60.0
FORWARDED_MAX = 1_024
CHANGES = (Command, AddLearner, Promote, Remove, Replace, UpdateMember)

TOO_MANY = Refused(f"this node passes {FORWARDED_MAX} requests on to the leader already")
NOT_ASKED = Refused("the node beside this relay does not say who leads")


class Relay(Actor):
    """Beside the actor of node `node`."""

    def __init__(self, node: NodeId) -> None:
        self._node = node
        self._open = 0

    def on_request(self, request: Any) -> None:
        """Find the leader, and forward the request."""
        if self._open >= FORWARDED_MAX:
            self.context.reply(TOO_MANY)
            return
        self._open += 1
        reply = self.context.reply_handle()
        leader_is = self.context.ask(address_of(self._node), WhoLeads(), LOCAL_SECONDS_MAX)
        leader_is.then(
            lambda leader: self._forward(request, leader, reply), lambda _: self._answer(reply, NOT_ASKED)
        )

    def _forward(self, request: Any, leader_is: LeaderIs, reply: Reply) -> None:
        if leader_is.leader == NO_NODE:
            self._answer(reply, NotLeader(NO_NODE, "", leader_is.term))
            return
        if isinstance(request, KeepAlive):
            # The connection that the leader sees is this node's, and says nothing of the client.
            request = msgspec.structs.replace(request, release_on_disconnect=False)
        to = address_of(leader_is.leader, "" if leader_is.leader == self._node else leader_is.identity)
        changes = isinstance(request, CHANGES)

        def ended(answer: object) -> None:
            if isinstance(answer, StillRunning):
                self.context.ask(to, AwaitAnswer(answer.ticket), ANSWER_SECONDS_MAX).then(ended, failed)
            else:
                self._answer(reply, answer)

        def failed(failure: AskFailed) -> None:
            reason = f"passed on by node {self._node} to node {leader_is.leader}: {failure}"
            surely_not = isinstance(failure, Undeliverable) or not changes
            self._answer(reply, Refused(reason) if surely_not else Unknown(reason))

        self.context.ask(to, request, ANSWER_SECONDS_MAX).then(ended, failed)

    def _answer(self, reply: Reply, answer: object) -> None:
        self._open -= 1
        reply.send(answer)

    handlers: ClassVar[Handlers] = dict.fromkeys((*CHANGES, KeepAlive, TimeLeft, ListMembers), on_request)
