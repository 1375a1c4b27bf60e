"""Services for the machine besides applying: expires leases and delivers watch events.

Owns the requests of that kind, and which of them only the leader takes; and the leader's own proposals.
"""

from __future__ import annotations

from collections.abc import Callable

from actors.asks import Answerable
from raft.core.errors import ProposalDropped
from raft.core.raft import Raft
from raft.core.types import Role, Term
from raft.machines.application import Application
from raft.machines.codec import encode_nodes_own
from raft.node.applier import Applier
from raft.node.members.versions import Versions
from raft.node.requests.leases import LeaseContext, LeaseKeeper
from raft.node.requests.pushed_watches import PushedWatches
from raft.node.requests.reads import Reads
from raft.node.requests.watches import WatchRequests
from raft.protocol.client import AwaitEvents, CloseWatch, KeepAlive, OpenWatch, TimeLeft, WatchAck

Watched = OpenWatch | WatchAck | CloseWatch
Held = KeepAlive | TimeLeft | AwaitEvents | Watched
MACHINE_REQUESTS = (KeepAlive, TimeLeft, AwaitEvents, OpenWatch, WatchAck, CloseWatch)


class MachineServices:
    """Leases and events."""

    def __init__(
        self,
        machine: Application,
        raft: Raft,
        applier: Applier,
        reads: Reads,
        context: LeaseContext,
        versions: Versions,
    ) -> None:
        self._machine = machine
        self._versions = versions
        self._raft = raft
        self.leases = LeaseKeeper(machine, raft, applier, reads, context)
        self._news = WatchRequests(machine, raft, applier)
        self.pushed_watches = PushedWatches(machine, raft, applier, context)
        self._context = context
        self._checking = ReplicaCheck(machine, raft, applier)
        self.attentive = True
        """Whether `settle` is to be called in each turn: there are watches, or leases to be counted."""

    def take(
        self,
        request: Held,
        reply_handle: Callable[[], Answerable],
        now: float,
        not_leader: Callable[[], object],
    ) -> object | None:
        """Take a request in, to be answered through its handle; or return the refusal."""
        self.attentive = True
        if isinstance(request, AwaitEvents):
            return self._news.take(request, reply_handle, now)
        if isinstance(request, Watched):
            return self._watch(request, now)
        if self._raft.role is not Role.LEADER:
            return not_leader()
        self.leases.take(request, reply_handle, now)
        return None

    def _watch(self, request: Watched, now: float) -> object | None:
        sender = self._context.sender
        if sender is None:
            return None
        if isinstance(request, OpenWatch):
            return self.pushed_watches.open(request, sender.process, now)
        if isinstance(request, WatchAck):
            self.pushed_watches.acknowledged(sender.process, request, now)
        else:
            self.pushed_watches.close(sender.process, request)
        return None

    def flush(self, now: float) -> None:
        """Once a tick: propose expired leases, a replica check, and the agreed version."""
        versions = self._versions
        if now >= versions.look_at:
            versions.check(now)
        self.leases.expire(now)
        self._checking.propose(now)

    def settle(self, now: float) -> None:
        """After the turn's entries are applied: count new leases, deliver events."""
        self.leases.check(now)
        if self._news.waiting:
            self._news.tell(now)
        if self.pushed_watches.watches:
            self.pushed_watches.tell(now)
        self.attentive = bool(
            self._news.waiting or self.pushed_watches.watches or self.leases.behind or self.leases.blind
        )

    @property
    def watches(self) -> int:
        """How many clients' watches this node serves."""
        return len(self.pushed_watches.watches) + len(self._news.waiting)

    @property
    def behind(self) -> bool:
        """Whether there is more to do than one turn may take."""
        return self.leases.behind or self.pushed_watches.behind

    def exclude_time(self, seconds: float, now: float) -> None:
        """Exclude time in which no message was read."""
        self.leases.exclude_time(seconds, now)

    def disconnected(self, process: str) -> None:
        """A client's connection is closed."""
        self.leases.disconnected(process)
        self.pushed_watches.disconnected(process)

    def stop(self) -> None:
        """Refuse waiting requests, so that clients ask another node."""
        self._news.stop()
        self.pushed_watches.stop()


CHECK_SECONDS = 2.0


class ReplicaCheck:
    """The checks that a leader proposes."""

    def __init__(self, application: Application, raft: Raft, applier: Applier) -> None:
        self._application = application
        self._raft = raft
        self._applier = applier
        self._term: Term = 0
        self._due = 0.0

    def propose(self, now: float) -> None:
        """Propose a check when one is due, and there are new answers to check. Call it now and then."""
        if self._raft.role is not Role.LEADER or self._raft.term != self._term:
            self._term = self._raft.term
            self._due = now + CHECK_SECONDS
        if now < self._due or not self._applier.free:
            return
        self._due = now + CHECK_SECONDS
        check = self._application.next_check()
        if check is not None:
            try:
                self._raft.propose_batch([encode_nodes_own(check)])
            except ProposalDropped:
                return
