"""Elections before the election timeout: at a leader's death, and at the start.

Owns the delays, and the order of candidates. An early campaign is harmless, because it begins with pre-votes,
which nodes in contact with a leader reject. A node that withholds its vote for a leader's lease waits until
that leader's process is proved to have ended, or for the election timeout. Knows nothing of how a death is
detected or proved.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from random import Random

from actors.timers import Timer
from raft.core.messages import PreVote, RequestVote, TimeoutNow
from raft.core.raft import Raft
from raft.core.types import NO_NODE, NodeId, Role, Term
from raft.node.leadership.peer_processes import PeerProcesses
from raft.node.members.peers import Peers

# Every node that detects the leader's death may campaign. The first in rank does so at once, and its
# pre-votes reach the second before that one would begin.
RANK_SECONDS = 0.004
JITTER_SECONDS = 0.001
RANKS_MAX = 10
# After another candidate was granted a pre-vote or vote: as long as an election takes on a busy machine.
BACK_OFF_SECONDS = 0.025
AGAIN_SECONDS = 0.012
TRIES_MAX = 6
EARLY_SECONDS_MAX = 0.1
# A process closes its connections shortly before its end can be seen: most often less than a millisecond.
PROOF_WAIT_MILLISECONDS = 1
PROOF_SECONDS_MIN = 0.0005
PROOF_SECONDS_MAX = 0.025
PROOF_GROWTH = 1.25


After = Callable[[float, Callable[[], None]], Timer]


class FastElection:
    """A few campaigns at short intervals while no leader is known; then the election timeout takes over.

    `campaign` is called at most `TRIES_MAX` times after one `begin`.
    """

    def __init__(
        self,
        *,
        node: int,
        random: Random,
        after: After,
        campaign: Callable[[], None],
    ) -> None:
        self._node = node
        self._random = random
        self._after = after
        self._campaign = campaign
        self._timer: Timer | None = None
        self._tries = 0

    @property
    def active(self) -> bool:
        """Whether another campaign is scheduled."""
        return self._timer is not None

    def begin(self, voters: Collection[int], dead: int = 0) -> None:
        """There is no leader, because `dead` died or there was none yet; ignored if already begun.

        May call `campaign` before it returns.
        """
        if self._timer is None and self._node in voters:
            self._tries = 0
            place = rank(self._node, voters, dead)
            if place == 0:
                self._try()
            else:
                self._wait(RANK_SECONDS * min(place, RANKS_MAX))

    def back_off(self) -> None:
        """Another candidate may win: give it time."""
        if self._timer is not None:
            self._wait(BACK_OFF_SECONDS)

    def end(self) -> None:
        """There is a leader."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._after(seconds + self._random.uniform(0, JITTER_SECONDS), self._try)

    def _try(self) -> None:
        self._timer = None
        self._tries += 1
        self._campaign()
        if self._tries < TRIES_MAX:
            # Drawn anew each time, from a wider range, or candidates that tied tie again.
            self._wait(AGAIN_SECONDS * self._tries * self._random.uniform(1, 2))


def rank(node: int, voters: Collection[int], dead: int) -> int:
    """The node's rank among the voters in cyclic order after `dead`: 0 for the next one."""
    return sorted(voters, key=lambda voter: (voter <= dead, voter)).index(node)


