"""Who the processes are that call themselves this cluster's members: each is asked once in each of its lives.

Owns what this node says of itself, what the others have said, and the verdict: only a peer that has
introduced itself as of the same cluster counts as up, and nothing else that it says is heard before. Knows
nothing of how a membership changes, or of what the core does with messages.

A peer moves from unreached to reached when its process comes up, and from reached to up when its introduction
fits. It is asked for that until it answers. A life keeps its introduction over lost connections.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from actors.dead_letters import Reason
from actors.errors import AskFailed, Undeliverable
from actors.transport.base import IncarnationUsed
from raft.core.errors import BrokenStorage, ConfChangeRefused, ProposalDropped, RolledBack
from raft.core.messages import InstallSnapshot
from raft.core.raft import Raft
from raft.core.types import NodeId, Role
from raft.machines.application import Application
from raft.node.identity import Origin, founding, is_identity
from raft.node.peers import Peers
from raft.node.reporter import Journal
from raft.node.snapshots.contents import unpack_state
from raft.protocol.registry import Handshake, address_of, member_actor, process_of

if TYPE_CHECKING:
    from actors.context import Context

ASK_SECONDS: Final = 0.5
AGAIN_SECONDS: Final = 0.05
VISIT_SECONDS_MAX: Final = 1.0
INCARNATIONS_MAX: Final = 2**32


class IncarnationAlreadyUsed(Exception):
    """The number of this life was used before, so that peers do not hear it; the next one is higher."""


class Handshakes:
    """One for each life of a node. `came_up` is told of each peer that counts as up from now on."""

    def __init__(
        self,
        node: NodeId,
        origin: Origin,
        *,
        blank: bool,
        machine: Application,
        peers: Peers,
        context: Context,
        note_incarnation: Callable[[int], None],
        journal: Journal,
        came_up: Callable[[NodeId], None],
        went_down: Callable[[NodeId], None],
    ) -> None:
        self.origin = origin
        self._node = node
        self._machine = machine
        self._blank = blank  # An empty log, and bound to no cluster yet.
        self._peers = peers
        self._context = context
        self.note_incarnation = note_incarnation
        self._journal = journal
        self._came_up = came_up
        self._went_down = went_down
        self._lives: dict[NodeId, int] = {}
        self._reached: set[NodeId] = set()
        self._heard: dict[NodeId, Handshake] = {}
        self._turned_away: dict[NodeId, str] = {}
        self._visited: set[NodeId] = set()
        if origin.identity:
            context.answer_to(member_actor(origin.identity))

    def is_of_this_cluster(self, message: InstallSnapshot) -> bool:
        """Is that a snapshot, and one of this node's cluster?"""
        try:
            state = unpack_state(message.snapshot.data)
        except BrokenStorage as error:
            self._journal.event("bad-snapshot", str(error), sender=message.sender)
            return False
        origin = Origin(state.identity, state.founders)
        if self.origin.fits(origin):
            return True
        text = f"node {message.sender} has sent a snapshot of {origin}"
        self._journal.event("bad-snapshot", text, sender=message.sender)
        return False

    # -- processes come and go ------------------------------------------------------------------------

    def process_up(self, peer: NodeId, incarnation: int) -> None:
        """A peer's process can be heard."""
        if self._lives.get(peer) != incarnation:
            self._lives[peer] = incarnation
            self._heard.pop(peer, None)
            self._turned_away.pop(peer, None)
        self._reached.add(peer)
        if peer in self._heard:
            self._check(peer)
        else:
            self._ask(peer)

    def process_down(self, peer: NodeId) -> None:
        """A peer's process cannot be heard any more."""
        self._reached.discard(peer)

    def incarnation_used(self, told: IncarnationUsed) -> None:
        """A peer has heard a life of this node with the number of this one, or a later one: end this one.

        A data directory that counts lives anew is an older copy; what the node promised since is lost.
        Raises RolledBack, or IncarnationAlreadyUsed if the node has never promised anything. The number of
        its next incarnation is one that is heard.
        """
        if told.incarnation > INCARNATIONS_MAX:
            heard = f"{told.process} has heard life {told.incarnation}, which no node comes to"
            self._journal.event("life-absurd", f"{heard}: another process uses this node's name there")
            return
        self.note_incarnation(told.incarnation)
        heard = (
            f"{told.process} has heard life {told.incarnation} of this node, which is another one than this"
        )
        if self._blank:
            raise IncarnationAlreadyUsed(
                f"{heard}: this id was used before. Start the node again, to be heard"
            )
        raise RolledBack(
            f"{heard}: its data directory is an older copy, or its file of lives was lost. Start it with "
            "--repair-from-peers, or remove it from the cluster and add another"
        )

    # -- introductions --------------------------------------------------------------------------------

    def own(self) -> Handshake:
        """What this node says of itself."""
        origin = self.origin
        version = self._machine.own.version
        level = self._machine.level
        return Handshake(self._node, origin.identity, origin.founders, self._blank, version, level)

    def version_of(self, peer: NodeId) -> int | None:
        """That of the machine of a node that is up, or of this one; None if it is not known now."""
        if peer == self._node:
            return self._machine.own.version
        told = self._heard.get(peer)
        return told.version if told is not None and peer in self._peers.up else None

    def level_of(self, peer: NodeId) -> int | None:
        """Which built-in commands a node that is up knows, or this one; None if that is not known."""
        if peer == self._node:
            return self._machine.level
        told = self._heard.get(peer)
        return told.level if told is not None and peer in self._peers.up else None

    def take(self, told: Handshake, process: str) -> Handshake:
        """Another node introduces itself, and asks for the same."""
        if process == process_of(told.sender):
            self._learn_handshake(told)
        return self.own()

    def recognize(self, peer: NodeId) -> bool:
        """A peer that is not up sends a message for the core: is it to be heard after all?

        A blank node takes the identity of the first that sends it one.
        """
        told = self._heard.get(peer)
        if not self._blank or told is None or not told.identity or peer not in self._reached:
            return False
        self._blank = False
        self._adopt(Origin(told.identity, tuple(told.founders)))
        return peer in self._peers.up

    def learn(self, origin: Origin) -> None:
        """The log, or a snapshot, says which cluster this is."""
        self._blank = False
        if origin.identity and not self.origin.identity:
            self._adopt(origin)

    def _adopt(self, origin: Origin) -> None:
        self.origin = origin
        self._context.answer_to(member_actor(origin.identity))
        self._journal.event("identity", f"belongs to {origin}", identity=origin.identity)
        for peer in sorted(self._reached):
            if peer in self._heard:
                self._check(peer)
            self._ask(peer)  # It learns who we are by the same message.

    def _ask(self, peer: NodeId) -> None:
        pending = self._context.ask(address_of(peer), self.own(), ASK_SECONDS)
        pending.then(self._answered, partial(self._unanswered, peer))

    def _answered(self, answer: object) -> None:
        if isinstance(answer, Handshake):
            self._learn_handshake(answer)

    def _unanswered(self, peer: NodeId, failure: AskFailed) -> None:
        if Reason.UNDECODABLE in str(failure) and isinstance(failure, Undeliverable):
            self._learn_handshake(
                Handshake(peer, "", (), False)
            )  # Of a version that knows of no introductions.
        elif peer not in self._heard:
            self._context.after(AGAIN_SECONDS, lambda: self._ask_again(peer))

    def _ask_again(self, peer: NodeId) -> None:
        if peer in self._reached and peer not in self._heard and peer in self._peers.endpoints:
            self._ask(peer)

    def forget(self, peer: NodeId) -> None:
        """A peer is a member no longer."""
        self._reached.discard(peer)
        self._heard.pop(peer, None)

    def _learn_handshake(self, told: Handshake) -> None:
        if told.sender not in self._peers.endpoints or (told.identity and not is_identity(told.identity)):
            return
        self._heard[told.sender] = told
        self._check(told.sender)

    def _check(self, peer: NodeId) -> None:
        """Is a peer that has introduced itself up?"""
        told, peers = self._heard[peer], self._peers
        if peer not in self._reached or peer not in peers.endpoints:
            return
        if self._blank and told.identity:
            return  # Until it sends something: this node has yet to be added, and by whom is not known.
        if fits(self.origin, told):
            if peer not in peers.up:
                peers.up.add(peer)
                self._turned_away.pop(peer, None)
                self._came_up(peer)
            return
        if peer in peers.up:
            peers.up.discard(peer)
            self._went_down(peer)
        text = f"node {peer} of {origin_of(told)} listens at {peers.endpoints[peer]}, and is not heard here"
        if self._turned_away.get(peer) != text:
            self._turned_away[peer] = text
            self._journal.event(
                "turned-away", f"{text}: this is {self.origin}", peer=peer, identity=told.identity
            )

    # -- a node that is to be added -------------------------------------------------------------------

    def visit(self, node: NodeId, endpoint: str, judged: Callable[[str], None]) -> None:
        """Ask a node, before it is added, who it is; `judged` is told why it cannot be, "" if it can.

        One that does not answer may be added: when it comes up it has to introduce itself as any other.
        """
        self._visited.add(node)
        until_seconds = self._context.now() + VISIT_SECONDS_MAX

        def attempt() -> None:
            self._context.ask(address_of(node), self.own(), ASK_SECONDS).then(answered, failed)

        def end(objection: str) -> None:
            self._visited.discard(node)
            judged(objection)

        def answered(answer: object) -> None:
            end(self._objection(answer, endpoint) if isinstance(answer, Handshake) else "")

        def failed(failure: AskFailed) -> None:
            if self._context.now() < until_seconds:
                self._context.after(AGAIN_SECONDS, attempt)
                return
            text = f"node {node} does not answer at {endpoint}, and is added all the same: {failure}"
            self._journal.event("unvisited", text, peer=node, endpoint=endpoint)
            end("")

        attempt()

    def why_rejected(self, peer: NodeId) -> str:
        """Why a peer that can be reached is not heard; "" if it is, or nothing is known."""
        return self._turned_away.get(peer, "")

    def is_visited(self, node: NodeId) -> bool:
        """Is that node being asked who it is?"""
        return node in self._visited

    def _objection(self, told: Handshake, endpoint: str) -> str:
        agreed = self._machine.agreement.version
        if told.version < agreed:
            return (
                f"node {told.sender} at {endpoint} has version {told.version} of the machine, and "
                f"this cluster's members have agreed on version {agreed}: start it with that version or a "
                "newer one"
            )
        same = told.identity == self.origin.identity
        if told.blank or (told.identity and same):
            return ""
        return (
            f"node {told.sender} of {origin_of(told)} listens at {endpoint}, and this is {self.origin}: "
            "a node with a history of its own cannot be added. Start it with --join and an empty directory"
        )


class Founder:
    """Proposes an identity for a cluster that has none, as its leader.

    Another leader may have proposed one before and lost its place: the first that is applied counts, on
    every node alike.
    """

    def __init__(self, raft: Raft, handshakes: Handshakes, draw: Callable[[], str]) -> None:
        self._raft = raft
        self._handshakes = handshakes
        self._draw = draw

    def look(self) -> None:
        """Propose an identity if it is this node's turn."""
        raft, log = self._raft, self._raft.log
        if raft.role is not Role.LEADER or not log.matches(log.committed, raft.term):
            return
        if raft.pending_conf_index > log.applied:
            return
        origin = Origin(self._draw(), self._handshakes.origin.founders)
        try:
            raft.propose_conf_change(founding(raft.id, origin))
        except (ProposalDropped, ConfChangeRefused):
            return  # It leads no longer, hands over, or changes members: it looks again in a later turn.


def origin_of(told: Handshake) -> Origin:
    """The cluster that an introduction speaks of."""
    return Origin(told.identity, tuple(told.founders))


def fits(origin: Origin, told: Handshake) -> bool:
    """May a node that says this be of that cluster?"""
    return told.blank or origin.fits(origin_of(told))
