"""Handshakes with the processes of other members: each new process of a peer must identify its cluster.

Owns this node's handshake, those of the others, and the decision: a peer counts as up only after a handshake
that shows the same cluster, and its other messages are ignored before that. Knows
nothing of how a membership changes, or of what the core does with messages.

A peer becomes reached when its process comes up, and up when its handshake fits. It is asked until it
answers. The handshake of a process stays valid over lost connections.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from actors.errors import AskFailed, Undeliverable
from actors.failures.dead_letters import Reason
from actors.transport.base import IncarnationUsed
from raft.core.errors import BrokenStorage, ConfChangeRefused, ProposalDropped, RolledBack
from raft.core.messages import InstallSnapshot
from raft.core.raft import Raft
from raft.core.types import NodeId, Role
from raft.machines.application import Application
from raft.node.leadership.peer_processes import PeerProcesses
from raft.node.members.identity import Origin, founding, is_identity
from raft.node.members.peers import Peers
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
    """The incarnation number was used before, so peers ignore this process; the next one is higher."""


class Handshakes:
    """`came_up` is called for each peer that counts as up from now on."""

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
        is_deserted: Callable[[str], bool],
        processes: PeerProcesses,
    ) -> None:
        self.origin = origin
        self._processes = processes
        self._node = node
        self._machine = machine
        self._blank = blank  # An empty log, which belongs to no cluster yet.
        self._peers = peers
        self._context = context
        self.note_incarnation = note_incarnation
        self._journal = journal
        self._came_up = came_up
        self._went_down = went_down
        self.is_deserted = is_deserted
        self._incarnations: dict[NodeId, int] = {}
        self._reached: set[NodeId] = set()
        self._handshakes: dict[NodeId, Handshake] = {}
        self._rejected: dict[NodeId, str] = {}
        self._visited: set[NodeId] = set()
        if origin.identity:
            context.answer_to(member_actor(origin.identity))

    def is_of_this_cluster(self, message: InstallSnapshot) -> bool:
        """Whether the message is a valid snapshot of this cluster."""
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
        """A peer's process is reachable."""
        if self._incarnations.get(peer) != incarnation:
            self._incarnations[peer] = incarnation
            self._handshakes.pop(peer, None)
            self._rejected.pop(peer, None)
            self._processes.replaced(peer)
        self._reached.add(peer)
        if peer in self._handshakes:
            self._check(peer)
        else:
            self._ask(peer)

    def process_down(self, peer: NodeId) -> None:
        """A peer's process is no longer reachable."""
        self._reached.discard(peer)

    def incarnation_used(self, used: IncarnationUsed) -> None:
        """A peer knows a process of this node with this incarnation number or a later one: stop this process.

        A data directory with an old number is an older copy; later acknowledgements are lost. Raises
        RolledBack, or IncarnationAlreadyUsed if the node has never acknowledged anything. The next
        process uses a higher number.
        """
        if used.incarnation > INCARNATIONS_MAX:
            seen = f"{used.process} has seen incarnation {used.incarnation}, an impossible number"
            self._journal.event("life-absurd", f"{seen}: another process uses this node's name there")
            return
        self.note_incarnation(used.incarnation)
        seen = (
            f"{used.process} has seen incarnation {used.incarnation} of this node, which is another process"
        )
        if self._blank:
            raise IncarnationAlreadyUsed(f"{seen}: this id was used before. Start the node again")
        raise RolledBack(
            f"{seen}: its data directory is an older copy, or its incarnation file was lost. Start it with "
            "--repair-from-peers, or remove it from the cluster and add another"
        )

    # -- handshakes -----------------------------------------------------------------------------------

    def own(self) -> Handshake:
        """This node's handshake."""
        origin = self.origin
        version = self._machine.own.version
        level = self._machine.level
        of_cluster = origin.identity, origin.founders, self._blank
        processes = self._processes
        return Handshake(
            self._node, *of_cluster, version, level, processes.own, processes.withholds_milliseconds
        )

    def version_of(self, peer: NodeId) -> int | None:
        """That of the machine of a node that is up, or of this one; None if it is not known now."""
        if peer == self._node:
            return self._machine.own.version
        handshake = self._handshakes.get(peer)
        return handshake.version if handshake is not None and peer in self._peers.up else None

    def level_of(self, peer: NodeId) -> int | None:
        """Which built-in commands a node that is up knows, or this one; None if that is not known."""
        if peer == self._node:
            return self._machine.level
        handshake = self._handshakes.get(peer)
        return handshake.level if handshake is not None and peer in self._peers.up else None

    def take(self, handshake: Handshake, process: str) -> Handshake:
        """Another node introduces itself, and asks for the same."""
        if process == process_of(handshake.sender):
            self._learn_handshake(handshake)
        return self.own()

    def recognize(self, peer: NodeId) -> bool:
        """A peer that is not up sends a message for the core: whether to accept it after all.

        A blank node takes the identity of the first that sends it one.
        """
        handshake = self._handshakes.get(peer)
        if not self._blank or handshake is None or not handshake.identity or peer not in self._reached:
            return False
        self._blank = False
        self._adopt(Origin(handshake.identity, tuple(handshake.founders)))
        return peer in self._peers.up

    def learn(self, origin: Origin) -> None:
        """The log or a snapshot has the identity of this cluster."""
        self._blank = False
        if origin.identity and not self.origin.identity:
            self._adopt(origin)

    def _adopt(self, origin: Origin) -> None:
        self.origin = origin
        self._context.answer_to(member_actor(origin.identity))
        self._journal.event("identity", f"belongs to {origin}", identity=origin.identity)
        for peer in sorted(self._reached):
            if peer in self._handshakes:
                self._check(peer)
            self._ask(peer)  # The same message identifies this node to it.

    def _ask(self, peer: NodeId) -> None:
        pending = self._context.ask(address_of(peer), self.own(), ASK_SECONDS)
        pending.then(self._answered, partial(self._unanswered, peer))

    def _answered(self, answer: object) -> None:
        if isinstance(answer, Handshake):
            self._learn_handshake(answer)

    def _unanswered(self, peer: NodeId, failure: AskFailed) -> None:
        if Reason.UNDECODABLE in str(failure) and isinstance(failure, Undeliverable):
            self._learn_handshake(Handshake(peer, "", (), False))  # Of a version without handshakes.
        elif peer not in self._handshakes:
            self._context.after(AGAIN_SECONDS, lambda: self._ask_again(peer))

    def _ask_again(self, peer: NodeId) -> None:
        if peer in self._reached and peer not in self._handshakes and peer in self._peers.endpoints:
            self._ask(peer)

    def forget(self, peer: NodeId) -> None:
        """A peer is a member no longer."""
        self._reached.discard(peer)
        self._handshakes.pop(peer, None)
        self._processes.replaced(peer)

    def _learn_handshake(self, handshake: Handshake) -> None:
        if handshake.sender not in self._peers.endpoints or (
            handshake.identity and not is_identity(handshake.identity)
        ):
            return
        self._handshakes[handshake.sender] = handshake
        self._check(handshake.sender)

    def _check(self, peer: NodeId) -> None:
        """Is a peer that has introduced itself up?"""
        handshake, peers = self._handshakes[peer], self._peers
        if peer not in self._reached or peer not in peers.endpoints:
            return
        if self._blank and handshake.identity:
            return  # Until it sends something: this node is not added yet, and doesn't know by which cluster.
        if fits(self.origin, handshake):
            self._processes.learned(handshake, peers.endpoints[peer], self._incarnations[peer])
            if peer not in peers.up:
                peers.up.add(peer)
                self._rejected.pop(peer, None)
                self._came_up(peer)
            return
        if peer in peers.up:
            peers.up.discard(peer)
            self._went_down(peer)
        text = (
            f"node {peer} of {origin_of(handshake)} listens at {peers.endpoints[peer]}, and is rejected here"
        )
        if self._rejected.get(peer) != text:
            self._rejected[peer] = text
            self._journal.event(
                "turned-away", f"{text}: this is {self.origin}", peer=peer, identity=handshake.identity
            )

    # -- a node that is to be added -------------------------------------------------------------------

    def visit(self, node: NodeId, endpoint: str, judged: Callable[[str], None]) -> None:
        """Ask a node for its handshake before it is added; `judged` gets the reason against it, "" if none.

        A node that doesn't answer may be added, at once if nothing listens at its endpoint: it needs a
        handshake when it comes up, as any other.
        """
        self._visited.add(node)
        began_at = self._context.now()

        def attempt() -> None:
            self._context.ask(address_of(node), self.own(), ASK_SECONDS).then(answered, failed)

        def end(objection: str) -> None:
            self._visited.discard(node)
            judged(objection)

        def answered(answer: object) -> None:
            end(self._objection(answer, endpoint) if isinstance(answer, Handshake) else "")

        def is_absent(failure: AskFailed, seconds: float) -> bool:
            # Not before a connection had time to be made: one that is there would wonder about the look.
            is_unconnected = isinstance(failure, Undeliverable) and seconds >= AGAIN_SECONDS
            return is_unconnected and self.is_deserted(endpoint)

        def failed(failure: AskFailed) -> None:
            seconds = self._context.now() - began_at
            if seconds < VISIT_SECONDS_MAX and not is_absent(failure, seconds):
                self._context.after(AGAIN_SECONDS, attempt)
                return
            text = f"node {node} does not answer at {endpoint}, and is added all the same: {failure}"
            self._journal.event("unvisited", text, peer=node, endpoint=endpoint)
            end("")

        attempt()

    def why_rejected(self, peer: NodeId) -> str:
        """Why a reachable peer is rejected; "" if it is not, or if the reason is unknown."""
        return self._rejected.get(peer, "")

    def is_visited(self, node: NodeId) -> bool:
        """Whether that node is being asked for its handshake."""
        return node in self._visited

    def _objection(self, handshake: Handshake, endpoint: str) -> str:
        agreed = self._machine.agreement.version
        if handshake.version < agreed:
            return (
                f"node {handshake.sender} at {endpoint} has version {handshake.version} of the machine, and "
                f"this cluster's members have agreed on version {agreed}: start it with that version or a "
                "newer one"
            )
        same = handshake.identity == self.origin.identity
        if handshake.blank or (handshake.identity and same):
            return ""
        return (
            f"node {handshake.sender} of {origin_of(handshake)} listens at {endpoint}, and this is "
            f"{self.origin}: "
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

    def propose_if_due(self) -> None:
        """Propose an identity, if this node leads and the cluster has none."""
        raft, log = self._raft, self._raft.log
        if raft.role is not Role.LEADER or not log.matches(log.committed, raft.term):
            return
        if raft.pending_conf_index > log.applied:
            return
        origin = Origin(self._draw(), self._handshakes.origin.founders)
        try:
            raft.propose_conf_change(founding(raft.id, origin))
        except (ProposalDropped, ConfChangeRefused):
            return  # It no longer leads, transfers leadership, or changes members: try again in a later turn.


def origin_of(handshake: Handshake) -> Origin:
    """The cluster that an introduction speaks of."""
    return Origin(handshake.identity, tuple(handshake.founders))


def fits(origin: Origin, handshake: Handshake) -> bool:
    """Whether a node with this handshake may be of that cluster."""
    return handshake.blank or origin.fits(origin_of(handshake))