class Failover:
    """Starts elections early; without `allowed` it never does."""

    def __init__(
        self,
        raft: Raft,
        peers: Peers,
        processes: PeerProcesses,
        *,
        allowed: bool,
        gone: Callable[[NodeId, str], None],
        random: Random,
        now: Callable[[], float],
        after: After,
        step_vote: Callable[[PreVote | RequestVote], None],
    ) -> None:
        self._step_vote = step_vote
        self._raft = raft
        self._peers = peers
        self._processes = processes
        self._allowed = allowed
        self._gone = gone
        self._now = now
        self._after = after
        self._quick = FastElection(node=raft.id, random=random, after=after, campaign=self._campaign)
        self._early: dict[NodeId, tuple[float, PreVote]] = {}
        self._candidate_term: Term = 0
        self.postponed: TimeoutNow | None = None
        """The leader's request to campaign, if it can't be followed yet."""
        if raft.pledged_to != NO_NODE:
            self.process_down(raft.pledged_to)

    def peer_up(self) -> None:
        """A peer came up: with a quorum connected and no leader, campaign."""
        if self._allowed and self._raft.leader == NO_NODE and self._peers.quorum_up:
            self._quick.begin(self._peers.voters)

    def process_down(self, peer: NodeId) -> None:
        """The process of a peer has died or cannot be reached; `gone` is called if it led."""
        if self._raft.pledged and self._raft.pledged_to == peer:
            self._await_end(peer, PROOF_SECONDS_MIN, PROOF_WAIT_MILLISECONDS)
        elif peer == self._raft.leader:
            self._gone(peer, "leader-died")

    def _await_end(self, peer: NodeId, again_seconds: float, wait_milliseconds: int = 0) -> None:
        """Look at growing intervals whether the leader's process has ended, as long as that matters."""
        raft = self._raft
        if not raft.pledged or raft.pledged_to != peer or peer in self._peers.up:
            return
        if not self._processes.has_ended(peer, wait_milliseconds):
            longer_seconds = min(PROOF_GROWTH * again_seconds, PROOF_SECONDS_MAX)
            self._after(again_seconds, lambda: self._await_end(peer, longer_seconds))
            return
        raft.release_pledge(peer)
        if peer == raft.leader:
            self._gone(peer, "leader-died")
        else:
            self.peer_up()

    def leader_gone(self, leader: NodeId) -> bool:
        """The leader has died or was removed; returns whether an early election begins."""
        if not self._allowed or self._raft.pledged:
            return False
        self._raft.forget_leader()
        self._quick.begin(self._peers.voters, dead=leader)
        self._answer_early()
        return True

    def asked_to_lead(self, message: TimeoutNow) -> None:
        """The leader transfers leadership: campaign now, or once all configuration changes are applied."""
        self.postponed = message
        self.campaign_if_asked()

    def campaign_if_asked(self) -> bool:
        """Campaign if the leader has requested it and it is possible now; returns whether it is."""
        message = self.postponed
        if message is None or self._raft.log.has_conf_change_to_apply():
            return False
        self.postponed = None
        self._raft.step(message)
        return True

    def leader_known(self) -> None:
        """A leader is known: stop campaigning."""
        self._candidate_term = 0
        self._quick.end()

    def vote_requested(self, message: PreVote | RequestVote) -> None:
        """Called before the core, which ignores a pre-vote while it is in contact with a leader."""
        if self._raft.log.is_up_to_date(message.last_index, message.last_term):
            self._quick.back_off()
        if isinstance(message, RequestVote):
            self._candidate_term = message.term
        if isinstance(message, PreVote) and self._raft.leader != NO_NODE:
            self._early[message.sender] = (self._now(), message)

    def _answer_early(self) -> None:
        """Other nodes may have detected the death earlier, and were ignored: answer them now."""
        early, self._early = self._early, {}
        oldest = self._now() - EARLY_SECONDS_MAX
        for asked_at, message in early.values():
            if asked_at >= oldest and message.sender in self._peers.up:
                self.vote_requested(message)
                self._step_vote(message)

    def _campaign(self) -> None:
        if self._raft.leader != NO_NODE or self._awaits_votes():
            return
        if self._candidate_term == self._raft.term:
            # The other candidate may have won, and its first append is still on its way: its voters would
            # grant a pre-vote for the next term, and it would lose its leadership at once. Wait once more.
            self._candidate_term = 0
            return
        self._raft.campaign()

    def _awaits_votes(self) -> bool:
        """Whether votes were requested, and some reachable voters have not answered yet."""
        if self._raft.role is not Role.CANDIDATE:
            return False
        return any(peer not in self._raft.tracker.votes for peer in self._peers.up & {*self._peers.voters})
