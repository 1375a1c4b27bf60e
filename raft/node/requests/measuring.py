"""Round trips from this node to each other member, measured on request.

Owns the questions, one after another to each member, and the answer. A question is a handshake, which every
member answers at any time and which changes nothing. Knows nothing of what the times are for.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from actors.asks import Answerable
from actors.context import Context
from actors.errors import AskFailed
from raft.core.types import NodeId
from raft.node.members.peers import Peers
from raft.protocol.admin import CannotDo, Measure, Measured
from raft.protocol.registry import Handshake, address_of

QUESTIONS_MAX = 100
ANSWER_SECONDS_MAX = 5.0


class Measuring:
    """At most one measurement at a time."""

    def __init__(self, context: Context, peers: Peers, own: Callable[[], Handshake]) -> None:
        self._context = context
        self._peers = peers
        self._own = own
        self._times: dict[NodeId, list[float]] | None = None
        self._waits: set[NodeId] = set()

    def take(self, request: Measure, handle: Callable[[], Answerable]) -> CannotDo | None:
        """Begin, and answer when all members have; one that does not answer has fewer times, or none."""
        if self._times is not None:
            return CannotDo("round trips are being measured already")
        others = sorted(self._peers.endpoints.keys() - {self._own().sender})
        self._times = {peer: [] for peer in others}
        self._waits = set(others)
        asker = handle()
        for peer in others:
            self._ask(peer, min(request.count, QUESTIONS_MAX), asker)
        self._end_if_done(asker)
        return None

    def _ask(self, peer: NodeId, left: int, asker: Answerable) -> None:
        if not left:
            self._done(peer, asker)
            return
        began = self._context.now()

        def answered(_: object) -> None:
            assert self._times is not None, "it ends when no answer is waited for"
            self._times[peer].append(self._context.now() - began)
            self._ask(peer, left - 1, asker)

        pending = self._context.ask(address_of(peer), self._own(), ANSWER_SECONDS_MAX)
        pending.then(answered, partial(self._failed, peer, asker))

    def _failed(self, peer: NodeId, asker: Answerable, _: AskFailed) -> None:
        self._done(peer, asker)

    def _done(self, peer: NodeId, asker: Answerable) -> None:
        self._waits.discard(peer)
        self._end_if_done(asker)

    def _end_if_done(self, asker: Answerable) -> None:
        if not self._waits and self._times is not None:
            asker.send(Measured(self._times))
            self._times = None
